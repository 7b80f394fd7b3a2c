"""The simulated serving stack: when each request is served, and by which replica."""

from __future__ import annotations

__all__: list[str] = []
