"""CSV and Parquet with a mapping: what is read, and every refusal."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from clock.errors import InputError
from clock.units import parse_instant
from featurizer.catalog import Catalog
from featurizer.catalog_kinds import read_kinds
from featurizer.errors import MarketDataError
from featurizer.ingest import files, pipeline
from featurizer.ingest.convert import TimeFormat
from featurizer.ingest.delimited import Layout, ingest_delimited
from featurizer.ingest.mapping import parse_columns
from tests.featurizer.ingest_examples import rows, target, write

T0 = 1_700_000_000
MS = 1_000_000
TRADES = "ts,px,qty,side\n1700000000000,100,2,buy\n1700000000001,100.5,1,SELL\n"
COLUMNS = "time=ts,price=px,quantity=qty,aggressor=side"


def layout(
    columns: str = COLUMNS, unit: Any = "ms", zone: str | None = None, **more: Any
) -> Layout:
    more = {"feed_latency_ns": 5 * MS} | more
    return Layout(parse_columns(columns), TimeFormat(unit, zone), **more)


def test_a_mapped_csv_is_read_with_a_declared_feed_latency(tmp_path: Path) -> None:
    report = ingest_delimited([write(tmp_path, TRADES)], "trades", layout(), target(tmp_path))
    first, second = rows(tmp_path, "trades")
    assert list(first.values()) == [T0 * 10**9, T0 * 10**9 + 5 * MS, 0, 100.0, 2.0, 1]
    assert list(second.values())[2:] == [1, 100.5, 1.0, -1]
    assert report.remarks == [
        "Receipts are declared, not recorded: every record reaches us 5ms after its event."
    ]
    (summary,) = Catalog(tmp_path / "c").describe()
    assert summary.calibration == [
        {"file": "file.csv", "method": "declared feed latency", "feed_latency_ns": 5 * MS}
    ]


def test_a_receipt_column_is_taken_as_it_is(tmp_path: Path) -> None:
    text = "time,receipt,price,quantity,buyer_is_maker\n1700000000000,1700000000007,100,2,true\n"
    form = layout("", feed_latency_ns=None)
    ingest_delimited([write(tmp_path, text)], "trades", form, target(tmp_path))
    (row,) = rows(tmp_path, "trades")
    assert row["receipt_time"] - row["event_time"] == 7 * MS
    assert row["aggressor"] == -1


def test_a_sequence_orders_rows_of_any_order(tmp_path: Path) -> None:
    text = "time,sequence,price,quantity,aggressor\n"
    text += "".join(f"{1700000000000 + n // 3},{n},{100 + n},1,b\n" for n in (5, 3, 4, 0, 1, 2))
    ingest_delimited([write(tmp_path, text)], "trades", layout(""), target(tmp_path))
    assert [row["price"] for row in rows(tmp_path, "trades")] == [100.0 + n for n in range(6)]


def test_a_parquet_file_with_typed_columns_is_read(tmp_path: Path) -> None:
    stamps = [datetime(2024, 8, 8, 12, 0, second, tzinfo=UTC) for second in (0, 1)]
    frame = pl.DataFrame(
        {"t": stamps, "bid_price": [100, 101], "bid_quantity": [1.0, 2.0],
         "ask_price": [100.5, 101.5], "ask_quantity": [3, 4]}
    )  # fmt: skip
    frame.write_parquet(tmp_path / "f.parquet")
    form = layout("time=t", unit=None)
    ingest_delimited([tmp_path / "f.parquet"], "quotes", form, target(tmp_path))
    assert [row["bid_price"] for row in rows(tmp_path, "quotes")] == [100.0, 101.0]
    naive = frame.with_columns(pl.col("t").dt.replace_time_zone(None))
    naive.write_parquet(tmp_path / "n.parquet")
    with pytest.raises(MarketDataError, match=r"n\.parquet: column `t` .*must say their time zone"):
        ingest_delimited([tmp_path / "n.parquet"], "quotes", form, target(tmp_path))


def test_files_without_a_line_of_names_and_with_another_delimiter_are_read(tmp_path: Path) -> None:
    text = "1700000000000;100;2;buy\n"
    form = layout(names=["ts", "px", "qty", "side"], delimiter=";")
    assert ingest_delimited(
        [write(tmp_path, text)], "trades", form, target(tmp_path)
    ).rows == {"trades": 1}  # fmt: skip


INSTANTS: list[tuple[str, Any, str | None, str]] = [
    ("1700000000", "s", None, "2023-11-14T22:13:20Z"),
    ("1700000000.123456789", "s", None, "2023-11-14T22:13:20.123456789Z"),
    ("1700000000.5", "s", None, "2023-11-14T22:13:20.5Z"),
    ("1700000000000.25", "ms", None, "2023-11-14T22:13:20.00025Z"),
    ("1700000000000001", "us", None, "2023-11-14T22:13:20.000001Z"),
    ("1700000000000000001", "ns", None, "2023-11-14T22:13:20.000000001Z"),
    ("2023-11-14T22:13:20Z", None, None, "2023-11-14T22:13:20Z"),
    ("2023-11-14 22:13:20.000000001+00:00", None, None, "2023-11-14T22:13:20.000000001Z"),
    ("2023-11-14T22:13:20.5-05:30", None, None, "2023-11-15T03:43:20.5Z"),
    ("2023-11-14T22:13:20+0100", None, "UTC", "2023-11-14T21:13:20Z"),
    ("2023-11-14 22:13:20", None, "UTC", "2023-11-14T22:13:20Z"),
    ("2023-07-14 22:13:20", None, "America/New_York", "2023-07-15T02:13:20Z"),
    ("2023-11-14", None, "UTC", "2023-11-14T00:00:00Z"),
]


@pytest.mark.parametrize(("text", "unit", "zone", "instant"), INSTANTS)
def test_an_instant_is_read_to_the_nanosecond(
    tmp_path: Path, text: str, unit: Any, zone: str | None, instant: str
) -> None:
    content = f"time,price,quantity,aggressor\n{text},100,1,buy\n"
    form = layout("", unit, zone)
    (tmp_path / "k").mkdir()
    ingest_delimited([write(tmp_path, content)], "trades", form, target(tmp_path))
    assert rows(tmp_path, "trades")[0]["event_time"] == parse_instant(instant)


def test_local_times_of_a_year_are_read_as_the_standard_library_has_them(tmp_path: Path) -> None:
    draw, zone = random.Random(1), ZoneInfo("Europe/Berlin")
    moments = sorted(draw.randrange(T0, T0 + 365 * 86400) for _ in range(300))
    local = [datetime.fromtimestamp(m, UTC).astimezone(zone).replace(tzinfo=None) for m in moments]
    # the hour that occurs twice is refused, and tested below
    kept = [(m, w) for m, w in zip(moments, local, strict=True) if w.month != 10 or w.day < 26]
    text = "time,price,quantity,aggressor\n" + "".join(f"{w},100,1,b\n" for _, w in kept)
    form = layout("", None, "Europe/Berlin")
    ingest_delimited([write(tmp_path, text)], "trades", form, target(tmp_path))
    assert [r["event_time"] // 10**9 for r in rows(tmp_path, "trades")] == [m for m, _ in kept]


BERLIN = {"unit": None, "zone": "Europe/Berlin"}


def one(stamp: str) -> str:
    return f"ts,px,qty,side\n{stamp},1,1,b\n"


CASES: list[tuple[str, Layout, str]] = [
    (TRADES, layout(feed_latency_ns=None), r"file\.csv: it must be known when each record reached "
     r"us: got neither.*--columns receipt_time=….*--feed-latency 20ms"),
    (TRADES, layout(COLUMNS + ",receipt=ts"), r"recorded or declared, not both: got column `ts`"),
    (TRADES, layout(unit=None), r"column `ts` holds instants as numbers.*got 1700000000000\. Give "
     r"`--time-unit`"),
    (TRADES, layout(unit="s"), r"line 2: `ts` must be between 1980 and 2200 in `--time-unit s`: "
     r"got 1700000000000\. 2 of 2 lines break this rule\. Give `--time-unit ms`"),
    (TRADES, layout(unit="ns"), r"in `--time-unit ns`: got 17.*Give `--time-unit ms`"),
    (one("2023-11-14T22:13:20"), layout(unit=None), r"must say their time zone: got "
     r"'2023-11-14T22:13:20'\. .*`--time-zone UTC`"),
    (one("yesterday"), layout(), r"line 2: `ts` must be a number of ms: got 'yesterday'"),
    (one("1700000000000.0000001"), layout(), r"line 2: `ts` must be a number of ms"),
    (one("2023-11-14"), layout(unit=None, zone="Mars/Base"), r"`--time-zone` must be a time zone "
     r"of the IANA list: got 'Mars/Base'"),
    (one("2023-10-29 02:30:00"), layout(**BERLIN), r"line 2: `ts` must be an instant that "
     r"`--time-zone Europe/Berlin` has once: got '2023-10-29 02:30:00'"),
    (one("2023-03-26 02:30:00"), layout(**BERLIN), r"has once: got '2023-03-26 02:30:00'"),
    (one("2023-02-30"), layout(**BERLIN), r"line 2: `ts` must be an instant: got '2023-02-30'"),
    (one(""), layout(**BERLIN), r"line 2: `ts` must be an instant: got nothing"),
    (TRADES.replace("1700000000001", "1699999999999"), layout(), r"line 3: the order of "
     r".* must be that of receipt: got .* after .*\. Sort the file, .* or map a `sequence`"),
    (TRADES, layout("time=ts,price=px,quantity=qty"), r"`aggressor` must have a column: got ts"),
    (TRADES, layout("time=ts,aggressor=side"), r"`price` must have a column: got ts, px, qty, side"
     r"\. Say which it is with `--columns price=…`"),
    (TRADES, layout("price=px"), r"`time` must have a column.*--columns time=…"),
    (TRADES, layout(COLUMNS.replace("px", "pc")), r"`--columns price=pc` must name a column of the "
     r"file: got none of that name\. Did you mean 'px'"),
    (TRADES, layout(COLUMNS + ",prize=px"), r"no field 'prize'\. Did you mean 'price'"),
    (TRADES.replace("buy", "up"), layout(), r"line 2: `side` must be `buy` or `sell`: got 'up'"),
    (TRADES.replace("100.5", "1e400"), layout(), r"line 3: `price` must be a finite number"),
    (TRADES.replace("100.5", "1,5"), layout(), r"line 3: a line must have 4 values.*got 5"),
    ("ts,px,qty,side\n", layout(), r"it holds no trades"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "form", "message"), CASES)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    tmp_path: Path, text: str, form: Layout, message: str
) -> None:
    with pytest.raises(MarketDataError, match=message):
        ingest_delimited([write(tmp_path, text)], "trades", form, target(tmp_path))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pl.Series("ts", [1.7e9]),
            r"column `ts` must hold whole numbers, text or timestamps: got Flo",
        ),
        (pl.Series("ts", [True]), r"`ts` must be a number of ms: got True"),
        (pl.Series("ts", [None], pl.Int64), r"row 0: `ts` must be a number of ms: got nothing"),
        (pl.Series("px", [True]), r"column `px` must hold numbers: got Boolean"),
        (pl.Series("px", [None], pl.Float64), r"row 0: `px` must be a number: got nothing"),
    ],
)
def test_a_parquet_column_of_a_wrong_type_is_refused(
    tmp_path: Path, column: pl.Series, message: str
) -> None:
    frame = pl.DataFrame({"ts": [1700000000000], "px": [100.0], "qty": [1], "side": ["buy"]})
    frame.with_columns(column).write_parquet(tmp_path / "f.parquet")
    with pytest.raises(MarketDataError, match=message):
        ingest_delimited([tmp_path / "f.parquet"], "trades", layout(), target(tmp_path))


@pytest.mark.parametrize(
    "columns", ["time", "time=", "=ts", "time=a,time=b", "time=a,event_time=b"]
)
def test_a_mapping_that_is_none_is_refused(columns: str) -> None:
    with pytest.raises(MarketDataError, match="`--columns` must list each field once"):
        parse_columns(columns)


KINDS = """
kinds:
  signal:
    columns: {score: float64, horizon: int64}
  earnings:
    columns: {period: instant, value: float64}
    key: [period]
