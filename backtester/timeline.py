"""The items of one window in the published order of time, ready to be handed over.

What the exogenous planes have made is known before the window is traded, so it is merged once, as
columns; only what the strategy causes (orders, reports, timers) lives on the clock's heap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from backtester.sources import ItemSource, Place, PredictionSource
from clock.rank import Rank

__all__ = ["Subscription", "Timeline"]


_PART = 4096
"""Items made into Python objects at a time: more of them fall out of the processor's cache."""


class Subscription(NamedTuple):
    """A source and the callback that its items wake.

    Attributes:
        source: The items.
        callback: Name of the callback, for messages.
        handler: Called as `handler(context, item)`.
    """

    source: ItemSource
    callback: str
    handler: Callable[[Any, Any], None]


class Timeline:
    """Items of the subscribed sources, merged by (instant, rank, key).

    Args:
        subscriptions: Sources, each holding its present window.

    Attributes:
        sources: Those that have items.
        single: The only source with items, when there is one and all its items have its own rank:
            the engine then runs its shortest loop. None otherwise.
    """

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._subscriptions = [s for s in subscriptions if len(s.source.times)]
        self.sources = [s.source for s in self._subscriptions]
        self._length = sum(len(s.source.times) for s in self._subscriptions)
        self._clocked: Iterator[int] = iter(())
        self._reached = self._rank = 0
        self.single: Subscription | None = None
        self._ranks: list[int] = []
        self._codes: list[int] = []
        self._indices: list[int] = []
        if len(self._subscriptions) == 1:
            only = self._subscriptions[0]
            if not isinstance(only.source, PredictionSource) or _all_answers(only.source):
                self.single = only
                self._rank = int(only.source.rank)

    def __len__(self) -> int:
        return self._length

    def stamped(self) -> Iterator[tuple[int, Any]]:
        """Yield (instant, item) of the only source."""
        assert self.single is not None
        return chain.from_iterable(self._parts(self.single.source))

    def _parts(self, source: ItemSource) -> Iterator[Iterator[tuple[int, Any]]]:
        for begin in range(0, self._length, _PART):
            part = slice(begin, begin + _PART)
            times = source.times[part].tolist()
            self._clocked, self._reached = iter(times), begin + len(times)
            yield zip(self._clocked, source.items(part), strict=False)

    def merged(self) -> Iterator[tuple[int, int, Callable[[Any, Any], None], Any]]:
        """Yield (instant, rank, handler, item) of all sources, in the order of time."""
        if not self._length:
            return iter(())
        sources = [s.source for s in self._subscriptions]
        sizes = [len(source.times) for source in sources]
        times = np.concatenate([source.times for source in sources])
        ranks = np.concatenate([_ranks(source) for source in sources])
        first = np.repeat([source.key[0] for source in sources], sizes)
        second = np.repeat([source.key[1] for source in sources], sizes)
        ties = np.concatenate([source.tie for source in sources])
        codes = np.repeat(np.arange(len(sources)), sizes)
        indices = np.concatenate([np.arange(size) for size in sizes])
        order = np.lexsort((ties, second, first, ranks, times))
        self._ranks = ranks[order].tolist()
        self._codes = codes[order].tolist()
        self._indices = indices[order].tolist()
        items = [list(source.items()) for source in sources]
        handlers = [s.handler for s in self._subscriptions]
        self._clocked, self._reached = iter(times[order].tolist()), self._length
        return zip(
            self._clocked,
            self._ranks,
            [handlers[code] for code in self._codes],
            [items[c][i] for c, i in zip(self._codes, self._indices, strict=True)],
            strict=False,
        )

    def rank(self) -> int:
        """Return the rank of the item being delivered."""
        return self._rank if self.single is not None else self.turn()[0]

    def turn(self) -> tuple[int, int, int]:
        """Return rank, place in `sources`, and index of the item being delivered."""
        index = self._reached - self._clocked.__length_hint__() - 1  # type: ignore[attr-defined]
        if self.single is not None:
            return self._rank, 0, index
        return self._ranks[index], self._codes[index], self._indices[index]

    def place(self, now: int) -> Place:
        """Return the place of the item being delivered.

        Nothing is counted while the loop runs: how far it came is read off the iterator that
        drives it.
        """
        done = self._reached - self._clocked.__length_hint__()  # type: ignore[attr-defined]
        index = int(done) - 1
        if self.single is not None:
            # the only source of a single loop has one rank: its own
            return Place(now, self.single.source.rank, self.single.source, index)
        subscription = self._subscriptions[self._codes[index]]
        return Place(now, self._ranks[index], subscription.source, self._indices[index])

    def callback(self, now: int) -> str:
        """Return the name of the callback that the present item woke."""
        source = self.place(now).source
        return next(s.callback for s in self._subscriptions if s.source is source)


def _ranks(source: ItemSource) -> np.ndarray:
    if isinstance(source, PredictionSource):
        return source.ranks
    return np.full(len(source.times), int(source.rank), dtype=np.int64)


def _all_answers(source: PredictionSource) -> bool:
    return bool((source.ranks == int(Rank.PREDICTION)).all())
