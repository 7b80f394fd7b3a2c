"""Replay speed on the workloads that the README compares.

W1: on every quote an EWMA of the mid (alpha 0.01, first value the mid); every 1000th quote a market
order of 0.001, alternating, buy first; order latency 10 ms. W3: every 100 quotes eight features and
an XGBoost regressor (100 trees, depth 6), woken by predictions only; a market order when the sign
of the prediction changes.

Beside it, in the same process, a bare Python merge of the two timelines: two cursors over lists, a
heap for orders, one method call a quote. Ratios to it carry over between machines; seconds do not.

    python benchmarks/replay.py --work w1 --quotes 2000000 --json
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from heapq import heappop, heappush
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from featurizer.catalog import Catalog
from featurizer.market import StreamRequest
from featurizer.synthetic import SyntheticMarket, synthetic_instruments, synthetic_records

INSTRUMENT = "SIM.ALPHA"
START = 1_704_067_200_000_000_000
MILLISECOND = 1_000_000


class EveryQuote(Strategy):
    """W1: an EWMA on every quote, an order on every thousandth."""

    quote_fields = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")

    def __init__(self) -> None:
        self.ewma = float("nan")
        self.count = 0

    def on_quote(self, ctx: Any, quote: Any) -> None:
        mid = (quote.bid_price + quote.ask_price) * 0.5
        if self.count:
            self.ewma += 0.01 * (mid - self.ewma)
        else:
            self.ewma = mid
        self.count += 1
        if not self.count % 1000:
            send = ctx.buy if self.count // 1000 % 2 else ctx.sell
            send(quote.instrument, 0.001)


class SignChange(Strategy):
    """W3: woken by predictions, an order when the sign changes."""

    def __init__(self) -> None:
        self.sign = 0

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        sign = 1 if prediction.value > 0 else -1
        if sign != self.sign:
            self.sign = sign
            send = ctx.buy if sign > 0 else ctx.sell
            send(prediction.instrument, 0.001)


class BareEwma:
    """What the bare merge calls on every quote."""

    def __init__(self) -> None:
        self.ewma = float("nan")
        self.count = 0

    def on_quote(self, bid: float, ask: float) -> bool:
        mid = (bid + ask) * 0.5
        if self.count:
            self.ewma += 0.01 * (mid - self.ewma)
        else:
            self.ewma = mid
        self.count += 1
        return not self.count % 1000


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        catalog = make_catalog_elsewhere(Path(folder) / "catalog", arguments.quotes)
        predictors = {"main": make_predictor(catalog, Path(folder))} if is_w3(arguments) else {}
        warm_up(Path(folder), arguments.work, predictors)
        runs = [measure(catalog, arguments.work, predictors)]
        peak = peak_mb()
        quotes = load_quotes(catalog)
        gc.freeze()  # eight million numbers that the collector need not look at in every run
        runs[0]["merge_s"] = bare_merge(*quotes)
        # in turn, so that both feel the same when the machine's speed drifts
        for _ in range(arguments.repeat - 1):
            runs.append(measure(catalog, arguments.work, predictors))
            runs[-1]["merge_s"] = bare_merge(*quotes)
    best = sorted(runs, key=lambda run: run["whole_s"] / run["merge_s"])[len(runs) // 2]
    report = {
        "work": arguments.work,
        "quotes": arguments.quotes,
        **best,
        "quotes_per_s": round(arguments.quotes / best["engine_s"]),
        "peak_mb": round(peak, 1),
        "engine_to_merge": ratio(runs, "engine_s"),
        "whole_to_merge": ratio(runs, "whole_s"),
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:>16}  {value}")


def measure(catalog: Catalog, work: str, predictors: dict[str, Any]) -> dict[str, Any]:
    """Run once from the opened catalog to the result; return seconds and answers."""
    strategy = EveryQuote() if work == "w1" else SignChange()
    start = perf_counter()
    run = Run(scenario_of(catalog, work), strategy, catalog, predictors)
    spent = time_calls(run.engine, "run_window")
    result = run.execute()
    whole = perf_counter() - start
    return {
        "engine_s": round(spent[0], 4),
        "whole_s": round(whole, 4),
        "predictions": result.summary["predictions"]["completed"],
        "orders": result.summary["orders"],
        "fills": result.summary["fills"],
    }


def time_calls(owner: Any, name: str) -> list[float]:
    """Add up the time spent in a method."""
    method: Callable[..., Any] = getattr(owner, name)
    spent = [0.0]

    def timed(*arguments: Any) -> Any:
        start = perf_counter()
        try:
            return method(*arguments)
        finally:
            spent[0] += perf_counter() - start

    setattr(owner, name, timed)
    return spent


def bare_merge(event: list[int], receipt: list[int], bid: list[float], ask: list[float]) -> float:
    """Merge the venue's timeline and ours in plain Python; return the seconds it took."""
    event, receipt = [*event, 2**63], [*receipt, 2**63]
    strategy = BareEwma()
    orders: list[tuple[int, int]] = []
    venue = ours = fills = 0
    count = len(bid)
    start = perf_counter()
    on_quote = strategy.on_quote
    while ours < count:
        happened, received = event[venue], receipt[ours]
        if orders and orders[0][0] < happened and orders[0][0] < received:
            heappop(orders)
            fills += 1
        elif happened <= received:
            venue += 1
        else:
            if on_quote(bid[ours], ask[ours]):
                heappush(orders, (received + 10 * MILLISECOND, ours))
            ours += 1
    return round(perf_counter() - start, 4)


