"""The numbers of a run, as `summary.json` and `--json` give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtester.metrics import (
    information_coefficient,
    quantiles_ms,
)
from backtester.serving_records import serving_numbers
from backtester.summary_money import money_of, rounded
from clock.units import format_instant
from inference.schedule import Outcome

if TYPE_CHECKING:
    from backtester.run import Run
    from inference.predictors.base import Predictor
    from inference.serving.numbers import LoopRecords

__all__ = ["summarise"]


def summarise(
    run: Run, frames: Mapping[str, pl.DataFrame], serving: Sequence[LoopRecords]
) -> dict[str, Any]:
    """Return the metrics and digests of a run that has come to its end.

    Args:
        run: The run.
        frames: The frames of its result.
        serving: What each of its loops recorded.
    """
    predictions = frames["predictions"]
    summary: dict[str, Any] = {
        "name": run.scenario.name,
        "trace_digest": run.trace.digest(),
        "mode": run.mode,
        "lockstep_because": run.why_lockstep or None,
        "predicted_by": {loop.name: _who_predicted(run, loop.name) for loop in run.planes.loops},
        "host_time": run.service_times.remarks(),
        "start": format_instant(run.start),
        "until": format_instant(run.until),
        "events": run.events,
        "feature_rows": run.planes.feature_rows,
        "orders": len(frames["orders"]),
        "fills": len(frames["fills"]),
        **money_of(run, frames),
        "predictions": _outcome_counts(predictions),
        "latency_ms": quantiles_ms(_between(predictions, "submitted_at", "visible_at")),
        "queue_wait_ms": quantiles_ms(_between(predictions, "arrived_at", "started_at")),
        "staleness_ms": quantiles_ms(_staleness(frames["orders"])),
        "utilisation": {
            loop.name: round(loop.utilisation(run.until), 6) for loop in run.planes.loops
        },
        "serving": serving_numbers(run, serving),
        **_coefficient(run, predictions),
        **_at_the_end(run),
        "digests": {
            "catalog": run.catalog.digest(
                [(request.instrument, request.kind) for request in run.requests],
                run.start,
                run.until,
            ),
            "scenario": run.scenario.digest(),
            "models": {
                name: {"digest": model.digest, "version": model.version}
                for name, model in _models(run)
            },
        },
    }
    return summary


def _who_predicted(run: Run, loop: str) -> str:
    replicas = run.replicas.get(loop, 0)
    if not replicas:
        return "this process"
    return f"{replicas} replica{'s' if replicas > 1 else ''} on Ray Serve"


def _models(run: Run) -> Iterator[tuple[str, Predictor]]:
    """Yield each model under the name of its loop, `loop.variant` where there are several."""
    for name, model in run.predictors.items():
        if isinstance(model, Mapping):
            yield from ((f"{name}.{variant}", one) for variant, one in model.items())
        else:
            yield name, model


def _outcome_counts(predictions: pl.DataFrame) -> dict[str, int]:
    counts = dict(predictions["outcome"].value_counts().iter_rows())
    rest = {kind.name.lower(): int(counts.get(kind.name.lower(), 0)) for kind in Outcome}
    return {"submitted": len(predictions), **rest}


def _coefficient(run: Run, predictions: pl.DataFrame) -> dict[str, Any]:
    """Return the first loop's coefficient: predictions against the change from their visibility."""
    nothing = {"information_coefficient": None, "information_coefficient_ci": None}
    config = run.scenario.featurizer
    if run.outlook is None or config is None or config.label_lookahead is None:
        return nothing
    lookahead_ns = config.label_lookahead
    from featurizer.dataset import label_change

    first = run.planes.loops[0].name
    done = predictions.filter((pl.col("loop") == first) & (pl.col("outcome") == "completed"))
    done = done.filter(~pl.col("own"))  # what a strategy asked on its own is no forecast
    done = done.sort("visible_at", "number")

    def of(some: pl.DataFrame) -> dict[str, Any]:
        value, interval = information_coefficient(
            some["value"].to_numpy(),
            np.asarray(
                label_change(
                    config.label, some["label_before"].to_numpy(), some["label_after"].to_numpy()
                )
            ),
            some["visible_at"].to_physical().to_numpy(),
            lookahead_ns,
            resamples=run.scenario.report.bootstrap,
            seed=run.scenario.seed,
        )
        return {
            "information_coefficient": rounded(value),
            "information_coefficient_ci": [rounded(x) for x in interval] if interval else None,
        }

    found = of(done)
    if config.per_instrument:
        # prices of one scale would drown the others' in the coefficient of all together
        found["information_coefficient_by_instrument"] = {
            name: of(done.filter(pl.col("instrument") == name))
            for name in run.scenario.data.instruments
        }
    return found


def _at_the_end(run: Run) -> dict[str, Any]:
    """Return what the end of the run found open: it is marked, never closed."""
    account = run.venue.account
    mids = run.venue.mids(run.until)
    held = {
        name: {
            "position": float(lots * account.units[name].lot_size),
            "marked_at": rounded(mids[name]),
        }
        for name, lots in account.positions.items()
        if lots
    }
    return {
        "open_positions": held,
        "in_flight": dict(run.engine.gateway.in_flight),
    }


def _between(frame: pl.DataFrame, first: str, last: str) -> np.ndarray:
    done = frame.filter(pl.col("outcome") == "completed")
    return (done[last].to_physical() - done[first].to_physical()).to_numpy()


def _staleness(orders: pl.DataFrame) -> np.ndarray:
    return orders.filter(pl.col("staleness_ns") >= 0)["staleness_ns"].to_numpy()
