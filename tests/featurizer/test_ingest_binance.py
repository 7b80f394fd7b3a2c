from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurizer.catalog import Catalog
from featurizer.errors import CatalogError, MarketDataError
from featurizer.ingest.binance import IngestReport, ingest_binance_capture
from featurizer.market import KINDS, StreamRequest
from tests.real_data import capture_path

BTC = "BINANCE.BTCUSDT-PERP"
MS = 1_000_000
T0 = 1_723_161_256_000


def quote(u: int, t: int, bid: str = "100.0", ask: str = "100.1", **more: Any) -> dict[str, Any]:
    data = {"e": "bookTicker", "u": u, "s": "BTCUSDT", "b": bid, "B": "1.5", "a": ask, "A": "2"}
    return {"stream": "btcusdt@bookTicker", "data": data | {"T": T0 + t, "E": T0 + t} | more}


def trade(number: int, t: int, maker: bool = False, **more: Any) -> dict[str, Any]:
    data = {"e": "trade", "t": number, "s": "BTCUSDT", "p": "100.1", "q": "0.003", "m": maker}
    return {"stream": "btcusdt@trade", "data": data | {"T": T0 + t, "E": T0 + t} | more}


def update(u: int, previous: int, t: int, bids: Any = (), asks: Any = ()) -> dict[str, Any]:
    data = {"e": "depthUpdate", "U": u, "u": u, "pu": previous, "s": "BTCUSDT"}
    data |= {"T": T0 + t, "E": T0 + t, "b": list(bids), "a": list(asks)}
    return {"stream": "btcusdt@depth@0ms", "data": data}


def snapshot(u: int, t: int, bids: Any, asks: Any) -> dict[str, Any]:
    return {"lastUpdateId": u, "T": T0 + t, "E": T0 + t, "bids": bids, "asks": asks}


def capture(folder: Path, *lines: tuple[float, dict[str, Any]], name: str = "cap.gz") -> Path:
    """Write (local stamp in ms after T0, message) as a capture."""
    text = "".join(f"{T0 * MS + round(at * MS)} {json.dumps(m)}\n" for at, m in lines)
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


def rows(root: Path, kind: str) -> dict[str, list[Any]]:
    catalog = Catalog(root)
    key = (BTC, kind)
    windows = catalog.windows(
        [StreamRequest(*key, tuple(KINDS[kind].columns))], *catalog.range([key])
    )
    pieces = [window.venue[key].columns for window in windows]
    return {n: np.concatenate([p[n] for p in pieces]).tolist() for n in pieces[0]}


GOOD = (
    (3.5, quote(10, 1)),
    (4.0, trade(7, 2, maker=True)),
    (4.0, update(12, 11, 2, bids=[["99.9", "1"], ["100.0", "0.000"]], asks=[["100.2", "3"]])),
    (4.5, snapshot(11, 2, [["99.8", "4"]], [["100.3", "5"]])),
    (5.0, quote(14, 3, ask="100.2")),
    (6.0, trade(8, 3)),
)


@pytest.mark.parametrize("name", ["cap.gz", "cap.txt"])
def test_each_stream_becomes_a_kind_on_the_clock_of_the_matching_engine(
    tmp_path: Path, name: str
) -> None:
    report = ingest_binance_capture(capture(tmp_path, *GOOD, name=name), BTC, tmp_path / "c")
    assert report.rows == {"quotes": 2, "trades": 2, "depth": 5}
    quotes = rows(tmp_path / "c", "quotes")
    assert quotes["event_time"] == [(T0 + 1) * MS, (T0 + 3) * MS]
    assert quotes["receipt_time"] == [T0 * MS + 3_500_000, (T0 + 5) * MS]
    assert quotes["sequence"] == [10, 14]
    assert (quotes["bid_price"], quotes["ask_quantity"]) == ([100.0, 100.0], [2.0, 2.0])
    trades = rows(tmp_path / "c", "trades")
    assert (trades["sequence"], trades["aggressor"]) == ([7, 8], [-1, 1])
    depth = rows(tmp_path / "c", "depth")
    assert depth["sequence"] == [11, 11, 12, 12, 12]
    assert depth["is_snapshot"] == [1, 1, 0, 0, 0]
    assert depth["side"] == [1, -1, 1, 1, -1]
    assert depth["price"] == [99.8, 100.3, 99.9, 100.0, 100.2]
    assert depth["quantity"] == [4.0, 5.0, 1.0, 0.0, 3.0]


