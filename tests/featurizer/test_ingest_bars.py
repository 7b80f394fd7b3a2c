"""Bars are stamped with their close in the catalog, whatever the file stamps them with."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from clock.units import parse_instant
from featurizer.errors import MarketDataError
from featurizer.ingest.bars import Stamp, ingest_bars
from featurizer.ingest.convert import TimeFormat
from featurizer.ingest.delimited import Layout
from featurizer.ingest.pipeline import Target
from tests.featurizer.ingest_examples import rows, target, write
from tests.real_data import capture_path

MINUTE = 60_000_000_000
NOON = parse_instant("2024-08-08T12:00:00Z")
SECOND_MS = 1_000_000


def layout(unit: Any = "ms", **more: Any) -> Layout:
    more = {"feed_latency_ns": 250 * SECOND_MS} | more
    return Layout({"event_time": "stamp"}, TimeFormat(unit, None), **more)


def line(stamp: int, volume: float = 5.0, prices: str = "100,101,99.5,100.5") -> str:
    return f"{stamp // SECOND_MS},{prices},{volume}"


def table(*lines: str) -> str:
    return "\n".join(["stamp,open,high,low,close,volume", *lines]) + "\n"


def market(stamp: Stamp, days: float, seed: int = 1, interval: int = MINUTE) -> str:
    """Return bars of a market that is a little busier in the minute after a full quarter."""
    draw, lines = random.Random(seed), []
    for n in range(int(days * 1440 * MINUTE / interval)):
        opened = NOON + n * interval
        volume = round(draw.lognormvariate(0, 1) * (1.5 if opened % (15 * MINUTE) == 0 else 1), 3)
        lines.append(line(opened + (interval if stamp == "close" else 0), volume))
    return table(*lines)


@pytest.mark.parametrize(("stamp", "close"), [("open", NOON + MINUTE), ("close", NOON)])
def test_a_bar_is_known_at_its_close_and_not_before(
    tmp_path: Path, stamp: Stamp, close: int
) -> None:
    path = write(tmp_path, table(line(NOON), line(NOON + MINUTE)))
    report = ingest_bars([path], stamp, layout(), target(tmp_path))
    first, second = rows(tmp_path, "bars")
    assert first["event_time"] == close
    assert first["open_time"] == close - MINUTE
    assert first["receipt_time"] == close + 250 * SECOND_MS
    assert (first["sequence"], second["sequence"]) == (0, 1)
    assert [first[n] for n in ("open", "high", "low", "close", "volume")] == [
        100.0, 101.0, 99.5, 100.5, 5.0,
    ]  # fmt: skip
    assert "no quarters of an hour" in report.remarks[1]


@pytest.mark.parametrize("truth", ["open", "close"])
def test_a_stamp_that_the_data_speak_against_is_refused(tmp_path: Path, truth: Stamp) -> None:
    path = write(tmp_path, market(truth, 5))
    wrong: Stamp = "close" if truth == "open" else "open"
    with pytest.raises(MarketDataError) as caught:
        ingest_bars([path], wrong, layout(), target(tmp_path))
    text = str(caught.value)
    assert f"`--stamp {wrong}` must be plausible" in text
    assert f"Give `--stamp {truth}`, or accept it with `--accept-stamp`" in text
    report = ingest_bars([path], truth, layout(), target(tmp_path))
    assert "The data agree" in report.remarks[1]
    accepted = target(tmp_path, replace=True)
    report = ingest_bars([path], wrong, layout(), accepted, accept_stamp=True)
    assert f"look stamped with the {truth}" in report.remarks[1]


def test_data_that_do_not_tell_are_accepted_and_it_is_said(tmp_path: Path) -> None:
    draw = random.Random(3)
    lines = [line(NOON + n * MINUTE, round(draw.lognormvariate(0, 1), 3)) for n in range(3000)]
    report = ingest_bars([write(tmp_path, table(*lines))], "open", layout(), target(tmp_path))
    assert "The data do not tell" in report.remarks[1]


def test_bars_of_an_hour_tell_nothing_and_need_their_interval(tmp_path: Path) -> None:
    path = write(tmp_path, market("open", 9, interval=60 * MINUTE))
    with pytest.raises(MarketDataError, match=r"apart: got at least 1h.*`--interval 1h`"):
        ingest_bars([path], "open", layout(), target(tmp_path))
    report = ingest_bars([path], "open", layout(), target(tmp_path), interval_ns=60 * MINUTE)
    assert "no quarters of an hour" in report.remarks[1]
    assert rows(tmp_path, "bars")[0]["event_time"] == NOON + 60 * MINUTE


def test_bars_that_are_missing_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, table(*(line(NOON + n * MINUTE) for n in (0, 1, 2, 7, 8))))
    report = ingest_bars([path], "close", layout(), target(tmp_path))
    assert report.remarks[-1] == "4 bars between the first and the last are not there."


GOOD = line(NOON)
CASES: list[tuple[str, Layout, str]] = [
    (table(GOOD), layout(feed_latency_ns=None), r"got neither a receipt column nor"),
    (table(GOOD, line(NOON + 90 * 10**9)), layout(), r"line 3: the stamp of a bar must be a "
     r"multiple of `--interval 1m`: got 2024-08-08T12:01:30Z"),
    (table(GOOD, GOOD), layout(), r"line 3: the stamp of a bar must be after that of the bar "
     r"above: got 2024-08-08T12:00:00Z after 2024-08-08T12:00:00Z"),
    (table(line(NOON + MINUTE), GOOD), layout(), r"line 3: the stamp .*Sort the file"),
    (table(line(NOON, prices="100,99.5,99.5,99")), layout(), r"line 2: `open` must not be above"),
    (table(line(NOON, prices="100,101,100.5,101")), layout(), r"line 2: `open` must not be below"),
    (table(line(NOON, prices="100,101,0,101")), layout(), r"line 2: `low` must be positive"),
    (table(line(NOON, -1)), layout(), r"line 2: `volume` must not be negative: got -1.0"),
    (table(line(NOON)), layout(unit=None), r"holds instants as numbers, whose unit must be said"),
    (table(), layout(), r"it holds no bars"),
    ("stamp,open,high,low,close\n", layout(), r"`volume` must have a column: got stamp, open"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "form", "message"), CASES)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    tmp_path: Path, text: str, form: Layout, message: str
) -> None:
    with pytest.raises(MarketDataError, match=message):
        ingest_bars([write(tmp_path, text)], "close", form, target(tmp_path))
    assert not (tmp_path / "c").exists()


def test_months_that_follow_each_other_are_read_together(tmp_path: Path) -> None:
    text = market("open", 2).splitlines()
    first = write(tmp_path, "\n".join(text[:1001]) + "\n", "a.csv.gz")
    second = write(tmp_path, "\n".join([text[0], *text[1001:]]) + "\n", "b.zip")
    report = ingest_bars([first, second], "open", layout(), target(tmp_path))
    assert report.rows == {"bars": 2880}
    assert [row["sequence"] for row in rows(tmp_path, "bars")] == list(range(2880))


PERP = (
    "instruments:\n- {id: MY.BTC-PERP, tick_size: 0.125, lot_size: 0.0001, contract: linear,"
    " base: BTC, quote: USD, fees: {maker: 0.0002, taker: 0.0007}}\n"
)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_month_of_bars_is_stamped_with_the_close(tmp_path: Path) -> None:
    path = capture_path("btc-perp-1m-20211231-20220201.csv.gz")
    (tmp_path / "i.yaml").write_text(PERP)
    form = Layout({"event_time": "timestamp"}, TimeFormat(None, "UTC"), 250 * SECOND_MS)
    to = Target("MY.BTC-PERP", tmp_path / "c", tmp_path / "i.yaml")
    with pytest.raises(
        MarketDataError, match=r"`--stamp open` must be plausible.* 1914 of 3002 .*15"
    ):
        ingest_bars([path], "open", form, to)
    report = ingest_bars([path], "close", form, to)
    assert report.rows == {"bars": 45_031}
    assert report.start == parse_instant("2021-12-31T23:01:00Z")
    assert len(report.remarks) == 2, "no bar is missing"


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    "released",
    # consumer prices, employment, and the decision of the Federal Reserve: known to the second
    ["2022-01-12 13:30", "2022-01-07 13:30", "2022-01-26 19:00"],
)
def test_the_real_month_moves_in_the_bar_stamped_a_minute_after_the_news(released: str) -> None:
    import polars as pl

    path = capture_path("btc-perp-1m-20211231-20220201.csv.gz")
    bars = pl.read_csv(path, try_parse_dates=True).with_columns(
        move=pl.col("high") / pl.col("low") - 1
    )
    at = bars["timestamp"].search_sorted(pl.Series([released]).str.to_datetime()[0])
    assert bars["move"][at + 1] > 4 * bars["move"][at]
