"""The rules of each kind of record: prices, quantities, sides, bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from clock.units import format_instant
from featurizer.ingest.refusal import Origin, plain, refuse_if
from featurizer.market import Array, Instrument

__all__ = ["RULES", "Grid"]

# a price is a multiple of the tick when it is this near to one, in ticks: text parsed to the
# nearest double always is, a price computed with a rounding error or two as well
_TICK_TOLERANCE: Final = 1e-6
_ROUNDING: Final = 4 * float(np.finfo(np.float64).eps)


class Grid:
    """The tick and lot size in force at each record."""

    def __init__(self, event: Array, definitions: Sequence[Instrument], origin: Origin) -> None:
        starts = np.array([d.valid_from for d in definitions], np.int64)
        index = np.searchsorted(starts, event, side="right") - 1
        first = definitions[0]
        refuse_if(
            index < 0,
            origin,
            f"`event_time` must not be before the first definition of {first.id}",
            lambda i: f"{format_instant(int(event[i]))}, before {format_instant(first.valid_from)}",
            "Add a definition with an earlier `valid_from` to `instruments.yaml`.",
        )
        self._origin, self._index = origin, index
        self._ticks = [float(d.tick_size) for d in definitions]
        self._lots = [float(d.lot_size) for d in definitions]

    def check_price(self, name: str, values: Array) -> None:
        """Refuse prices that are not positive multiples of the tick size."""
        self._positive(name, values)
        self._multiple(name, values, self._ticks, "tick size")

    def check_quantity(self, name: str, values: Array, zero: bool = False) -> None:
        """Refuse quantities that are not positive multiples of the lot size."""
        if zero:
            refuse_if(
                values < 0,
                self._origin,
                f"`{name}` must not be negative",
                lambda i: plain(values[i]),
                "Remove the record.",
            )
        else:
            self._positive(name, values)
        self._multiple(name, values, self._lots, "lot size")

    def _positive(self, name: str, values: Array) -> None:
        refuse_if(
            values <= 0,
            self._origin,
            f"`{name}` must be positive",
            lambda i: plain(values[i]),
            "Remove the record.",
        )

    def _multiple(self, name: str, values: Array, units: list[float], word: str) -> None:
        unit = units[0] if len(units) == 1 else np.array(units)[self._index]
        count = values / unit
        # of a sum such as a bar's volume a double no longer holds that many digits
        allowed = np.maximum(_TICK_TOLERANCE, np.abs(count) * _ROUNDING)
        refuse_if(
            np.abs(count - np.rint(count)) > allowed,
            self._origin,
            f"`{name}` must be a multiple of the {word} {units[-1]:g}",
            lambda i: plain(values[i]),
            "Correct `instruments.yaml`, or remove the record.",
        )


def _check_quotes(columns: Mapping[str, Array], grid: Grid, origin: Origin) -> None:
    bid, ask = columns["bid_price"], columns["ask_price"]
    for side in ("bid", "ask"):
        grid.check_price(f"{side}_price", columns[f"{side}_price"])
        grid.check_quantity(f"{side}_quantity", columns[f"{side}_quantity"])
    refuse_if(
        bid >= ask,
        origin,
        "`bid_price` must be below `ask_price` (a crossed book)",
        lambda i: f"{plain(bid[i])} and {plain(ask[i])}",
        "Remove the record.",
    )


def _check_sign(name: str, values: Array, origin: Origin, allowed: tuple[int, int]) -> None:
    refuse_if(
        (values != allowed[0]) & (values != allowed[1]),
        origin,
        f"`{name}` must be {allowed[0]} or {allowed[1]}",
        lambda i: plain(values[i]),
        "Correct the record.",
    )


def _check_trades(columns: Mapping[str, Array], grid: Grid, origin: Origin) -> None:
    grid.check_price("price", columns["price"])
    grid.check_quantity("quantity", columns["quantity"])
    _check_sign("aggressor", columns["aggressor"], origin, (1, -1))


def _check_depth(columns: Mapping[str, Array], grid: Grid, origin: Origin) -> None:
    _check_sign("side", columns["side"], origin, (1, -1))
    _check_sign("is_snapshot", columns["is_snapshot"], origin, (0, 1))
    grid.check_price("price", columns["price"])
    grid.check_quantity("quantity", columns["quantity"], zero=True)


def _check_bars(columns: Mapping[str, Array], grid: Grid, origin: Origin) -> None:
    event, opened = columns["event_time"], columns["open_time"]
    for name in ("open", "high", "low", "close"):
        grid.check_price(name, columns[name])
    # a sum in a unit that the file decides (base, quote, contracts), so no multiple of the lot
    refuse_if(
        columns["volume"] < 0,
        origin,
        "`volume` must not be negative",
        lambda i: plain(columns["volume"][i]),
        "Remove the record.",
    )
    refuse_if(
        opened >= event,
        origin,
        "`open_time` must be before `event_time`, which is the close",
        lambda i: format_instant(int(opened[i])),
        "Stamp a bar with its close.",
    )
    for name in ("open", "low", "close"):
        refuse_if(
            columns[name] > columns["high"],
            origin,
            f"`{name}` must not be above `high`",
            lambda i, name=name: f"{plain(columns[name][i])} and {plain(columns['high'][i])}",  # type: ignore[misc]
            "Correct the record.",
        )
    for name in ("open", "close"):
        refuse_if(
            columns[name] < columns["low"],
            origin,
            f"`{name}` must not be below `low`",
            lambda i, name=name: f"{plain(columns[name][i])} and {plain(columns['low'][i])}",  # type: ignore[misc]
            "Correct the record.",
        )


RULES: Final[dict[str, Callable[[Mapping[str, Array], Grid, Origin], None]]] = {
    "quotes": _check_quotes,
    "trades": _check_trades,
    "depth": _check_depth,
    "bars": _check_bars,
}