def refusal(tmp_path: Path, *lines: tuple[float, dict[str, Any]], **options: Any) -> str:
    with pytest.raises(MarketDataError) as caught:
        ingest_binance_capture(capture(tmp_path, *lines), BTC, tmp_path / "c", **options)
    assert not (tmp_path / "c").exists()
    return str(caught.value)


def test_receipts_before_their_events_are_refused_with_count_size_and_flag(tmp_path: Path) -> None:
    text = refusal(tmp_path, (1, quote(1, 3)), (4, quote(2, 4)), (4.5, trade(1, 5)))
    assert "cap.gz line 1: `receipt_time` must not be before `event_time`" in text
    assert "2 of 3 lines break this rule, by 1.25ms in the median and 2ms at most" in text
    assert "--clock-offset auto" in text
    text = refusal(tmp_path, (1, quote(1, 3)), clock_offset=MS)
    assert "--clock-offset 2ms" in text


def test_a_given_offset_is_added_and_recorded(tmp_path: Path) -> None:
    path = capture(tmp_path, (1, quote(1, 3)), (4, quote(2, 4)))
    report = ingest_binance_capture(path, BTC, tmp_path / "c", clock_offset=2 * MS)
    assert rows(tmp_path / "c", "quotes")["receipt_time"] == [(T0 + 3) * MS, (T0 + 6) * MS]
    assert "Moved every receipt by 2ms." in report.lines()
    (entry,) = Catalog(tmp_path / "c").describe()[0].calibration
    assert (entry["method"], entry["offsets_ns"]) == ("constant", [2 * MS])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([(1, quote(1, 0)), (0.5, quote(2, 0))], "line 2: the local stamp must not go back"),
        ([(5, quote(2, 0)), (6, quote(1, 0))], "line 2: `update id` must not go back"),
        ([(5, quote(1, 2)), (6, quote(2, 1))], "line 2: `T` must not go back"),
        ([(5, quote(1, 0)), (5, quote(1, 0))], "line 2: .*must not occur twice"),
        ([(5, trade(1, 0)), (6, trade(3, 0))], "line 2: `t` must follow.*3 after 1.*accept-gaps"),
        ([(5, update(2, 1, 0)), (6, update(9, 4, 0))], "line 2: `pu` must follow.*got 4 after 2"),
        ([(5, quote(1, 0, ask="99.9"))], "line 1: .*crossed book"),
        ([(5, quote(1, 0)), (6, quote(2, 1, bid="-5.0"))], "line 2: `bid_price` must be positive"),
        ([(5, quote(1, 0, B="nan"))], "line 1: `bid_quantity` must be a finite number"),
        ([(5, quote(1, 0, bid="99.95"))], "line 1: .*tick size 0.1"),
        ([(5, quote(1, 0, T=None))], "line 1: a line must be"),
        ([(5, {"stream": "x", "data": {"s": "BTCUSDT"}})], "no field 'T'"),
        ([(5, quote(1, 0, e="kline"))], "unknown event 'kline'"),
        ([(5, quote(1, 0, s="ETHUSDT"))], "one symbol .* got ETHUSDT"),
        ([(5, quote(1, 0)), (6, trade(1, 1, s="ETHUSDT"))], "got BTCUSDT, ETHUSDT"),
        ([(61_000, quote(1, 0))], "line 1: .*at most 1m after.*--max-lateness 61s"),
        ([(5, update(2, 1, 0))], "must hold quotes, trades or depth: got none"),
        ([], "got an empty file"),
    ],
)  # fmt: skip
def test_a_capture_that_breaks_a_rule_is_refused(tmp_path: Path, lines: Any, message: str) -> None:
    with pytest.raises(MarketDataError, match=message):
        ingest_binance_capture(capture(tmp_path, *lines), BTC, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_gaps_are_counted_when_they_are_accepted(tmp_path: Path) -> None:
    path = capture(tmp_path, (5, trade(1, 0)), (6, trade(3, 0)))
    report = ingest_binance_capture(path, BTC, tmp_path / "c", accept_gaps=True)
    assert report.gaps == 1


def test_a_capture_is_written_once_unless_it_replaces(tmp_path: Path) -> None:
    path = capture(tmp_path, *GOOD)
    ingest_binance_capture(path, BTC, tmp_path / "c")
    with pytest.raises(CatalogError, match="--replace"):
        ingest_binance_capture(path, BTC, tmp_path / "c")
    ingest_binance_capture(path, BTC, tmp_path / "c", replace=True)
    assert len(rows(tmp_path / "c", "quotes")["sequence"]) == 2


def test_a_file_that_is_missing_cut_short_or_no_capture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match="must exist"):
        ingest_binance_capture(tmp_path / "none.gz", BTC, tmp_path / "c")
    whole = capture(tmp_path, *GOOD).read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MarketDataError, match="gzip file must be whole"):
        ingest_binance_capture(tmp_path / "cut.gz", BTC, tmp_path / "c")
    (tmp_path / "x.csv").write_text("time,price\n1,2\n")
    with pytest.raises(MarketDataError, match=r"x.csv line 1: a line must be .*got 'time,price'"):
        ingest_binance_capture(tmp_path / "x.csv", BTC, tmp_path / "c")


