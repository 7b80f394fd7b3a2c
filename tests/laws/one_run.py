"""One fixed run in a process of its own, for law 5: `python -m tests.laws.one_run CATALOG MODEL`.

Prints the digest of the trace. The market is written by the first process only, the model is a real
one, and every plane has something to draw.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from backtester.run import Run
from backtester.scenario import Scenario
from backtester.sources import MarketSource
from backtester.strategies import MLStrategy
from featurizer.catalog import Catalog
from featurizer.synthetic import SyntheticMarket
from inference.predictors.base import load_predictor

NAMES = ("SIM.ALPHA", "SIM.BETA")
COLUMNS = ("imbalance", "flow", "imbalance_beta", "smooth")
MARKET = SyntheticMarket.model_validate(
    {
        "instruments": NAMES,
        "duration": "24s",
        "quote_interval": "10ms",
        "resolution": "1ms",
        "feed_latency": "1ms",  # so that ties reach us as ties
    }
)


class Trader(MLStrategy):
    """Trades on predictions, and on every 40th quote: which one that is depends on ties."""

    count = 0

    def on_quote(self, ctx: Any, quote: Any) -> None:
        """Count quotes of both instruments."""
        self.count += 1
        if self.count % 40 == 0:
            (ctx.buy if self.count % 80 else ctx.sell)(quote.instrument, 1.0)


def scenario(catalog: Path) -> Scenario:
    """Return the scenario of the run on a catalog."""
    features: list[tuple[str, str, dict[str, Any]]] = [
        ("price.MidPrice", "mid", {}),
        ("book.Imbalance", "imbalance", {}),
        ("flow.TradeVolumeImbalance", "flow", {"window": "500ms"}),
        ("book.Imbalance", "imbalance_beta", {"instrument": NAMES[1]}),
        ("smoothing.Ema", "smooth", {"half_life": "200ms", "feature": "imbalance"}),
    ]
    slow = {"kind": "lognormal", "median": "8ms", "p99": "60ms"}
    return Scenario.model_validate(
        {
            "name": "determinism",
            "seed": 11,
            "data": {
                "catalog": str(catalog),
                "instruments": NAMES,
                "start": MARKET.start,
                "until": MARKET.start + MARKET.duration,
            },
            "featurizer": {
                "sampling": "10ms",
                "compute_latency": "1ms",
                "feature_configs": [
                    {"feature_definition": path, "name": name, "params": params}
                    for path, name, params in features
                ],
            },
            "inference_config": {
                "model_uri": "models:/law/1",
                "features": COLUMNS,
                "num_replicas": 2,
                "service_time": slow,
                "network": {"out": {"kind": "gamma", "mean": "1ms", "shape": 2}, "back": "1ms"},
            },
            "strategy": {"class": "backtester.strategies.MLStrategy"},
            "execution": {"entry_latency": slow, "response_latency": slow},
            "portfolio": {"quote": "USD", "balances": {"USD": 100000}},
        }
    )


def run_once(catalog: Path, model: Path, *, mode: Any = "ahead", rows: int = 8192) -> Any:
    """Return the result of the run; *model* is a folder or file of an XGBoost model."""
    predictor = load_predictor("XGBoostPredictor", model)
    strategy = Trader(0.005, 0.005, 1.0)
    run = Run(scenario(catalog), strategy, Catalog(catalog), {"main": predictor}, mode=mode)
    return run.execute(rows)


def plant_ties_by_hash() -> None:
    """Break ties between streams by the hash of their names: the defect that this law is for."""
    real = MarketSource.__init__

    def init(self: MarketSource, kind: Any, instrument: Any, fields: Any) -> None:
        real(self, kind, instrument, fields)
        self.key = (hash(instrument[0]) % 1000, self.key[1])

    MarketSource.__init__ = init  # type: ignore[method-assign]


def main() -> None:
    """Run once as the arguments say, and print digest and counts."""
    catalog, model, mode, rows = sys.argv[1:5]
    if "--ties-by-hash" in sys.argv:
        plant_ties_by_hash()
    result = run_once(Path(catalog), Path(model), mode=mode, rows=int(rows))
    counts = {name: result.summary[name] for name in ("fills", "orders", "feature_rows")}
    answers = result.summary["predictions"]["completed"]
    seed = os.environ.get("PYTHONHASHSEED", "")
    text = {"digest": result.trace_digest, **counts, "answers": answers, "hash_seed": seed}
    print(json.dumps(text))


if __name__ == "__main__":
    main()
