"""What a user may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["closest", "did_you_mean", "nearest"]


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like another, whatever the case; None if none is."""
    from difflib import get_close_matches  # only messages need it

    by_lower = {known_name.lower(): known_name for known_name in sorted(known, reverse=True)}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str], mark: str = "'") -> str:
    """Return a question to append to a message, nothing where no known name is like it.

    Args:
        name: The name that is not known.
        known: Those that are.
        mark: What stands around the known one.

    Example:
        >>> did_you_mean("midd", ["mid", "spread"])
        " Did you mean 'mid'?"
    """
    found = closest(name, known)
    return "" if found is None else f" Did you mean {mark}{found}{mark}?"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for a message: the nearest known name, and all of them.

    Example:
        >>> nearest("midd", ["mid", "spread"])
        "Did you mean 'mid'? Known: mid, spread."
    """
    names = sorted(known)
    return f"{did_you_mean(name, names)} Known: {', '.join(names)}.".lstrip()