"""


def test_a_kind_of_the_user_is_declared_and_ingested(tmp_path: Path) -> None:
    kinds = read_kinds(write(tmp_path, KINDS, "kinds.yaml"))
    text = "time,receipt,score,horizon\n" + "".join(
        f"{1700000000000 + n},{1700000000000 + n + 3},{n / 8},{n}\n" for n in range(4)
    )
    form = layout("", feed_latency_ns=None)
    ingest_delimited([write(tmp_path, text)], "signal", form, target(tmp_path, kinds=kinds))
    assert [r["score"] for r in rows(tmp_path, "signal")] == [0.0, 0.125, 0.25, 0.375]
    # the catalog now knows the kinds: they need not be declared again
    later = text.replace("17000000000", "17000000001")
    ingest_delimited([write(tmp_path, later)], "signal", form, target(tmp_path))
    assert len(rows(tmp_path, "signal")) == 8


def test_a_fundamental_is_revised_by_a_later_receipt(tmp_path: Path) -> None:
    kinds = read_kinds(write(tmp_path, KINDS, "kinds.yaml"))
    text = (
        "published,known,period,value\n"
        "2024-05-02T20:30:00Z,2024-05-02T20:30:05Z,2024-03-31T00:00:00Z,1.52\n"
        "2024-08-01T20:30:00Z,2024-08-01T20:30:05Z,2024-06-30T00:00:00Z,1.40\n"
        "2024-05-02T20:30:00Z,2024-08-09T11:00:00Z,2024-03-31T00:00:00Z,1.50\n"
    )
    form = layout("time=published,receipt=known", None, feed_latency_ns=None)
    path = write(tmp_path, text)
    with pytest.raises(MarketDataError, match=r"line 4: .*at most 1m after.*--max-lateness"):
        ingest_delimited([path], "earnings", form, target(tmp_path, kinds=kinds))
    accepted = target(tmp_path, kinds=kinds, max_lateness_ns=100 * 86400 * 10**9)
    ingest_delimited([path], "earnings", form, accepted)
    assert [r["value"] for r in rows(tmp_path, "earnings")] == [1.52, 1.5, 1.4]
    twice = text + text.splitlines()[-1].replace("1.50", "1.49") + "\n"
    with pytest.raises(MarketDataError, match=r"line 5: `receipt_time` of a revision"):
        ingest_delimited(
            [write(tmp_path, twice)], "earnings", form, target(tmp_path, kinds=kinds,
            max_lateness_ns=accepted.max_lateness_ns, replace=True),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("signals", "Did you mean 'signal'"),
        ("bars", "lightcone data ingest bars"),
        ("x", "--kinds"),
    ],
)
def test_a_kind_that_is_not_known_is_refused(tmp_path: Path, kind: str, message: str) -> None:
    kinds = read_kinds(write(tmp_path, KINDS, "kinds.yaml"))
    with pytest.raises(InputError, match=message):
        ingest_delimited(
            [write(tmp_path, TRADES)], kind, layout(), target(tmp_path, kinds=kinds)
        )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_does_not_depend_on_how_the_file_is_cut(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    receipt, lines = 1700000000000, []
    for n in range(200):
        receipt += draw.choice([0, 0, 1, 5])
        lines.append(f"{receipt - draw.randint(0, 8)},{receipt},{100 + n % 9},1,b")
    text = "time,receipt,price,quantity,aggressor\n" + "\n".join(lines) + "\n"
    path, form = write(tmp_path, text), layout("", feed_latency_ns=None)
    ingest_delimited([path], "trades", form, target(tmp_path, max_lateness_ns=8 * MS))
    whole = rows(tmp_path, "trades")
    monkeypatch.setattr(files, "_BLOCK", 500)
    monkeypatch.setattr(pipeline, "_FLUSH", 11)
    again = target(tmp_path, max_lateness_ns=8 * MS, replace=True)
    ingest_delimited([path], "trades", form, again)
    assert rows(tmp_path, "trades") == whole
    assert len(Catalog(tmp_path / "c").parts("MY.BTCUSDT", "trades")) > 3
