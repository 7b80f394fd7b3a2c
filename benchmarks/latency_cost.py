"""What latency costs a model: the information coefficient against the latency of its answers.

The same rows, the same predictions; only the instant at which an answer is known moves. The label's
quantity is measured from that instant on, so the curve shows what was left to predict. Bands are
95 % block-bootstrap intervals, and the drop from the first latency is bootstrapped pairwise.

    python benchmarks/latency_cost.py scenarios/btc-latency.yaml --picture docs/latency-cost.png
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from backtester.metrics import paired_drop
from backtester.run import run_scenario
from backtester.scenario import Scenario, load_scenario
from clock.units import parse_duration
from featurizer.dataset import label_change

LATENCIES = ("0ms", "5ms", "20ms", "50ms", "100ms", "200ms", "500ms", "1s")


def main() -> None:
    arguments = parse()
    points, frames = [], {}
    for latency in arguments.latencies:
        scenario = at_latency(arguments.scenario, latency)
        result = run_scenario(scenario, scenario_file=arguments.scenario)
        frames[latency] = realised(result.predictions, scenario)
        points.append(
            {
                "latency": latency,
                "latency_ms": parse_duration(latency) / 1e6,
                "predictions": result.summary["predictions"]["completed"],
                "information_coefficient": result.summary["information_coefficient"],
                "information_coefficient_ci": result.summary["information_coefficient_ci"],
                "drop": drop(frames[arguments.latencies[0]], frames[latency], scenario),
                "profit": result.summary["profit"],
            }
        )
    report = {"scenario": scenario.name, "points": points}
    if arguments.picture:
        draw(report, Path(arguments.picture))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    for point in points:
        low, high = point["information_coefficient_ci"]
        value = point["information_coefficient"]
        print(
            f"{point['latency']:>6}  {value:.3f}  [{low:.3f}, {high:.3f}]  "
            f"drop {point['drop']['value']:.3f} {point['drop']['ci']}"
        )


def at_latency(path: str, latency: str) -> Scenario:
    """Return a scenario whose answers all take the same time."""
    settings = [
        "inference_config.service_time=0ms",
        f"inference_config.latency={latency}",
        "inference_config.network={}",
        "inference_config.max_in_flight=1000",
    ]
    return load_scenario(path, settings)


def realised(predictions: pl.DataFrame, scenario: Scenario) -> pl.DataFrame:
    """Return the value of each row's prediction and what came true after it was visible."""
    config = scenario.featurizer
    assert config is not None
    change = label_change(
        config.label,
        predictions["label_before"].to_numpy(),
        predictions["label_after"].to_numpy(),
    )
    return predictions.select("emitted_at", "value").with_columns(realised=pl.Series(change))


def drop(first: pl.DataFrame, other: pl.DataFrame, scenario: Scenario) -> dict[str, Any]:
    """Return by how much the coefficient falls on the rows that both runs predicted."""
    config = scenario.featurizer
    assert config is not None
    both = first.join(other, on="emitted_at", suffix="_other").sort("emitted_at")
    # a request still in flight at the end has no value
    both = both.filter(pl.col("value").is_finite() & pl.col("value_other").is_finite())
    assert (both["value"] == both["value_other"]).all()
    value, interval = paired_drop(
        both["value"].to_numpy(),
        both["realised"].to_numpy(),
        both["realised_other"].to_numpy(),
        both["emitted_at"].to_physical().to_numpy(),
        config.label_lookahead or 0,
        resamples=4000,
        seed=scenario.seed,
    )
    rounded = None if interval is None else [round(bound, 4) for bound in interval]
    return {"value": value, "ci": rounded}


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw the curve with its band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from backtester.report.style import BLUE, GREY, INK, look, titled

    points = report["points"]
    latencies = np.array([point["latency_ms"] for point in points])
    values = np.array([point["information_coefficient"] for point in points])
    bands = np.array([point["information_coefficient_ci"] for point in points])
    with look():
        figure = Figure(figsize=(8.6, 4.1), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_xscale("symlog", linthresh=5, linscale=0.6)
        axes.fill_between(latencies, bands[:, 0], bands[:, 1], color=BLUE, alpha=0.15, lw=0)
        axes.plot(latencies, values, color=BLUE, lw=2, marker="o", ms=5)
        axes.axhline(0, color=INK, lw=0.8)
        axes.set_xticks(latencies, [point["latency"] for point in points])
        axes.minorticks_off()
        axes.set_xlim(0, latencies[-1] * 1.1)
        axes.set_xlabel("time from feature row to visible answer")
        axes.set_ylabel("information coefficient")
        titled(
            axes,
            "The same model, the same rows: only the answer's latency changes",
            f"{report['scenario']}, 95 % block bootstrap",
        )
        last = points[-1]["drop"]
        axes.text(
            0.99,
            0.96,
            f"drop from {points[0]['latency']} to {points[-1]['latency']}: {last['value']:.3f}, "
            f"paired interval {last['ci'][0]:.3f} to {last['ci'][1]:.3f}",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=8,
            color=GREY,
        )
        temporary = path.with_name(f".{path.name}.new")
        figure.savefig(temporary, dpi=120, format="png", facecolor="white")
        os.replace(temporary, path)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario")
    parser.add_argument("--latencies", nargs="+", default=list(LATENCIES))
    parser.add_argument("--picture", help="PNG file to draw the curve to.")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
