"""Another future: the records of a stream after an instant, changed as a market could change.

What lies at or before the cut keeps its bits. Every change is drawn for each row by itself, so that
part of a change (`only`) is the same change at fewer rows: that is how a counterexample is shrunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.randomness import stream_key
from featurizer.market import BARS, DEPTH, QUOTES, TRADES, Instrument, Kind, StreamKey

__all__ = ["ACTIONS", "WAYS", "Action", "Columns", "Future", "Part", "Stamp", "changed"]

Array = NDArray[Any]
Columns = dict[str, Array]
Action = Literal["values", "deletion", "times", "insertion", "order"]
Stamp = Literal["event_time", "receipt_time"]

ACTIONS: tuple[Action, ...] = ("values", "deletion", "times", "insertion", "order")
"""In the order in which they are tried: the first finds most leaks."""

WAYS: tuple[tuple[Stamp, Action], ...] = (
    ("event_time", "values"),
    ("receipt_time", "values"),
    ("event_time", "deletion"),
    ("event_time", "insertion"),
    ("receipt_time", "times"),
    ("event_time", "times"),
    ("receipt_time", "deletion"),
    ("event_time", "order"),
)
"""In turn, one a cut."""


_MOST_TICKS = 200
_LONGEST_DELAY_NS = 700_000_000
_DELETED = 0.4
_REPEATED = 0.3


class Part(NamedTuple):
    """Rows of one stream, counted among those that lie after the cut."""

    stream: StreamKey
    first: int
    last: int
    """First row after the part."""


@dataclass(frozen=True)
class Future:
    """One way in which what comes after a cut may be different.

    Attributes:
        cut: Last instant that stays as it is, ns.
        stamp: What puts a record after the cut: `event_time` (law 2a: it has not happened yet) or
            `receipt_time` (law 2b: it has not reached us yet).
        action: What is done to the records after it.
        seed: Of the draws.
        only: Where to change anything at all; None is everywhere.
    """

    cut: int
    stamp: Stamp
    action: Action
    seed: int
    only: Part | None = None

    def fits(self, kind: Kind, key: tuple[str, ...]) -> bool:
        """Whether the action can be done to a kind without breaking a rule of the catalog."""
        if self.action == "values":
            return True
        if kind.name == DEPTH.name:
            return False  # an update that is missing, late or repeated is a gap in the book
        if self.action in ("insertion", "order"):
            return self.stamp == "event_time" and not key
        return True


def changed(
    columns: Mapping[str, Array], stream: StreamKey, kind: Kind, terms: Instrument, future: Future
) -> Columns:
    """Return the records of a stream in another future.

    Args:
        columns: The stamps and all own columns, sorted by (`event_time`, `sequence`).
        stream: Instrument and kind.
        kind: The kind.
        terms: The instrument: prices move in its ticks, quantities in its lots.
        future: What to change.
    """
    after = columns[future.stamp] > future.cut
    chosen = np.flatnonzero(after)
    if future.only is not None:
        of_part = future.only.stream == stream
        chosen = chosen[future.only.first : future.only.last] if of_part else chosen[:0]
    result = {name: np.array(column) for name, column in columns.items()}
    if not len(chosen):
        return result
    rows = np.cumsum(after) - 1  # each row's place among those after the cut, which names its draws
    draws = _Draws(int(stream_key(future.seed, f"{stream[0]}/{stream[1]}")), rows[chosen])
    return _DO[future.action](result, chosen, kind, terms, draws, future)


class _Draws:
    """Uniform numbers of rows, keyed by each row's place: the same whatever else is drawn."""

    def __init__(self, seed: int, rows: Array) -> None:
        self._seed, self._rows = seed, rows

    def uniform(self, what: int) -> Array:
        """Return one number in [0, 1) a row."""
        generator = np.random.Generator(np.random.Philox([self._seed, what]))
        return generator.random(int(self._rows[-1]) + 1)[self._rows]


