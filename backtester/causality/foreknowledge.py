"""Data that tells what the market has yet to do: wrong stamps no other future could show.

A file of signals, a bar or a daily value is *given*: nobody recomputes it when the market is
changed, so changing the market cannot show that it was made from later prices. But such a column
can be made from the market again, exactly, only by looking ahead. Honest data cannot: a signal may
predict, it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.units import format_duration
from featurizer.catalog import Catalog
from featurizer.catalog_parts import PartReader
from featurizer.market import BARS, FIRST_USER_KIND, QUOTES, Kind, StreamKey, StreamRequest

__all__ = ["Foreknown", "foreknown"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KNOWS = 0.99
"""Share of a column's variance that the market must explain, with later prices, to be named."""

_FEWEST = 30
_MOST = 20_000
_LAGS = 12
_GAIN = 0.05
"""How much less of it earlier prices alone may explain: a copy of the present explains itself."""


class Foreknown(NamedTuple):
    """A column that later prices explain and earlier ones do not.

    Attributes:
        stream: Instrument and kind.
        column: The column.
        ahead_ns: How far ahead it looks, at least.
        explained: Share of its variance explained with later prices.
        honestly: Share explained without them.
    """

    stream: StreamKey
    column: str
    ahead_ns: int
    explained: float
    honestly: float

    def sentence(self) -> str:
        """Return it in words."""
        instrument, kind = self.stream
        return (
            f"`{self.column}` of {kind} of {instrument} knows prices of "
            f"{format_duration(self.ahead_ns)} after it reaches us: with them {self.explained:.1%} "
            f"of it is explained, without them {self.honestly:.1%}. Its stamps are wrong, or it "
            "was made from later data. Stamp it when it could be known."
        )


def foreknown(
    catalog: Catalog, reads: Iterable[StreamRequest], span: tuple[int, int]
) -> list[Foreknown]:
    """Return the columns of bars and of the user's kinds that know later prices.

    Prices are the mids of quotes, by the venue's time. A column is held against prices up to
    `_LAGS` of its own records before and after it, as differences.

    Args:
        catalog: The catalog.
        reads: Streams and columns that a run reads: what lies unread beside them leaks nothing.
        span: First instant and the one after the last.
    """
    found = []
    held = set(catalog.streams())
    for request in reads:
        kind, prices = catalog.kind(request.kind), (request.instrument, QUOTES.name)
        is_given = kind.number >= FIRST_USER_KIND or kind.name == BARS.name
        if not is_given or prices not in held:
            continue  # without quotes there is nothing to hold a column against
        times, mids = _mids(catalog, request.instrument, span)
        rows = _rows(catalog, request.key, kind, span)
        for column in request.columns:
            if kind.columns.get(column) == "float64":
                seen = _look(request.key, column, rows, times, mids)
                if seen is not None:
                    found.append(seen)
    return found


def _look(
    key: StreamKey, column: str, rows: dict[str, NDArray[np.float64]], times: Ints, mids: Floats
) -> Foreknown | None:
    values, at = rows[column], rows["receipt_time"].astype(np.int64)
    usable = np.isfinite(values)
    values, at = values[usable], at[usable]
    if len(values) < _FEWEST + 4 * _LAGS or not np.ptp(values):
        return None
    step = int(np.median(np.diff(at)))
    if step <= 0:
        return None
    prices = np.stack(
        [_price_at(times, mids, at + lag * step) for lag in range(-_LAGS, _LAGS + 1)], axis=1
    )
    inside = np.isfinite(prices).all(axis=1)
    if inside.sum() < _FEWEST + 4 * _LAGS:
        return None
    best: Foreknown | None = None
    # a price level, and a return, are explained by different things: try both
    now = prices[inside][:, _LAGS]
    for target in (values[inside], values[inside] - now):
        if not np.ptp(target):
            continue
        shifts = prices[inside] - now[:, None]
        honestly = _explained(target, shifts[:, :_LAGS], now)
        for ahead in range(1, _LAGS + 1):
            explained = _explained(target, shifts[:, : _LAGS + 1 + ahead], now)
            if explained >= KNOWS and explained - honestly >= _GAIN:
                seen = Foreknown(key, column, ahead * step, explained, honestly)
                if best is None or seen.ahead_ns < best.ahead_ns:
                    best = seen
                break
    return best


def _price_at(times: Ints, mids: Floats, instants: Ints) -> Floats:
    place = np.searchsorted(times, instants, side="right") - 1
    found = mids[np.maximum(place, 0)].copy()
    found[(place < 0) | (instants > times[-1])] = np.nan
    return found


def _explained(target: Floats, shifts: Floats, now: Floats) -> float:
    """Return the share of variance that a linear fit explains on rows it was not fitted to."""
    # a label is often a sign: what is no line in prices is one in their directions
    design = np.column_stack([shifts, np.sign(shifts), now - now[0], np.ones(len(now))])
    fitted = np.arange(len(target)) % 2 == 0
    weights = np.linalg.lstsq(design[fitted], target[fitted], rcond=None)[0]
    rest = target[~fitted]
    spread = float(((rest - rest.mean()) ** 2).sum())
    if not spread:
        return 0.0
    return 1.0 - float(((rest - design[~fitted] @ weights) ** 2).sum()) / spread


def _mids(catalog: Catalog, instrument: str, span: tuple[int, int]) -> tuple[Ints, Floats]:
    rows = _rows(catalog, (instrument, QUOTES.name), QUOTES, span, most=_MOST * 100)
    return rows["event_time"].astype(np.int64), (rows["bid_price"] + rows["ask_price"]) / 2


def _rows(
    catalog: Catalog, key: StreamKey, kind: Kind, span: tuple[int, int], most: int = _MOST
) -> dict[str, NDArray[np.float64]]:
    names = list(kind.all_columns)
    read: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    count = 0
    for part in catalog.held(*key):
        reader = PartReader(part, names)
        for group, (first, last, _) in enumerate(part.summary.groups):
            if last < span[0] or first >= span[1] or count >= most:
                continue
            columns = reader.read(group)
            count += len(columns["event_time"])
            for name in names:
                read[name].append(columns[name])
        reader.close()
    return {
        name: np.concatenate(chunks) if chunks else np.empty(0, kind.dtype(name))
        for name, chunks in read.items()
    }
