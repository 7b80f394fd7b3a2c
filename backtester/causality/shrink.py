"""From a future that changed the past to the one record that is enough to change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from backtester.causality.catalogs import later_rows
from backtester.causality.entries import Difference
from backtester.causality.futures import Future, Part
from featurizer.catalog import Catalog
from featurizer.market import StreamKey

__all__ = ["shrink"]

Sees = Callable[[Future], Difference | None]


def shrink(
    future: Future, difference: Difference, sees: Sees, catalog: Catalog, streams: list[StreamKey]
) -> tuple[Future, Difference]:
    """Return a smaller future that still changes the past, and how.

    One stream is tried after the other, then halves of its records after the cut, the nearer half
    first: what is left is the record nearest to the cut that is enough by itself, or a stretch of
    records that are needed together.

    Args:
        future: A future that changes the past.
        difference: How.
        sees: Runs a future; returns None when it changes nothing, or when time is up.
        catalog: The real records.
        streams: Those that were changed.
    """
    for stream in streams:
        size = len(later_rows(catalog, stream, future)["event_time"])
        whole = replace(future, only=Part(stream, 0, size))
        found = sees(whole) if size else None
        if found is not None:
            return _halve(whole, found, sees)
    return future, difference


def _halve(future: Future, difference: Difference, sees: Sees) -> tuple[Future, Difference]:
    while future.only is not None and future.only.last - future.only.first > 1:
        stream, first, last = future.only
        middle = (first + last) // 2
        for part in (Part(stream, first, middle), Part(stream, middle, last)):
            smaller = replace(future, only=part)
            found = sees(smaller)
            if found is not None:
                future, difference = smaller, found
                break
        else:
            return future, difference
    return future, difference
