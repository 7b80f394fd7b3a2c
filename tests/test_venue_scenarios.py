"""The real captures: a market maker in a real queue, and mean reversion on a month of bars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from backtester.cli import main
from backtester.result import RunResult
from backtester.run import run_scenario
from backtester.scenario import load_scenario
from featurizer.ingest.binance import ingest_binance_capture
from tests.real_data import capture_path

ROOT = Path(__file__).parents[1]
MAKER, BARS = "market-maker-btc.yaml", "bars-btc-1m.yaml"
NO_FEES = "execution.fees={kind: flat, maker: 0, taker: 0}"

pytestmark = [pytest.mark.slow, pytest.mark.real_data]


def run(name: str, *settings: str, window_rows: int = 32_768) -> RunResult:
    scenario = load_scenario(ROOT / "scenarios" / name, settings)
    return run_scenario(scenario, window_rows=window_rows)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The capture in the catalog of the working folder."""
    file = capture_path("binance-usdm-btcusdt-20240808.gz")
    folder = tmp_path_factory.mktemp("maker")
    catalog = folder / "data" / "btc"
    ingest_binance_capture(file, "BINANCE.BTCUSDT-PERP", catalog, clock_offset="auto")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The bars in the catalog of the working folder, by the command that the scenario names."""
    file = capture_path("btc-perp-1m-20211231-20220201.csv.gz")
    header = (ROOT / "scenarios" / BARS).read_text().split("\n# Then:")[0]
    told = header[header.index("lightcone data ingest") :].replace("\\\n#", "").split()
    assert told[:4] == ["lightcone", "data", "ingest", "bars"]
    told[4] = str(file)
    told = [str(ROOT / word) if word.startswith("scenarios/") else word for word in told]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("bars"))
        with pytest.raises(SystemExit) as ended:
            main(told[1:])
        assert ended.value.code == 0
        yield


def test_the_maker_is_filled_more_often_the_better_its_place_in_the_queue(capture: None) -> None:
    fills = {
        model: run(MAKER, f"execution.queue_model={model}").summary["fills"]
        for model in ("back", "front")
    }
    middle = run(MAKER)
    assert fills["back"] < middle.summary["fills"] < fills["front"]
    assert middle.summary["maker_share"] == 1.0
    assert middle.fills["position"].abs().max() <= 0.05
    # at least as good as it asked for: rounding apart, every fill is at a price it had named
    assert set(middle.reports["kind"]) >= {"accepted", "modified", "filled", "modify_rejected"}


def test_neither_windows_nor_their_number_change_what_the_maker_does(capture: None) -> None:
    short = "data.until=2024-08-08T23:55:30Z"
    results = [run(MAKER, short, window_rows=rows) for rows in (32_768, 1_000)]
    assert len(results[0].fills) > 50
    assert results[0].trace_digest == results[1].trace_digest


def test_wider_quotes_are_filled_less_and_lose_less(capture: None) -> None:
    near, far = run(MAKER), run(MAKER, "strategy.params.kappa=0.1")
    assert 0 < far.summary["fills"] < near.summary["fills"]
    assert near.summary["profit"] < far.summary["profit"] < 0


def test_on_bars_an_order_fills_at_the_open_of_a_bar_that_begins_after_it_arrived(
    bars: None,
) -> None:
    result = run(BARS)
    held = pl.scan_parquet("data/bars/bars/**/*.parquet").collect()
    joined = result.fills.join(
        result.orders.select("order", "arrived_at", "decided_at"), on="order"
    ).join(held, left_on="venue_time", right_on="event_time")
    assert len(joined) == len(result.fills) > 1000
    assert (joined["price"] == joined["open"]).all()
    assert (joined["open_time"] >= joined["arrived_at"]).all()
    waited = joined["open_time"] - joined["arrived_at"]
    assert waited.max() < pl.select(pl.duration(minutes=1)).item()


def test_reversion_is_there_and_fees_are_more(bars: None) -> None:
    gross, net = run(BARS, NO_FEES).summary, run(BARS).summary
    assert gross["sharpe"] > 5
    assert gross["profit"] > 0 > net["profit"]
    assert net["fees"] == pytest.approx(gross["profit"] - net["profit"])
