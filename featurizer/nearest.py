"""What a user may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for a message: the nearest known name, and all of them.

    >>> nearest("midd", ["mid", "spread"])
    "Did you mean 'mid'? Known: mid, spread."
    """
    names = sorted(known)
    by_lower = {known_name.lower(): known_name for known_name in reversed(names)}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    hint = f"Did you mean {by_lower[close[0]]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names)}."
