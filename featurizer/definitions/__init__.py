"""Lightcone's own features, one family a file; scenarios name them `price.MidPrice`."""

from __future__ import annotations

__all__: list[str] = []
