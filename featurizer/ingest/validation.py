"""The rules that every market record keeps; a record that breaks one is refused, never repaired.

Each message names the file, the row, the rule, the value and, where one exists, the flag of
`lightcone data ingest` that would accept it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from clock.units import format_duration, format_instant
from featurizer.errors import MarketDataError
from featurizer.market import DEPTH, Array, Instrument, Kind

__all__ = [
    "DEFAULT_MAX_LATENESS_NS",
    "Origin",
    "check_receipts",
    "check_records",
    "order_keys",
    "refuse_if",
]

DEFAULT_MAX_LATENESS_NS: Final = 60_000_000_000
# a price is a multiple of the tick when it is this near to one, in ticks: text parsed to the
# nearest double always is, a price computed with a rounding error or two as well
_TICK_TOLERANCE: Final = 1e-6


@dataclass(frozen=True)
class Origin:
    """Where records come from, for messages.

    Attributes:
        file: Name of the file, or of the table when there is no file.
        word: `row` (counted from 0) or `line` (counted from 1).
        numbers: Row number of each record; without it, its position.
    """

    file: str
    word: str = "row"
    numbers: Array | None = None

    def at(self, index: int) -> str:
        """Return `file row n` for the record at an index."""
        number = index if self.numbers is None else int(self.numbers[index])
        return f"{self.file} {self.word} {number}"

    def take(self, order: Array) -> Origin:
        """Return the origin of the records in another order."""
        numbers = order if self.numbers is None else self.numbers[order]
        return Origin(self.file, self.word, numbers)


def refuse_if(
    broken: Array, origin: Origin, what: str, value: Callable[[int], str], remedy: str
) -> None:
    """Raise for the first record that breaks a rule, and say how many do.

    Args:
        broken: Shape (n,), true where a record breaks the rule.
        origin: Where the records come from.
        what: The column in backticks, and the rule.
        value: Text of the offending value, given the record's index.
        remedy: What to do, as a sentence.

    Raises:
        MarketDataError: If any record breaks the rule.
    """
    if not broken.any():
        return
    first, count = int(np.argmax(broken)), int(np.count_nonzero(broken))
    also = f" {count} of {len(broken)} {origin.word}s break this rule." if count > 1 else ""
    raise MarketDataError(f"{origin.at(first)}: {what}: got {value(first)}.{also} {remedy}")


def order_keys(columns: Mapping[str, Array], kind: Kind) -> list[Array]:
    """Return the columns that order a kind's records in the catalog, the first one leading.

    `event_time`, then `sequence`; a depth snapshot follows the update whose id it carries, and
    the levels of one update are bids before asks, then by price.
    """
    keys = [columns["event_time"], columns["sequence"]]
    if kind.name == DEPTH.name:
        keys += [columns["is_snapshot"], -columns["side"], columns["price"]]
    return keys


def check_records(
    columns: Mapping[str, Array],
    kind: Kind,
    definitions: Sequence[Instrument],
    origin: Origin,
    max_lateness_ns: int = DEFAULT_MAX_LATENESS_NS,
) -> None:
    """Refuse records that break a rule of their kind.

    Args:
        columns: All columns of the kind, in the catalog's order of rows.
        kind: Their kind.
        definitions: The instrument's definitions, by `valid_from`.
        origin: Where they come from.
        max_lateness_ns: Longest `receipt_time - event_time` accepted.

    Raises:
        MarketDataError: For the first rule that is broken.
    """
    if len(columns["event_time"]) == 0:
        raise MarketDataError(f"{origin.file}: it holds no {kind.name}. Give at least one record.")
    for name, values in columns.items():
        if values.dtype == np.float64:
            _check_finite(name, values, origin)
    _check_stamps(columns, origin, max_lateness_ns)
    _check_order(columns, kind, origin)
    rules = _RULES.get(kind.name)
    if rules is not None:
        rules(columns, _Grid(columns["event_time"], definitions, origin), origin)


def _check_finite(name: str, values: Array, origin: Origin) -> None:
    refuse_if(
        ~np.isfinite(values),
        origin,
        f"`{name}` must be a finite number",
        lambda i: repr(float(values[i])),
        "Remove the record, or give the number.",
    )


def check_receipts(event: Array, receipt: Array, origin: Origin, moved_ns: int = 0) -> None:
    """Refuse records that reached us before they happened, and say by how much.

    Args:
        event: Shape (n,), ns.
        receipt: Shape (n,), ns.
        origin: Where they come from.
        moved_ns: Offset that the receipts were already given.

    Raises:
        MarketDataError: If any `receipt_time` is before its `event_time`.
    """
    early = receipt < event
    if not early.any():
        return
    before = (event - receipt)[early]
    raise MarketDataError(
        f"{origin.at(int(np.argmax(early)))}: `receipt_time` must not be before `event_time`: "
        f"got {format_instant(int(receipt[early][0]))}, "
        f"{format_duration(int(before[0]))} before {format_instant(int(event[early][0]))}. "
        f"{len(before)} of {len(event)} {origin.word}s break this rule, by "
        f"{format_duration(int(np.median(before)))} in the median and "
        f"{format_duration(int(before.max()))} at most: the clock that recorded them ran "
        f"behind. Accept them with `--clock-offset auto`, or with its error, as in "
        f"`--clock-offset {format_duration(moved_ns + int(before.max()))}`."
    )


def _check_stamps(columns: Mapping[str, Array], origin: Origin, max_lateness_ns: int) -> None:
    event, receipt = columns["event_time"], columns["receipt_time"]
    check_receipts(event, receipt, origin)
    lateness = receipt - event
    refuse_if(
        lateness > max_lateness_ns,
        origin,
        f"`receipt_time` must be at most {format_duration(max_lateness_ns)} after `event_time`",
        lambda i: format_duration(int(lateness[i])),
        f"Accept it with `--max-lateness {format_duration(int(lateness.max()))}`.",
    )


def _check_order(columns: Mapping[str, Array], kind: Kind, origin: Origin) -> None:
    keys = order_keys(columns, kind)
    equal = np.ones(len(keys[0]) - 1, np.bool_)
    back = np.zeros(len(equal), np.bool_)
    for key in keys:
        back |= equal & (key[1:] < key[:-1])
        equal &= key[1:] == key[:-1]
    words = "(`event_time`, `sequence`" + (", bids first, `price`)" if len(keys) > 2 else ")")

    def text(i: int) -> str:
        stamp = format_instant(int(columns["event_time"][i]))
        tail = "".join(f", {_plain(columns[c][i])}" for c in ("side", "price") if len(keys) > 2)
        return f"({stamp}, {int(columns['sequence'][i])}{tail})"

    refuse_if(
        _shifted(back),
        origin,
        f"{words} must not go back",
        lambda i: f"{text(i)} after {text(i - 1)}",
        "Sort the records before writing them.",
    )
    refuse_if(
        _shifted(equal),
        origin,
        f"{words} must not occur twice",
        lambda i: f"{text(i)} again",
        "Remove the duplicate.",
    )


def _shifted(mask: Array) -> Array:
    # a rule between neighbours is broken by the later one
    return np.concatenate([np.zeros(1, np.bool_), mask])


def _plain(value: object) -> str:
    return repr(value.item()) if isinstance(value, np.generic) else repr(value)


class _Grid:
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
                lambda i: _plain(values[i]),
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
            lambda i: _plain(values[i]),
            "Remove the record.",
        )

    def _multiple(self, name: str, values: Array, units: list[float], word: str) -> None:
        unit = units[0] if len(units) == 1 else np.array(units)[self._index]
        count = values / unit
        refuse_if(
            np.abs(count - np.rint(count)) > _TICK_TOLERANCE,
            self._origin,
            f"`{name}` must be a multiple of the {word} {units[-1]:g}",
            lambda i: _plain(values[i]),
            "Correct `instruments.yaml`, or remove the record.",
        )


def _check_quotes(columns: Mapping[str, Array], grid: _Grid, origin: Origin) -> None:
    bid, ask = columns["bid_price"], columns["ask_price"]
    for side in ("bid", "ask"):
        grid.check_price(f"{side}_price", columns[f"{side}_price"])
        grid.check_quantity(f"{side}_quantity", columns[f"{side}_quantity"])
    refuse_if(
        bid >= ask,
        origin,
        "`bid_price` must be below `ask_price` (a crossed book)",
        lambda i: f"{_plain(bid[i])} and {_plain(ask[i])}",
        "Remove the record.",
    )


def _check_sign(name: str, values: Array, origin: Origin, allowed: tuple[int, int]) -> None:
    refuse_if(
        (values != allowed[0]) & (values != allowed[1]),
        origin,
        f"`{name}` must be {allowed[0]} or {allowed[1]}",
        lambda i: _plain(values[i]),
        "Correct the record.",
    )


def _check_trades(columns: Mapping[str, Array], grid: _Grid, origin: Origin) -> None:
    grid.check_price("price", columns["price"])
    grid.check_quantity("quantity", columns["quantity"])
    _check_sign("aggressor", columns["aggressor"], origin, (1, -1))


def _check_depth(columns: Mapping[str, Array], grid: _Grid, origin: Origin) -> None:
    _check_sign("side", columns["side"], origin, (1, -1))
    _check_sign("is_snapshot", columns["is_snapshot"], origin, (0, 1))
    grid.check_price("price", columns["price"])
    grid.check_quantity("quantity", columns["quantity"], zero=True)


def _check_bars(columns: Mapping[str, Array], grid: _Grid, origin: Origin) -> None:
    event, opened = columns["event_time"], columns["open_time"]
    for name in ("open", "high", "low", "close"):
        grid.check_price(name, columns[name])
    grid.check_quantity("volume", columns["volume"], zero=True)
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
            lambda i, name=name: f"{_plain(columns[name][i])} and {_plain(columns['high'][i])}",  # type: ignore[misc]
            "Correct the record.",
        )
    for name in ("open", "close"):
        refuse_if(
            columns[name] < columns["low"],
            origin,
            f"`{name}` must not be below `low`",
            lambda i, name=name: f"{_plain(columns[name][i])} and {_plain(columns['low'][i])}",  # type: ignore[misc]
            "Correct the record.",
        )


_RULES: Final[dict[str, Callable[[Mapping[str, Array], _Grid, Origin], None]]] = {
    "quotes": _check_quotes,
    "trades": _check_trades,
    "depth": _check_depth,
    "bars": _check_bars,
}