def scenario_of(catalog: Catalog, work: str) -> Scenario:
    first, last = catalog.range([(INSTRUMENT, "quotes")])
    content: dict[str, Any] = {
        "name": work,
        "seed": 1,
        "data": {
            "catalog": str(catalog.root),
            "instruments": [INSTRUMENT],
            "start": first,
            # late enough that the last quote is received too
            "until": last + 100 * MILLISECOND,
        },
        "strategy": {"class": "benchmarks.replay.EveryQuote"},
        "execution": {"entry_latency": "10ms"},
        "portfolio": {"quote": "USD", "balances": {"USD": 1_000_000}},
        "report": {"bootstrap": 100},
    }
    if work == "w3":
        content["featurizer"] = FEATURES
        content["inference_config"] = {
            "model_uri": "benchmark",
            "num_replicas": 2,
            "polling": "on_feature",
            "max_in_flight": 64,
            "service_time": "4ms",
        }
    return Scenario.model_validate(content)


FEATURES: dict[str, Any] = {
    "sampling": {"input": "quotes", "every": 100},
    "label_feature": "mid",
    "label_lookahead": "500ms",
    "feature_configs": [
        {"feature_definition": "price.MidPrice", "name": "mid"},
        {"feature_definition": "spread.RelativeSpread", "name": "spread"},
        {"feature_definition": "book.Imbalance", "name": "imbalance"},
        {
            "feature_definition": "smoothing.Ema",
            "name": "imbalance_smooth",
            "params": {"feature": "imbalance", "half_life": "200ms"},
        },
        {
            "feature_definition": "price.LogReturn",
            "name": "return_500ms",
            "params": {"window": "500ms"},
        },
        {
            "feature_definition": "price.LogReturn",
            "name": "return_5s",
            "params": {"window": "5s"},
        },
        {
            "feature_definition": "volatility.RealisedVolatility",
            "name": "volatility_5s",
            "params": {"window": "5s"},
        },
        {
            "feature_definition": "smoothing.Lag",
            "name": "imbalance_before",
            "params": {"feature": "imbalance", "lag": "1s"},
        },
    ],
}


def make_catalog(root: Path, quotes: int) -> Catalog:
    """Write exactly *quotes* quotes about 1 ms apart, received 1 to 5 ms later."""
    market = SyntheticMarket.model_validate(
        {
            "seed": 1,
            "start": START,
            "duration": f"{int(quotes * 1.05) + 1000}ms",
            "quote_interval": "1ms",
            "kinds": ["quotes"],
            "feed_latency": {"kind": "uniform", "low": "1ms", "high": "5ms"},
        }
    )
    columns = synthetic_records(market)[(INSTRUMENT, "quotes")]
    catalog = Catalog.create(root, synthetic_instruments(market))
    kept = {name: column[:quotes] for name, column in columns.items()}
    assert len(kept["event_time"]) == quotes
    catalog.write(INSTRUMENT, "quotes", kept)
    return Catalog(root)


def make_catalog_elsewhere(root: Path, quotes: int) -> Catalog:
    """Write the catalog in another process, so that making it does not count as memory of ours."""
    code = "import sys; from pathlib import Path; from benchmarks.replay import make_catalog; "
    code += "make_catalog(Path(sys.argv[1]), int(sys.argv[2]))"
    here = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(root), str(quotes)], cwd=here, check=True)
    return Catalog(root)


def peak_mb() -> float:
    """Return this process's largest resident size, in MB.

    Read from the kernel's own account: `ru_maxrss` would carry over that of the parent process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def load_quotes(catalog: Catalog) -> tuple[list[Any], ...]:
    """Return event times, receipt times, bids and asks of all quotes, as lists."""
    first, last = catalog.range([(INSTRUMENT, "quotes")])
    request = StreamRequest(INSTRUMENT, "quotes", ("bid_price", "ask_price"))
    parts = [
        window.venue[(INSTRUMENT, "quotes")]
        for window in catalog.windows([request], first, last + 1)
    ]
    names = ("event_time", "receipt_time", "bid_price", "ask_price")
    columns = [np.concatenate([part.columns[name] for part in parts]) for name in names]
    columns[1] = np.sort(columns[1])
    return tuple(column.tolist() for column in columns)


def make_predictor(catalog: Catalog, folder: Path) -> Any:
    """Return an XGBoost regressor of 100 trees of depth 6, fitted to the catalog's beginning."""
    import xgboost

    from featurizer.config import FeaturizerConfig
    from featurizer.dataset import FeatureLabelSet
    from inference.predictors.base import load_predictor

    config = FeaturizerConfig.model_validate(FEATURES)
    first, last = catalog.range([(INSTRUMENT, "quotes")])
    until = min(last, first + 300_000 * MILLISECOND)
    rows = FeatureLabelSet.build(catalog, config, [INSTRUMENT], first, until)
    arrays = rows.to_arrays()
    data = xgboost.DMatrix(arrays.features, arrays.labels, feature_names=list(rows.names))
    booster = xgboost.train({"max_depth": 6, "eta": 0.1, "nthread": 1}, data, 100)
    booster.save_model(folder / "model.ubj")
    return load_predictor("XGBoostPredictor", folder / "model.ubj")


def warm_up(folder: Path, work: str, predictors: dict[str, Any]) -> None:
    """Compile what the run needs on a small catalog."""
    measure(make_catalog(folder / "warm-up", 20_000), work, predictors)


def ratio(runs: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return least, median and largest ratio to the bare merge, run by run."""
    found = [run[name] / run["merge_s"] for run in runs]
    points = (min(found), statistics.median(found), max(found))
    return {k: round(v, 2) for k, v in zip(("min", "median", "max"), points, strict=True)}


def is_w3(arguments: argparse.Namespace) -> bool:
    return bool(arguments.work == "w3")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", choices=("w1", "w3"), required=True)
    parser.add_argument("--quotes", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
