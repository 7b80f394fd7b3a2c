"""Which column of a file holds what: `time=ts,price=px`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from clock.nearest import nearest
from featurizer.errors import MarketDataError

__all__ = ["parse_columns", "resolve_columns"]

_SHORT: Final = {"time": "event_time", "receipt": "receipt_time"}


def parse_columns(text: str | None) -> dict[str, str]:
    """Return the mapping that `--columns` gives: field of the catalog to column of the file.

    `time` is short for `event_time`, `receipt` for `receipt_time`.

    Raises:
        MarketDataError: If it is no list of `field=column`, or names a field twice.

    Example:
        >>> parse_columns("time=ts, price=px")
        {'event_time': 'ts', 'price': 'px'}
    """
    mapping: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in (text or "").split(","))):
        field, equals, column = (part.strip() for part in entry.partition("="))
        name = _SHORT.get(field, field)
        if not (field and equals and column) or name in mapping:
            raise MarketDataError(
                f"`--columns` must list each field once, as in `time=ts,price=px`: got {entry!r}. "
                f"Correct it."
            )
        mapping[name] = column
    return mapping


def resolve_columns(
    mapping: Mapping[str, str],
    found: Sequence[str],
    required: Collection[str],
    optional: Collection[str],
    where: object,
) -> dict[str, str]:
    """Return the column of the file for each field; without a mapping, the one of its name.

    Args:
        mapping: What the user gave.
        found: Columns of the file.
        required: Fields that must have a column.
        optional: Fields that may have one.
        where: The file, for messages.

    Raises:
        MarketDataError: If a field is unknown, a column does not exist, or a required field has
            none.
    """
    known = [*required, *optional]
    for field, column in mapping.items():
        if field not in known:
            raise MarketDataError(f"`--columns`: no field '{field}'. {nearest(field, known)}")
        if column not in found:
            raise MarketDataError(
                f"{where}: `--columns {field}={column}` must name a column of the file: got none "
                f"of that name. {nearest(column, found)}"
            )
    by_short = {long: short for short, long in _SHORT.items()}
    columns = dict(mapping)
    for field in known:
        for name in (field, by_short.get(field, field)):
            if field not in columns and name in found:
                columns[field] = name
    for field in required:
        if field not in columns:
            short = by_short.get(field, field)
            raise MarketDataError(
                f"{where}: `{short}` must have a column: got {', '.join(found)}. Say which it is "
                f"with `--columns {short}=…`."
            )
    return columns
