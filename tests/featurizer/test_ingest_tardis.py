"""Tardis files: against a plain reading with `csv`, and every refusal."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest

from featurizer.catalog import Catalog
from featurizer.errors import CatalogError, MarketDataError
from featurizer.ingest import files, pipeline
from featurizer.ingest.pipeline import Target
from featurizer.ingest.tardis import ingest_tardis
from tests.featurizer.ingest_examples import ID, rows, target, write
from tests.real_data import capture_path

T0 = 1_583_020_803_000_000
HEADS = {
    "trades": "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
    "quotes": "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
    "book": "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
    "snapshot": "exchange,symbol,timestamp,local_timestamp,asks[0].price,asks[0].amount,"
    "bids[0].price,bids[0].amount,asks[1].price,asks[1].amount,bids[1].price,bids[1].amount",
}


def lines(kind: str, *entries: str) -> str:
    """Return a file; an entry is `event,receipt,…` in µs after the first second."""
    body = []
    for entry in entries:
        event, receipt, rest = entry.split(",", 2)
        stamps = f"{T0 + int(event)},{T0 + int(receipt)}"
        body.append(f"ex,BTCUSDT,{stamps},{rest}")
    return "\n".join([HEADS[kind], *body]) + "\n"


def test_trades_are_read_as_the_file_has_them(tmp_path: Path) -> None:
    text = lines("trades", "10,30,a,sell,100.5,2", "5,31,b,buy,101,3", "10,31,c,buy,101.5,1")
    report = ingest_tardis([write(tmp_path, text)], "trades", target(tmp_path))
    assert report.rows == {"trades": 3}
    found = [
        ((r["event_time"] // 1000) - T0, (r["receipt_time"] // 1000) - T0, r["sequence"],
         r["price"], r["quantity"], r["aggressor"])
        for r in rows(tmp_path, "trades")
    ]  # fmt: skip
    assert found == [
        (5, 31, 1, 101.0, 3.0, 1),
        (10, 30, 0, 100.5, 2.0, -1),
        (10, 31, 2, 101.5, 1.0, 1),
    ]


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "f.zip"])
def test_a_file_may_be_packed(tmp_path: Path, name: str) -> None:
    text = lines("quotes", "10,30,3,101,100.5,2")
    ingest_tardis([write(tmp_path, text, name)], "quotes", target(tmp_path))
    (row,) = rows(tmp_path, "quotes")
    assert list(row.values())[2:] == [0, 100.5, 2.0, 101.0, 3.0]


def test_rows_of_a_message_share_the_sequence_of_the_first(tmp_path: Path) -> None:
    text = lines(
        "book",
        "1,5,true,ask,101,3", "1,5,true,bid,100,2",
        "1,5,false,bid,100,1",
        "1,6,false,bid,99,1", "1,6,false,ask,102,1", "1,6,false,bid,99,0",
        "2,7,false,ask,102,0",
    )  # fmt: skip
    ingest_tardis([write(tmp_path, text)], "book", target(tmp_path))
    found = [
        (r["sequence"], r["is_snapshot"], r["side"], r["price"], r["quantity"])
        for r in rows(tmp_path, "depth")
    ]
    assert found == [
        (0, 1, 1, 100.0, 2.0), (0, 1, -1, 101.0, 3.0), (2, 0, 1, 100.0, 1.0),
        (3, 0, 1, 99.0, 1.0), (3, 0, -1, 102.0, 1.0),
        # a level that comes again with the same stamps is of another message
        (5, 0, 1, 99.0, 0.0), (6, 0, -1, 102.0, 0.0),
    ]  # fmt: skip


def test_a_row_of_a_book_snapshot_becomes_a_snapshot_of_its_levels(tmp_path: Path) -> None:
    text = lines("snapshot", "1,5,101,3,100,2,102,4,99,1", "3,5,101,3,100,2,,,,")
    ingest_tardis([write(tmp_path, text)], "book", target(tmp_path))
    found = [
        (r["sequence"], r["is_snapshot"], r["side"], r["price"], r["quantity"])
        for r in rows(tmp_path, "depth")
    ]
    assert found == [
        (0, 1, 1, 99.0, 1.0), (0, 1, 1, 100.0, 2.0), (0, 1, -1, 101.0, 3.0),
        (0, 1, -1, 102.0, 4.0), (1, 1, 1, 100.0, 2.0), (1, 1, -1, 101.0, 3.0),
    ]  # fmt: skip


def random_book(seed: int, messages: int) -> str:
    """Return a book file of random messages, levels repeated within some of them."""
    draw = random.Random(seed)
    entries, event, receipt = [], 0, 100
    for _ in range(messages):
        event += draw.choice([0, 1, 1000])
        receipt = max(receipt + draw.choice([0, 0, 3]), event)
        flag = draw.choice(["true", "false", "false"])
        for _ in range(draw.randint(1, 4)):
            side, price = draw.choice(["bid", "ask"]), 100 + draw.randint(0, 3) / 2
            entries.append(f"{event},{receipt},{flag},{side},{price},{draw.randint(0, 5)}")
    return lines("book", *entries)


def plain_book(text: str) -> list[tuple[Any, ...]]:
    """Read a book file row by row."""
    found, sequence, stamps, levels = [], 0, None, set()
    for number, row in enumerate(csv.DictReader(io.StringIO(text))):
        own = (row["timestamp"], row["local_timestamp"], row["is_snapshot"])
        level = (row["side"], row["price"])
        if own != stamps or level in levels:
            sequence, stamps, levels = number, own, set()
        levels.add(level)
        event, receipt = (int(row[name]) * 1000 for name in ("timestamp", "local_timestamp"))
        side = 1 if row["side"] == "bid" else -1
        values = (side, float(row["price"]), float(row["amount"]))
        found.append((event, receipt, sequence, *values, int(row["is_snapshot"] == "true")))
    return sorted(found, key=lambda r: (r[0], r[2], r[6], -r[3], r[4]))


@pytest.mark.parametrize("seed", range(6))
def test_a_book_is_read_as_row_by_row_however_the_file_is_cut(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_BLOCK", 400)
    monkeypatch.setattr(pipeline, "_FLUSH", 7)
    text = random_book(seed, 60)
    accepted = target(tmp_path, max_lateness_ns=2_000_000)
    ingest_tardis([write(tmp_path, text)], "book", accepted)
    assert [tuple(r.values()) for r in rows(tmp_path, "depth")] == plain_book(text)


@pytest.mark.parametrize("flush", [1, 3, 100])
def test_days_that_overlap_at_midnight_are_joined_when_they_are_given_together(
    tmp_path: Path, flush: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_FLUSH", flush)
    first = lines("trades", *(f"{n},{n + 9},x,buy,100,1" for n in range(0, 50, 2)))
    second = lines("trades", *(f"{n},{n + 60},x,sell,100,1" for n in range(3, 90, 2)))
    paths = [write(tmp_path, first, "a.csv"), write(tmp_path, second, "b.csv")]
    accepted = target(tmp_path, max_lateness_ns=70_000)
    report = ingest_tardis(paths, "trades", accepted)
    assert report.rows == {"trades": 69}
    assert report.source.endswith("a.csv and 1 more")
    found = [(r["event_time"] // 1000 - T0, r["aggressor"]) for r in rows(tmp_path, "trades")]
    assert found == sorted([(n, 1) for n in range(0, 50, 2)] + [(n, -1) for n in range(3, 90, 2)])
    # apart they lie among each other, which is refused and says so
    with pytest.raises(CatalogError, match=r"b\.csv: records must not lie among"):
        ingest_tardis(paths[1:], "trades", accepted)


def test_records_outside_a_range_are_left_out_and_counted(tmp_path: Path) -> None:
    text = lines("trades", *(f"{n},{n},x,buy,100,1" for n in range(6)))
    bounds = {"start": (T0 + 2) * 1000, "until": (T0 + 4) * 1000}
    report = ingest_tardis([write(tmp_path, text)], "trades", target(tmp_path, **bounds))
    assert report.rows == {"trades": 2}
    assert "Left out 4 records" in report.remarks[0]
    late = {"start": (T0 + 99) * 1000}
    with pytest.raises(MarketDataError, match=r"must be left between.*got none of 6"):
        ingest_tardis([write(tmp_path, text)], "trades", target(tmp_path / "..", **late))


def test_a_book_that_begins_badly_is_taken_from_a_later_start(tmp_path: Path) -> None:
    text = lines("book", "9,9,true,bid,99,1", "1,10,true,bid,100,2", "20,21,false,bid,100,1")
    with pytest.raises(MarketDataError, match=r"line 3: `timestamp` must not go back .*`--start`"):
        ingest_tardis([write(tmp_path, text)], "book", target(tmp_path))
    later = target(tmp_path, start=(T0 + 10) * 1000)
    assert ingest_tardis([write(tmp_path, text)], "book", later).rows == {"depth": 1}


def test_one_of_several_symbols_is_taken_when_it_is_named(tmp_path: Path) -> None:
    text = lines("trades", "1,1,a,buy,100,1", "2,2,b,buy,100,1").replace("BTCUSDT", "ETHUSDT", 1)
    path = write(tmp_path, text)
    with pytest.raises(MarketDataError, match=r"line 2: `symbol` must be part of the name"):
        ingest_tardis([path], "trades", target(tmp_path))
    report = ingest_tardis([path], "trades", target(tmp_path), symbol="BTCUSDT")
    assert report.rows == {"trades": 1}


GOOD = "1,5,a,buy,100,1"
TRADES: Any = "trades"


def trades(*entries: str) -> str:
    return lines("trades", *entries)


CASES: list[tuple[str, str, str]] = [
    (TRADES, trades(GOOD, "2,4,a,buy,100,1"), r"file.csv line 3: the order of the file.*"
     r"got 2020-03-01T00:00:03.000004Z after 2020-03-01T00:00:03.000005Z\. Sort the file"),
    (TRADES, trades(GOOD, "9,8,a,buy,100,1"), r"line 3: `receipt_time` must not be"),
    (TRADES, trades("1,60000002,a,buy,100,1"), r"line 2: .*at most 1m after.*--max-lateness"),
    (TRADES, trades("1,5,a,unknown,100,1"), r"line 2: `side` must be `buy` or `sell`: got "
     r"'unknown'\. Remove"),
    (TRADES, trades(GOOD, "2,6,a,buy,x,1"), r"line 3: `price` must be a number: got 'x'"),
    (TRADES, trades(GOOD, "2,6,a,buy,,1"), r"line 3: `price` must be a number: got nothing"),
    (TRADES, trades(GOOD, "2,6,a,buy,nan,1"), r"line 3: `price` must be a finite"),
    (TRADES, trades(GOOD, "2,6,a,buy,100.3,1"), r"line 3: .*of the tick size 0.5: got 100.3"),
    (TRADES, trades(GOOD, "2,6,a,buy,-1,1"), r"line 3: `price` must be positive: got -1.0"),
    (TRADES, trades(GOOD, "2,6,a,buy,100,0"), r"line 3: `quantity` must be positive"),
    (TRADES, trades(GOOD).replace(f"{T0 + 1}", "1583020803"), r"line 2: `timestamp` must be "
     r"between 1980 and 2200 in `--time-unit us`: got 1583020803\. Give `--time-unit s`"),
    (TRADES, trades(GOOD).replace(f"{T0 + 1}", "soon"), r"line 2: `timestamp` must be a "
     r"number of us: got 'soon'"),
    (TRADES, trades(GOOD, GOOD + ",7"), r"line 3: a line must have 8 values.*got 9"),
    (TRADES, trades(GOOD) + "\n" + trades(GOOD), r"line 3: `symbol` .*got ''"),
    (TRADES, trades(GOOD, GOOD).replace("BTCUSDT", "ETH", 2).replace("ETH", "BTCUSDT", 1),
     r"line 3: `symbol` must be one in a file: got 'ETH' after 'BTCUSDT'.*--symbol BTCUSDT"),
    (TRADES, lines("quotes", "1,2,1,101,100,1"), r"trades must have a column `side`: got ex"),
    ("quotes", lines("quotes", "1,2,1,100,100,1"), r"line 2: `bid_price` must be below"),
    ("quotes", lines("quotes"), r"it holds no quotes"),
    ("book", lines("book", "1,2,maybe,bid,100,1"), r"`is_snapshot` must be `true` or `false`"),
    ("book", lines("book", "1,2,true,bid,100,-1"), r"line 2: `quantity` must not be negative"),
    (TRADES, "", r"a table must hold rows: got an empty first line"),
    (TRADES, trades(GOOD).replace("id,", "price,", 1), r"columns must differ: got `price` twice"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "message"), CASES)
def test_what_is_wrong_in_a_file_is_refused_and_nothing_is_written(
    tmp_path: Path, kind: Any, text: str, message: str
) -> None:
    with pytest.raises(MarketDataError, match=message) as caught:
        ingest_tardis([write(tmp_path, text)], kind, target(tmp_path))
    assert "file.csv" in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_a_refused_file_leaves_the_catalog_as_it_was(tmp_path: Path) -> None:
    good = write(tmp_path, lines("trades", GOOD), "good.csv")
    bad = write(tmp_path, lines("trades", "1000,1000,a,buy,100,1", "2000,1,a,buy,1,1"), "bad.csv")
    ingest_tardis([good], "trades", target(tmp_path))
    before = sorted(p.name for p in tmp_path.rglob("*"))
    for paths in ([bad], [good, bad]):
        with pytest.raises(MarketDataError, match=r"bad\.csv line 3"):
            ingest_tardis(paths, "trades", target(tmp_path, replace=True))
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("cut", [20, 200])
def test_a_gzip_file_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    text = lines("trades", *(f"{n},{n},{n * 7919 % 1000},buy,100,1" for n in range(2000)))
    whole = write(tmp_path, text, "f.csv.gz").read_bytes()
    (tmp_path / "f.csv.gz").write_bytes(whole[:-cut])
    with pytest.raises(MarketDataError, match=r"f\.csv\.gz: the file must be whole"):
        ingest_tardis([tmp_path / "f.csv.gz"], "trades", target(tmp_path))


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(256)) * 9)
    for path in (tmp_path / "x", tmp_path / "none", tmp_path):
        with pytest.raises(MarketDataError, match=f"{path}: "):
            ingest_tardis([path], "trades", target(tmp_path))


def test_an_instrument_that_nobody_defined_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, lines("trades", GOOD))
    with pytest.raises(CatalogError, match="--instruments FILE"):
        ingest_tardis([path], "trades", Target(ID, tmp_path / "c"))


TERMS = "contract: inverse, base: BTC, quote: USD, fees: {maker: 0, taker: 0}}"
REAL = "instruments:\n" + "".join(
    f"- {{id: {name}, tick_size: {tick}, lot_size: {lot}, {TERMS}\n"
    for name, tick, lot in (
        ("BITMEX.XBTUSD", 0.5, 1), ("DERIBIT.BTC-PERPETUAL", 0.5, 10), ("HUOBI.BTC-USD", 0.1, 1),
    )
)  # fmt: skip


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "kind", "instrument", "stream"),
    [
        ("tardis-bitmex_trades_XBTUSD.csv", "trades", "BITMEX.XBTUSD", "trades"),
        ("tardis-deribit_incremental_book_L2_BTC-PERPETUAL.csv", "book",
         "DERIBIT.BTC-PERPETUAL", "depth"),
        ("tardis-huobi-dm-swap_quotes_BTC-USD.csv", "quotes", "HUOBI.BTC-USD", "quotes"),
    ],
)  # fmt: skip
def test_the_real_samples_are_read_whole(
    tmp_path: Path, name: str, kind: Any, instrument: str, stream: str
) -> None:
    path = capture_path(name)
    (tmp_path / "i.yaml").write_text(REAL)
    ingest_tardis([path], kind, Target(instrument, tmp_path / "c", tmp_path / "i.yaml"))
    with path.open() as file:
        expected = list(csv.DictReader(file))
    (summary,) = Catalog(tmp_path / "c").describe()
    assert (summary.kind, summary.rows) == (stream, len(expected))
    late = [int(r["local_timestamp"]) - int(r["timestamp"]) for r in expected]
    assert summary.latency_ns["max"] == max(late) * 1000
