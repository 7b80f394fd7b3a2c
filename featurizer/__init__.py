"""Market records in, feature rows out, each with the instant from which it is visible."""

from __future__ import annotations

__all__: list[str] = []
