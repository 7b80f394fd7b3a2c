from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from clock import (
    Duration,
    InputError,
    Instant,
    UnitError,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)

int64s = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("250ms", 250_000_000),
        ("1.5s", 1_500_000_000),
        ("20us", 20_000),
        ("20µs", 20_000),
        ("20μs", 20_000),
        ("1ns", 1),
        ("1m", 60 * 10**9),
        ("0.5h", 1800 * 10**9),
        ("2d", 2 * 86_400 * 10**9),
        (" 5 s ", 5 * 10**9),
        ("0.000000001s", 1),
        ("0ms", 0),
        ("0", 0),
        (0, 0),
        (0.0, 0),
    ],
)
def test_a_duration_is_read_exactly(text: object, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "needs a unit: got 5. Write it as '5ms'"),
        (0.25, "needs a unit"),
        ("5", "a number and one of the units"),
        ("-5ms", "must not be negative"),
        ("1.5ns", "whole number of nanoseconds"),
        ("1e3ms", "one of the units"),
        ("5 lightyears", "one of the units"),
        ("٥ms", "one of the units"),
        ("1m30s", "one of the units"),
        ("", "one of the units"),
        ("ms", "one of the units"),
        ("293y", "one of the units"),
        ("200000d", "shorter than 292 years"),
        (True, "one of the units"),
        (None, "one of the units"),
        (timedelta(seconds=1), "one of the units"),
    ],
)
def test_what_is_no_exact_duration_is_refused(value: object, message: str) -> None:
    with pytest.raises(UnitError, match=message):
        parse_duration(value)


@given(st.integers(0, 2**63 - 1))
@example(90 * 10**9)
@example(10**9 + 1)
def test_a_duration_survives_being_written_and_read(duration_ns: int) -> None:
    assert parse_duration(format_duration(duration_ns)) == duration_ns
    assert format_duration(-duration_ns) in (f"-{format_duration(duration_ns)}", "0s")


@given(
    st.decimals(0, 1000, places=5),
    st.sampled_from([("ns", 0), ("us", 3), ("ms", 6), ("s", 9)]),
)
def test_durations_agree_with_decimal_arithmetic(number: Decimal, unit: tuple[str, int]) -> None:
    name, power = unit
    exact = number * 10**power
    if exact == exact.to_integral_value():
        assert parse_duration(f"{number}{name}") == int(exact)
    else:
        with pytest.raises(UnitError):
            parse_duration(f"{number}{name}")


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [(0, "0s"), (250_000_000, "250ms"), (1_000_001, "1.000001ms"), (86_400 * 10**9, "1d")],
)
def test_durations_are_written_in_their_largest_fitting_unit(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


@given(int64s)
@example(-1)
@example(-(2**63))
@example(2**63 - 1)
def test_an_instant_survives_being_written_and_read(instant: int) -> None:
    text = format_instant(instant)
    assert parse_instant(text) == instant
    assert not text.endswith("0Z") or "." not in text


@given(
    st.datetimes(
        datetime(1700, 1, 1),
        datetime(2200, 1, 1),
        timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_an_aware_datetime_and_its_text_are_the_same_instant(moment: datetime) -> None:
    instant = parse_instant(moment)
    assert parse_instant(moment.isoformat()) == instant
    assert instant % 1000 == 0
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert instant // 1000 == microseconds


def test_a_date_alone_is_its_midnight_in_utc() -> None:
    midnight = parse_instant("2024-08-08T00:00:00Z")
    assert parse_instant("2024-08-08") == parse_instant(date(2024, 8, 8)) == midnight
    assert midnight == 1_723_075_200 * 10**9


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2024-08-08T23:57:45", "needs a time zone.*'2024-08-08T23:57:45Z'"),
        (datetime(2024, 8, 8), "needs a time zone"),
        ("2024-02-30", "on the calendar"),
        ("2024-08-08T24:00:00Z", "on the calendar"),
        ("2024-08-08T00:00:00+25:00", "on the calendar"),
        ("2024-08-08T00:00:00+01:75", "on the calendar"),
        ("2024-08-08T00:00:00.1234567891Z", "is written"),
        ("2024-08-08T00:00Z", "is written"),
        ("yesterday", "is written"),
        (1.7e18, "is written"),
        (True, "is written"),
        (None, "is written"),
        ("2263-01-01", "between the years"),
        (2**63, "between the years"),
    ],
)
def test_what_is_no_exact_instant_is_refused(value: object, message: str) -> None:
    with pytest.raises(UnitError, match=message):
        parse_instant(value)


class Window(BaseModel):
    length: Duration = 0
    start: Instant | None = None


def test_units_are_text_in_json_and_nanoseconds_in_python() -> None:
    window = Window.model_validate({"length": "250ms", "start": "2024-08-08"})
    assert window.length == 250_000_000
    assert window.model_dump()["start"] == 1_723_075_200 * 10**9
    text = window.model_dump_json()
    assert text == '{"length":"250ms","start":"2024-08-08T00:00:00Z"}'
    assert Window.model_validate_json(text) == window


def test_the_json_schema_takes_text_with_a_unit_or_a_bare_zero() -> None:
    schema = Window.model_json_schema()["properties"]
    pattern = schema["length"]["anyOf"][0]["pattern"]
    assert re.search(pattern, "250ms")
    assert not re.search(pattern, "250")
    assert {"const": 0} in schema["length"]["anyOf"]
    assert schema["start"]["anyOf"][0]["type"] == ["string", "integer"]


def test_a_bad_unit_in_a_model_keeps_its_message() -> None:
    with pytest.raises(ValidationError, match="needs a unit: got 5"):
        Window.model_validate({"length": 5})
    assert issubclass(UnitError, InputError)
