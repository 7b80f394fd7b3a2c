"""Items made ahead in a thread: the same ones, in order, and nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from featurizer.prefetch import prefetched


def counted(upto: int, seen: list[object]) -> Iterator[int]:
    try:
        for number in range(upto):
            seen.append(number)
            yield number
    finally:
        seen.append("closed")


@pytest.mark.parametrize("depth", [1, 3])
def test_items_come_in_order_and_all_of_them(depth: int) -> None:
    seen: list[object] = []
    assert list(prefetched(counted(100, seen), depth)) == list(range(100))
    assert seen == [*range(100), "closed"]


def test_they_are_made_in_another_thread() -> None:
    here = threading.get_ident()
    assert next(iter(prefetched(threading.get_ident() for _ in range(1)))) != here


def test_what_raises_there_raises_here_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    items = prefetched(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)


def test_stopping_early_closes_the_iterator_and_ends_the_thread() -> None:
    seen: list[object] = []
    before = threading.active_count()
    items = prefetched(counted(1000, seen))
    assert next(items) == 0
    items.close()
    assert seen[-1] == "closed"
    assert len(seen) <= 5  # no more than was made ahead
    assert threading.active_count() == before