def _values(
    columns: Columns, at: Array, kind: Kind, terms: Instrument, draws: _Draws, future: Future
) -> Columns:
    tick, lot = float(terms.tick_size), float(terms.lot_size)
    up = np.floor(draws.uniform(0) * _MOST_TICKS + 1)  # upwards: no price falls to zero
    times = np.floor(draws.uniform(1) * 4 + 2)

    def move(*names: str) -> None:
        for name in names:
            columns[name][at] = (np.rint(columns[name][at] / tick) + up) * tick

    def scale(name: str, factor: Array) -> None:
        columns[name][at] = np.rint(columns[name][at] / lot) * factor * lot

    if kind.name == QUOTES.name:
        move("bid_price", "ask_price")
        one_sided = draws.uniform(2) < 0.5
        scale("bid_quantity", np.where(one_sided, times, 1.0))
        scale("ask_quantity", np.where(one_sided, 1.0, times))
    elif kind.name == TRADES.name:
        move("price")
        scale("quantity", times)
        columns["aggressor"][at] *= np.where(draws.uniform(2) < 0.5, -1, 1)
    elif kind.name == DEPTH.name:
        scale("quantity", times)  # a level that is removed stays removed
    elif kind.name == BARS.name:
        move("open", "high", "low", "close")
        columns["volume"][at] *= times
    else:
        _user_values(columns, at, kind, draws)
    return columns


def _user_values(columns: Columns, at: Array, kind: Kind, draws: _Draws) -> None:
    for place, (name, type_) in enumerate(kind.columns.items()):
        if type_ == "float64":
            column = columns[name]
            spread = float(np.nanstd(column)) or float(np.nanmax(np.abs(column))) or 1.0
            column[at] = column[at] + (draws.uniform(10 + place) + 0.5) * spread


def _deletion(
    columns: Columns, at: Array, kind: Kind, terms: Instrument, draws: _Draws, future: Future
) -> Columns:
    gone = at[draws.uniform(3) < _DELETED]
    kept = np.ones(len(columns["event_time"]), bool)
    kept[gone if len(gone) else at[:1]] = False
    if not kept.any():
        kept[-1] = True  # that a stream exists at all is not of the future
    return {name: column[kept] for name, column in columns.items()}


def _times(
    columns: Columns, at: Array, kind: Kind, terms: Instrument, draws: _Draws, future: Future
) -> Columns:
    later = (draws.uniform(4) * _LONGEST_DELAY_NS).astype(np.int64) + 1
    if future.stamp == "event_time" and future.only is None:
        # everything after the cut happens later, in the same order
        shift = int(later[0])
        for name, type_ in kind.all_columns.items():
            if type_ == "instant":
                columns[name][at] += shift
    columns["receipt_time"][at] += np.sort(later) if kind.number >= 100 else later
    return columns


def _insertion(
    columns: Columns, at: Array, kind: Kind, terms: Instrument, draws: _Draws, future: Future
) -> Columns:
    repeated = at[draws.uniform(5) < _REPEATED]
    repeated = repeated if len(repeated) else at[:1]
    copies = {name: column[repeated] for name, column in columns.items()}
    other = _Draws(int(stream_key(future.seed, "copies")), np.arange(len(repeated)))
    copies = _values(copies, np.arange(len(repeated)), kind, terms, other, future)
    rows = {name: np.concatenate([columns[name], copies[name]]) for name in columns}
    place = np.concatenate([np.arange(len(columns["event_time"])), repeated + 0.5])
    order = np.argsort(place, kind="stable")
    rows = {name: column[order] for name, column in rows.items()}
    # sequences after the cut are counted anew, beyond all that stay
    after = rows["event_time"] > future.cut
    stay = rows["sequence"][~after]
    first = int(max(stay.max(initial=0), columns["sequence"].max())) + 1
    rows["sequence"][after] = np.arange(first, first + int(after.sum()))
    return rows


def _order(
    columns: Columns, at: Array, kind: Kind, terms: Instrument, draws: _Draws, future: Future
) -> Columns:
    # within one instant of the venue the records swap places: a tie falls the other way
    shuffled = at[np.lexsort((draws.uniform(6), columns["event_time"][at]))]
    for name in columns:
        if name not in ("event_time", "sequence"):
            columns[name][at] = columns[name][shuffled]
    return columns


_DO: Mapping[str, Callable[..., Columns]] = {
    "values": _values,
    "deletion": _deletion,
    "times": _times,
    "insertion": _insertion,
    "order": _order,
}