def test_an_instrument_that_nobody_defined_needs_a_file(tmp_path: Path) -> None:
    path = capture(tmp_path, (5, quote(1, 0, bid="99.95")))
    with pytest.raises(CatalogError, match="--instruments FILE"):
        ingest_binance_capture(path, "MY.BTCUSDT", tmp_path / "c")
    (tmp_path / "mine.yaml").write_text(
        "instruments:\n- {id: MY.BTCUSDT, tick_size: 0.05, lot_size: 0.5, contract: linear, "
        "base: BTC, quote: USDT, fees: {maker: 0, taker: 0.0005}}\n"
    )
    report = ingest_binance_capture(
        path, "MY.BTCUSDT", tmp_path / "c", instruments_file=tmp_path / "mine.yaml"
    )
    assert report.rows == {"quotes": 1}


def test_progress_grows_to_the_size_of_the_file(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    lines = [(5 + n, quote(n + 1, n)) for n in range(5000)]
    path = capture(tmp_path, *lines)
    ingest_binance_capture(
        path, BTC, tmp_path / "c", progress=lambda done, total: calls.append((done, total))
    )
    assert len(calls) >= 2
    assert calls == sorted(calls)
    assert calls[-1] == (path.stat().st_size,) * 2


@pytest.fixture(scope="module")
def btc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IngestReport]:
    path = capture_path("binance-usdm-btcusdt-20240808.gz")
    root = tmp_path_factory.mktemp("btc")
    return root, ingest_binance_capture(path, BTC, root, clock_offset="auto")


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_capture_is_refused_without_an_offset(tmp_path: Path) -> None:
    path = capture_path("binance-usdm-btcusdt-20240808.gz")
    with pytest.raises(MarketDataError) as caught:
        ingest_binance_capture(path, BTC, tmp_path / "c")
    text = str(caught.value)
    assert "93953 of 93953 lines" in text
    assert "1.268977034s in the median and 1.272402468s at most" in text
    assert "--clock-offset auto" in text
    assert not (tmp_path / "c").exists()


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_capture_is_accepted_with_a_fitted_offset_that_is_told(
    btc: tuple[Path, IngestReport],
) -> None:
    root, report = btc
    assert report.rows == {"quotes": 66_089, "trades": 21_313, "depth": 445_521}
    fit = report.calibration
    assert fit is not None
    assert 1.2715e9 < fit.offsets_ns[0] < fit.offsets_ns[-1] < 1.2736e9
    assert 4 < fit.drift_ppm < 7
    assert any("1271.6 ms at the start to 1273.5 ms" in line for line in report.lines())
    for summary in Catalog(root).describe():
        assert summary.calibration[0]["offsets_ns"] == list(fit.offsets_ns)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_feed_latency_is_what_was_stated_above_its_minimum(
    btc: tuple[Path, IngestReport],
) -> None:
    root, _ = btc
    catalog = Catalog(root)
    late = []
    for kind in ("quotes", "trades", "depth"):
        start, until = catalog.range([(BTC, kind)])
        for window in catalog.windows([StreamRequest(BTC, kind)], start, until + 10**9):
            records = window.ours[BTC, kind]
            late.append(records.receipt_time - records.event_time)
            assert (np.diff(records.receipt_time) >= 0).all()
    lateness = np.concatenate(late)
    assert MS <= lateness.min() < 1.2 * MS
    p50, p95 = np.quantile(lateness, [0.5, 0.95]) / MS
    assert 3 < p50 < 6
    assert 18 < p95 < 25
