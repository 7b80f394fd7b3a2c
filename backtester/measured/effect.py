"""What an error of the simulated latency does to a strategy: orders matched, profit apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from backtester.run import run_scenario

if TYPE_CHECKING:
    from backtester.result import RunResult
    from backtester.scenario import Scenario
    from inference.measure.log import Log

__all__ = ["matched_orders", "strategy_effect"]

MOST_IN_FLIGHT = 100_000
"""No row may wait for a place: its latency was measured, waiting and all."""


def strategy_effect(
    scenario: Scenario,
    loop: str,
    recordings: dict[str, list[Log]],
    folder: Path,
    file: str = "SCENARIO.yaml",
) -> dict[str, Any]:
    """Run a scenario with the latencies of several recordings, and compare with the first.

    A recording is laid out over the run's range, again from its start where it ends; a row's
    latency is the recorded one at its instant, linear in between.

    Args:
        scenario: The scenario.
        loop: Whose latencies they are.
        recordings: By name, the logs of one load's parts; the first one is what was measured.
        folder: Where the recordings are written, as `interpolated` reads them.
        file: The scenario's file, for messages.

    Returns:
        Plain values: for each recording its run, and how it compares with the first.
    """
    results = {}
    for name, logs in recordings.items():
        path = folder / f"latency-{name.replace(' ', '-')}.parquet"
        write_recording(logs, scenario.data.start, scenario.data.until, path)
        results[name] = run_scenario(_with_latency(scenario, loop, path), scenario_file=file)
    names = list(results)
    base = results[names[0]]
    return {
        name: {
            "orders": result.summary["orders"],
            "profit": result.summary["profit"],
            "latency_p50_ms": result.summary["latency_ms"]["p50"],
            "latency_p99_ms": result.summary["latency_ms"]["p99"],
            "matched": None if name == names[0] else matched_orders(base, result, loop),
            "profit_difference": float(result.summary["profit"]) - float(base.summary["profit"]),
        }
        for name, result in results.items()
    }


def write_recording(logs: list[Log], start: int, until: int, path: Path) -> None:
    """Write instants in [start, until) and the latencies of requests that were due at them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    at, latency = laid_out(logs, start, until)
    columns = {
        "instant": pa.array(at).cast(pa.timestamp("ns", "UTC")),
        "latency": pa.array(latency).cast(pa.duration("ns")),
    }
    pq.write_table(pa.table(columns), path)


def laid_out(
    logs: list[Log], start: int, until: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rising instants from *start* on, before *until*, and the latency at each.

    Of requests that were due at one instant the first counts.
    """
    parts_at, parts_late, end = [], [], 0
    for log in logs:
        kept = log.take(log.answered)
        offset = kept.scheduled_at - int(kept.scheduled_at[0])
        gap = int(offset[-1]) // max(len(offset) - 1, 1)
        parts_at.append(end + offset)
        parts_late.append(kept.latency.astype(np.int64))
        end += int(offset[-1]) + max(gap, 1)
    at, late = np.concatenate(parts_at), np.concatenate(parts_late)
    at, first = np.unique(at, return_index=True)
    late = late[first]
    times = -(-(until - start) // end)
    whole = np.concatenate([start + turn * end + at for turn in range(times)])
    inside = whole < until
    return whole[inside], np.tile(late, times)[inside]


def _with_latency(scenario: Scenario, loop: str, path: Path) -> Scenario:
    from inference.config import InferenceConfig

    config = scenario.inference_config[loop]
    given = config.model_dump(mode="json", include={"model_uri", "predictor_class_name", "polling"})
    given |= {
        "features": config.features,
        "max_in_flight": MOST_IN_FLIGHT,
        "num_replicas": 4096,
        "latency": {"kind": "interpolated", "path": str(path)},
    }
    changed = scenario.inference_config | {loop: InferenceConfig.model_validate(given)}
    return scenario.model_copy(update={"inference_config": changed})


def matched_orders(first: RunResult, second: RunResult, loop: str) -> float | None:
    """Return the share of the orders in either run that match one to one; None without orders.

    Two orders match that are for the same instrument and side and were decided on the prediction
    for the same feature row.
    """
    one, other = (Counter(_decisions(result, loop)) for result in (first, second))
    either = sum((one | other).values())
    return sum((one & other).values()) / either if either else None


def _decisions(result: RunResult, loop: str) -> list[tuple[Any, ...]]:
    """Return instrument, side and feature row of each order."""
    if not len(result.orders):
        return []
    asked = result.predictions.filter(
        (pl.col("loop") == loop) & (pl.col("outcome") == "completed") & ~pl.col("superseded")
    )
    rows = asked.select("instrument", "visible_at", "emitted_at").sort("visible_at")
    orders = result.orders.select("instrument", "side", "decided_at").sort("decided_at")
    found = orders.join_asof(
        rows, left_on="decided_at", right_on="visible_at", by="instrument", check_sortedness=False
    )
    return found.select("instrument", "side", "emitted_at").rows()
