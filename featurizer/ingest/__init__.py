"""Adapters from real files to the catalog, and the rules that every record must keep."""

from __future__ import annotations

__all__: list[str] = []
