"""Durations and instants: text in, `int` nanoseconds out, and back again.

This is the only parser. Nothing is rounded and no unit or time zone is guessed: what does not
name an exact nanosecond is refused.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any

from clock.errors import UnitError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_UNITS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
_MICRO_SIGNS = ("µs", "μs")  # U+00B5 as typed on keyboards, U+03BC as NFKC makes of it
_DURATION = r"([0-9]+(?:\.[0-9]+)?) ?(d|h|m|s|ms|us|µs|μs|ns)"
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_LONGEST = 2**63 - 1


def parse_duration(value: object) -> int:
    """Return the nanoseconds of a duration such as `"250ms"`, `"1.5s"` or `0`.

    A bare number other than zero has no unit and is refused, and so is a fraction of a nanosecond.

    Raises:
        UnitError: If the value is no exact, non-negative duration.

    >>> parse_duration("1.5us")
    1500
    >>> parse_duration("1.5ns")
    Traceback (most recent call last):
    ...
    clock.errors.UnitError: a duration must be a whole number of nanoseconds: got '1.5ns'.
    """
    if value == 0 and isinstance(value, int | float) and not isinstance(value, bool):
        return 0
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise UnitError(f"a duration needs a unit: got {value!r}. Write it as '{value}ms'.")
    match = re.fullmatch(_DURATION, value.strip()) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, str) and value.strip() == "0":
            return 0
        if isinstance(value, str) and re.fullmatch("-" + _DURATION, value.strip()):
            raise UnitError(f"a duration must not be negative: got {value!r}.")
        raise UnitError(
            f"a duration is a number and one of the units ns, us, ms, s, m, h, d: got {value!r}. "
            "Write it as '250ms'."
        )
    unit = "us" if match[2] in _MICRO_SIGNS else match[2]
    nanoseconds = _exact(match[1], _UNITS[unit])
    if nanoseconds is None:
        raise UnitError(f"a duration must be a whole number of nanoseconds: got {value!r}.")
    if nanoseconds > _LONGEST:
        raise UnitError(f"a duration must be shorter than 292 years: got {value!r}.")
    return nanoseconds


def format_duration(duration_ns: int) -> str:
    """Return a duration as text that `parse_duration` reads back exactly.

    Days, hours and minutes appear only when they are whole; a negative one starts with a minus
    sign, for messages.

    >>> format_duration(1_500_000), format_duration(90_000_000_000)
    ('1.5ms', '90s')
    """
    if duration_ns == 0:
        return "0s"
    sign, size = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    for unit, length in _UNITS.items():
        whole, rest = divmod(size, length)
        if rest == 0:
            return f"{sign}{whole}{unit}"
        if whole and length <= _SECOND:
            digits = len(str(length)) - 1
            return f"{sign}{whole}.{f'{rest:0{digits}d}'.rstrip('0')}{unit}"
    raise AssertionError(f"a duration is an int: got {duration_ns!r}")


def parse_instant(value: object) -> int:
    """Return the nanoseconds since 1970 UTC of an instant.

    Text needs a zone (`Z` or `+02:00`) and holds up to nine fractional digits; a date alone is its
    midnight UTC; an `int` is taken as nanoseconds.

    Raises:
        UnitError: If the value is no instant, names no zone, or lies outside 1677 to 2262.

    >>> parse_instant("1970-01-01T00:00:01.000000001Z")
    1000000001
    >>> parse_instant("2024-08-08T23:57:45")
    Traceback (most recent call last):
    ...
    clock.errors.UnitError: an instant needs a time zone: got '2024-08-08T23:57:45'. \
Write it as '2024-08-08T23:57:45Z'.
    """
    if isinstance(value, str):
        nanoseconds = _instant_of_text(value)
    elif isinstance(value, datetime):
        if value.utcoffset() is None:
            text = value.isoformat()
            raise UnitError(f"an instant needs a time zone: got {text!r}. Write it as '{text}Z'.")
        nanoseconds = _since_epoch(value)
    elif isinstance(value, date):
        nanoseconds = _since_epoch(datetime(value.year, value.month, value.day, tzinfo=UTC))
    elif isinstance(value, int) and not isinstance(value, bool):
        nanoseconds = value
    else:
        raise _no_instant(value)
    if not -_LONGEST - 1 <= nanoseconds <= _LONGEST:
        raise UnitError(f"an instant must lie between the years 1678 and 2262: got {value!r}.")
    return nanoseconds


def format_instant(instant: int) -> str:
    """Return an instant as UTC text with the shortest exact fraction.

    >>> format_instant(1_500_000_000), format_instant(0)
    ('1970-01-01T00:00:01.5Z', '1970-01-01T00:00:00Z')
    """
    seconds, rest = divmod(instant, _SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{f'{rest:09d}'.rstrip('0')}Z" if rest else f"{text}Z"


def _exact(number: str, unit_ns: int) -> int | None:
    """Return a decimal number of units in nanoseconds, or None where it is finer than one."""
    whole, _, fraction = number.partition(".")
    scaled = int(whole + fraction) * unit_ns
    nanoseconds, rest = divmod(scaled, 10 ** len(fraction))
    return None if rest else nanoseconds


def _instant_of_text(text: str) -> int:
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise _no_instant(text)
    day, clock_time, fraction, zone = match.groups()
    if clock_time is not None and zone is None:
        raise UnitError(f"an instant needs a time zone: got {text!r}. Write it as '{text}Z'.")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock_time or '00:00:00'}")
        offset = _offset(zone) if zone not in (None, "Z") else UTC
    except ValueError as error:
        raise UnitError(f"an instant must be on the calendar: got {text!r} ({error}).") from None
    return _since_epoch(moment.replace(tzinfo=offset)) + int((fraction or "").ljust(9, "0"))


def _offset(zone: str) -> timezone:
    distance = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    if int(zone[4:6]) > 59:
        raise ValueError("minutes of an offset must be in 0..59")
    return timezone(-distance if zone[0] == "-" else distance)


def _since_epoch(moment: datetime) -> int:
    """Return the exact nanoseconds of an aware datetime: floats of seconds would round."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * _SECOND + since.microseconds * 1_000


def _no_instant(value: object) -> UnitError:
    return UnitError(f"an instant is written '2024-08-08T23:57:45Z': got {value!r}.")


class _Text:
    """What pydantic needs to know of a unit, without importing pydantic before it is used."""

    def __init__(self, parse: Any, write: Any, schema: dict[str, Any]) -> None:
        self._parse, self._write, self._schema = parse, write, schema

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            self._parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self._write, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self._schema)


_DURATION_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": f"^{_DURATION}$"}, {"const": 0}],
    "examples": ["250ms", "5s"],
}
_INSTANT_SCHEMA = {
    "type": ["string", "integer"],
    "examples": ["2024-08-08T23:57:45Z", "2024-08-08"],
}

Duration = Annotated[int, _Text(parse_duration, format_duration, _DURATION_SCHEMA)]
"""A pydantic field of nanoseconds, written as text in YAML and JSON."""

Instant = Annotated[int, _Text(parse_instant, format_instant, _INSTANT_SCHEMA)]
"""A pydantic field of nanoseconds since 1970 UTC, written as text in YAML and JSON."""
