"""The rules that every market record keeps; a record that breaks one is refused, never repaired.

Each message names the file, the row, the rule, the value and, where one exists, the flag of
`lightcone data ingest` that would accept it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from clock.units import format_duration, format_instant
from featurizer.errors import MarketDataError
from featurizer.ingest.refusal import Origin, plain, refuse_if
from featurizer.ingest.rules import RULES, Grid
from featurizer.market import DEPTH, Array, Instrument, Kind

__all__ = [
    "DEFAULT_MAX_LATENESS_NS",
    "check_receipts",
    "check_records",
    "check_stamps",
    "order_keys",
]

DEFAULT_MAX_LATENESS_NS: Final = 60_000_000_000


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
    check_stamps(columns, origin, max_lateness_ns)
    _check_order(columns, kind, origin)
    rules = RULES.get(kind.name)
    if rules is not None:
        rules(columns, Grid(columns["event_time"], definitions, origin), origin)


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


def check_stamps(columns: Mapping[str, Array], origin: Origin, max_lateness_ns: int) -> None:
    """Refuse records received before they happened, or too late after; see `check_records`."""
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
        tail = "".join(f", {plain(columns[c][i])}" for c in ("side", "price") if len(keys) > 2)
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
