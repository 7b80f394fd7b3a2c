"""Columns of a file to what the catalog holds: numbers, instants, sides. Nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import polars as pl
import pyarrow as pa

from featurizer.catalog_columns import plain_values
from featurizer.errors import MarketDataError
from featurizer.ingest.files import Batch
from featurizer.ingest.refusal import refuse_if
from featurizer.market import Array

__all__ = ["TimeFormat", "TimeUnit", "choices", "instants", "integers", "numbers"]

TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]

_DIGITS: Final[dict[TimeUnit, int]] = {"s": 9, "ms": 6, "us": 3, "ns": 0}
"""Decimal digits between a unit and the nanosecond."""
_EARLIEST, _LATEST = 315_532_800, 7_258_118_400  # 1980 and 2200, in seconds
_ISO: Final = (
    r"^(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<time>\d{2}:\d{2}:\d{2})"
    r"(?:[.,](?P<fraction>\d{1,9}))?)? ?(?P<zone>Z|UTC|[+-]\d{2}:?\d{2})?$"
)
_DECIMAL: Final = r"^(?P<whole>\d+)(?:\.(?P<fraction>\d{1,9}))?$"


@dataclass(frozen=True)
class TimeFormat:
    """How a file writes instants.

    Attributes:
        unit: Unit of instants that are numbers; None where they are text or typed.
        zone: Time zone of instants that do not say theirs; None where they do.
    """

    unit: TimeUnit | None = None
    zone: str | None = None


def numbers(batch: Batch, column: str) -> Array:
    """Return a column as `float64`.

    Raises:
        MarketDataError: If a value is missing or is no number.
    """
    return _cast(batch, column, pl.Float64, "a number", "Correct the value, or map another column.")


def integers(batch: Batch, column: str) -> Array:
    """Return a column as `int64`; see `numbers`."""
    remedy = "Correct the value, or map another column."
    return _cast(batch, column, pl.Int64, "a whole number", remedy)


def choices(batch: Batch, column: str, values: Mapping[str, int]) -> Array:
    """Return a column of words, such as `buy` and `sell`, as `int64`.

    Raises:
        MarketDataError: If a value is none of the words; upper and lower case are alike.
    """
    words = batch.frame[column].cast(pl.String).str.to_lowercase()
    codes = words.replace_strict(dict(values), default=None, return_dtype=pl.Int64)
    known = " or ".join(f"`{word}`" for word in list(values)[:2])
    _refuse_nulls(codes, batch, column, known, "Remove the record, or map another column.")
    return _array(codes)


def instants(batch: Batch, column: str, format_: TimeFormat) -> Array:
    """Return a column of instants as `int64` nanoseconds since 1970 UTC, exactly.

    Raises:
        MarketDataError: If a value is no instant, or its unit or time zone is not known.
    """
    series = batch.frame[column]
    where = f"{batch.origin.file}: column `{column}`"
    if isinstance(series.dtype, pl.Datetime):
        return _of_datetime(series, batch, format_)
    if series.dtype == pl.Date:
        return _of_text(series.cast(pl.String), batch, format_)
    if series.dtype.is_float():
        raise MarketDataError(
            f"{where} must hold whole numbers, text or timestamps: got {series.dtype}, which holds "
            f"no exact nanosecond. Convert it."
        )
    if format_.unit is not None:
        return _of_number(series.cast(pl.String), batch, format_.unit)
    if series.dtype.is_integer():
        raise _unit_missing(where, str(series[0]) if len(series) else "numbers")
    return _of_text(series, batch, format_)


def _cast(batch: Batch, column: str, type_: Any, what: str, remedy: str) -> Array:
    series = batch.frame[column]
    text = series.dtype == pl.String
    if not (text or series.dtype.is_integer() or (series.dtype.is_numeric() and what[2] == "n")):
        raise MarketDataError(
            f"{batch.origin.file}: column `{column}` must hold {what[2:]}s: got {series.dtype}. "
            f"Convert it, or map another column."
        )
    values = series.cast(type_, strict=False)
    _refuse_nulls(values, batch, column, what, remedy)
    return _array(values)


def _refuse_nulls(values: pl.Series, batch: Batch, column: str, what: str, remedy: str) -> None:
    if values.null_count() == 0:
        return
    given = batch.frame[column]
    refuse_if(
        values.is_null().to_numpy(),
        batch.origin,
        f"`{column}` must be {what}",
        lambda i: "nothing" if given[i] in (None, "") else repr(given[i]),
        remedy,
    )


def _array(series: pl.Series) -> Array:
    # not `to_numpy`, which needs pandas for some types
    values = pa.chunked_array([series.to_arrow()])
    return plain_values(values)


def _of_datetime(series: pl.Series, batch: Batch, format_: TimeFormat) -> Array:
    dtype = series.dtype
    assert isinstance(dtype, pl.Datetime)
    if dtype.time_zone is None:
        if format_.zone is None:
            raise _zone_missing(f"{batch.origin.file}: column `{series.name}`", str(series[0]))
        series = _in_zone(series, format_.zone)
    _refuse_nulls(series, batch, series.name, "an instant", "Give every value.")
    return _array(series.dt.convert_time_zone("UTC").cast(pl.Datetime("ns", "UTC")).cast(pl.Int64))


def _of_number(text: pl.Series, batch: Batch, unit: TimeUnit) -> Array:
    digits = _DIGITS[unit]
    whole, fraction = text.cast(pl.Int64, strict=False), None
    if whole.null_count():  # not for whole numbers: it takes longer than all the rest
        parts = text.str.extract_groups(_DECIMAL)
        whole = parts.struct.field("whole").cast(pl.Int64, strict=False)
        fraction = parts.struct.field("fraction").fill_null("")
        fine = fraction.str.strip_chars_end("0").str.len_chars() > digits
        whole = whole.set(fine, None).rename(text.name)
        remedy = "Correct the value, or `--time-unit`."
        _refuse_nulls(whole, batch, text.name, f"a number of {unit}", remedy)
    scale = 10 ** (9 - digits)
    wrong = ~whole.is_between(_EARLIEST * scale, _LATEST * scale)
    refuse_if(
        wrong.to_numpy(),
        batch.origin,
        f"`{text.name}` must be between 1980 and 2200 in `--time-unit {unit}`",
        lambda i: text[i],
        _unit_hint(text, wrong),
    )
    if fraction is None or digits == 0:
        return _array(whole * 10**digits)
    tail = fraction.str.pad_end(digits, "0").str.head(digits)
    return _array(whole * 10**digits + tail.cast(pl.Int64))


def _unit_hint(text: pl.Series, wrong: pl.Series) -> str:
    if not wrong.any():
        return ""
    value = int(float(text[int(wrong.arg_max() or 0)]))
    for unit, digits in _DIGITS.items():
        if _EARLIEST <= value // 10 ** (9 - digits) <= _LATEST:
            return f"Give `--time-unit {unit}`, in which it is."
    return "Correct the value, or map another column."


def _of_text(text: pl.Series, batch: Batch, format_: TimeFormat) -> Array:
    parts = text.str.extract_groups(_ISO)
    field = parts.struct.field
    naive = field("zone").is_null()
    days = field("day") + " " + field("time").fill_null("00:00:00")
    stamps = days.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    if stamps.null_count():
        first = text[int(stamps.is_null().arg_max() or 0)]
        if re.fullmatch(r"\d{9,19}(\.\d+)?", first or ""):
            raise _unit_missing(f"{batch.origin.file}: column `{text.name}`", first)
    remedy = "Write it as 2024-08-08T12:00:00Z, or map another column."
    _refuse_nulls(stamps.rename(text.name), batch, text.name, "an instant", remedy)
    if naive.any():
        if format_.zone is None:
            first = text[int(naive.arg_max() or 0)]
            raise _zone_missing(f"{batch.origin.file}: column `{text.name}`", first)
        local = (
            _in_zone(stamps, format_.zone).dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        )
        stamps = local.zip_with(naive, stamps)
        remedy = "Give instants in UTC."
        what = f"an instant that `--time-zone {format_.zone}` has once"
        _refuse_nulls(stamps.rename(text.name), batch, text.name, what, remedy)
    zone = field("zone").str.replace("Z|UTC", "+0000").fill_null("+0000").str.replace(":", "")
    hours, minutes = zone.str.slice(1, 2).cast(pl.Int64), zone.str.slice(3, 2).cast(pl.Int64)
    sign = zone.str.starts_with("-").cast(pl.Int64) * -2 + 1
    seconds = stamps.cast(pl.Int64) // 1_000_000 - sign * (hours * 3600 + minutes * 60)
    fraction = field("fraction").fill_null("0").str.pad_end(9, "0").cast(pl.Int64)
    return _array(seconds * 1_000_000_000 + fraction)


def _in_zone(stamps: pl.Series, zone: str) -> pl.Series:
    try:
        return stamps.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    except pl.exceptions.ComputeError:
        raise MarketDataError(
            f"`--time-zone` must be a time zone of the IANA list: got {zone!r}. Give one such as "
            f"UTC or America/New_York."
        ) from None


def _unit_missing(where: str, value: str) -> MarketDataError:
    return MarketDataError(
        f"{where} holds instants as numbers, whose unit must be said: got {value}. Give "
        f"`--time-unit` s, ms, us or ns."
    )


def _zone_missing(where: str, value: str) -> MarketDataError:
    return MarketDataError(
        f"{where} holds instants that must say their time zone: got {value!r}. Give it with "
        f"`--time-zone`, as in `--time-zone UTC`."
    )
