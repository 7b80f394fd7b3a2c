"""The frames of a result, joined from what the planes of a run took down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtester.measured_times import STAMPS as TIMES_STAMPS
from backtester.serving_records import (
    ATTEMPT_STAMPS,
    attempts_frame,
    changes_frame,
    leg_columns,
    named,
    variant_names,
)
from inference.rows import MISSING
from inference.schedule import Outcome, Outcomes, Reason

if TYPE_CHECKING:
    from backtester.run import Run
    from inference.loop import InferenceLoop
    from inference.serving.numbers import LoopRecords

__all__ = ["frames_of", "lineage_of", "service_times_of"]

_STAMPS = (
    "emitted_at",
    "event_time",
    "submitted_at",
    "first_sent_at",
    "sent_at",
    "arrived_at",
    "routed_at",
    "batched_at",
    "started_at",
    "completed_at",
    "visible_at",
)


def frames_of(run: Run, serving: Sequence[LoopRecords]) -> dict[str, pl.DataFrame]:
    """Return the frames that every result has, by name."""
    ledger = run.engine.ledger
    orders = _orders_frame(ledger)
    told = _frame(ledger.reports).select("report", "visible_at")
    changes = _changes_frame(run)
    fills = _fills_frame(ledger, _decisions(ledger, orders, changes), told)
    mids = run.venue.mids(run.until)
    equity = _stamped(pl.DataFrame(run.equity.to_columns((run.until, mids))), ("time",))
    return {
        "orders": orders,
        "order_changes": changes,
        "fills": fills,
        "payments": _stamped(
            _frame(ledger.payments).join(told, on="report", how="left", maintain_order="left"),
            ("venue_time", "visible_at"),
        ),
        "reports": _stamped(_frame(ledger.reports), ("venue_time", "visible_at")),
        "equity": equity,
        "predictions": _predictions_frame(run, serving),
        "attempts": _stamped(attempts_frame(run, serving), ATTEMPT_STAMPS),
        "deployment_changes": _stamped(changes_frame(run, serving), ("changed_at",)),
        "records": _stamped(_frame(ledger.records), ("time",)),
    }


def service_times_of(run: Run) -> pl.DataFrame | None:
    """Return the times of a run whose replicas were measured, None of any other."""
    measured = run.service_times.frame()
    return None if measured is None else _stamped(measured, TIMES_STAMPS)


def lineage_of(run: Run, serving: Sequence[LoopRecords]) -> pl.DataFrame | None:
    """Return what was behind each order, None where the run did not keep it."""
    if run.lineage is None:
        return None
    from backtester.lineage.frame import STAMPS, lineage_frame

    return _stamped(lineage_frame(run, run.lineage, serving), STAMPS)


def _frame(store: Any) -> pl.DataFrame:
    kinds = {int: pl.Int64, float: pl.Float64, str: pl.String}
    schema = {name: kinds[kind] for name, kind in store.columns.items()}
    return pl.DataFrame(store.to_columns(), schema=schema)


def _changes_frame(run: Run) -> pl.DataFrame:
    changes = _frame(run.engine.ledger.order_changes)
    # what was still on its way when the run ended has not arrived
    on_its_way = pl.col("arrived_at") >= run.until
    arrived = pl.when(on_its_way).then(MISSING).otherwise(pl.col("arrived_at"))
    return _stamped(
        changes.with_columns(arrived_at=arrived), ("decided_at", "sent_at", "arrived_at")
    )


def _orders_frame(ledger: Any) -> pl.DataFrame:
    orders, arrivals, fills = _frame(ledger.orders), _frame(ledger.arrivals), _frame(ledger.fills)
    filled = fills.group_by("order").agg(
        filled_quantity=pl.col("quantity").sum(),
        average_price=(pl.col("quantity") * pl.col("price")).sum() / pl.col("quantity").sum(),
        fee=pl.col("fee").sum(),
    )
    joined = orders
    for part in (arrivals, _frame(ledger.ends), filled):
        joined = joined.join(part, on="order", how="left", maintain_order="left")
    on_its_way = pl.when(pl.col("arrived_at").is_null()).then(pl.lit("in_flight"))
    return _stamped(
        joined.with_columns(
            pl.col("status").fill_null(on_its_way.otherwise(pl.lit("open"))),
            pl.col("reason").fill_null(""),
            pl.col("filled_quantity").fill_null(0.0),
            pl.col("fee").fill_null(0.0),
        ),
        ("decided_at", "sent_at", "arrived_at"),
    )


def _decisions(ledger: Any, orders: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Return our mid behind the price of each order, from each instant on at the venue."""
    made = _stamped(_frame(ledger.reports), ("venue_time",))
    made = made.filter((pl.col("kind") == "modified") & (pl.col("reason") == "requested"))
    done = made.select("order", arrived_at="venue_time").unique()
    took_effect = changes.filter(pl.col("kind") == "modify").join(
        done, on=("order", "arrived_at"), how="semi"
    )
    columns = ("order", pl.col("arrived_at").alias("venue_time"), "decision_mid")
    decisions = pl.concat([orders.select(*columns), took_effect.select(*columns)])
    return decisions.drop_nulls("venue_time").sort("venue_time", maintain_order=True)


def _fills_frame(ledger: Any, decisions: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    fills = _frame(ledger.fills).join(told, on="report", how="left", maintain_order="left")
    fills = _stamped(fills, ("venue_time", "visible_at"))
    # both are in the order of time; polars cannot see that of groups, and warns
    fills = fills.join_asof(decisions, on="venue_time", by="order", check_sortedness=False)
    slippage = pl.col("side") * (pl.col("price") / pl.col("decision_mid") - 1) * 1e4
    return fills.with_columns(slippage_bps=slippage)


def _predictions_frame(run: Run, serving: Sequence[LoopRecords]) -> pl.DataFrame:
    from inference.schedule import NOTHING

    parts = [
        _loop_frame(run, loop, kept.outcomes)
        for loop, kept in zip(run.planes.loops, serving, strict=True)
    ]
    return _stamped(pl.concat(parts or [_outcome_columns(run, NOTHING.outcomes)]), _STAMPS)


def _loop_frame(run: Run, loop: InferenceLoop, ended: Outcomes) -> pl.DataFrame:
    model = run.predictors[loop.name]
    count = len(loop.config.deployments)
    models = list(model.values()) if isinstance(model, Mapping) else [model] * count
    # a request that no model was asked about tells the first one's, as any other of the loop
    versions = np.array([one.version for one in (*models, models[0])])[ended.variant]
    variants = variant_names(loop.config)[ended.variant]
    return _outcome_columns(run, ended, loop.name, variants, versions)


def _outcome_columns(
    run: Run, ended: Outcomes, loop: str = "", variants: Any = (), versions: Any = ()
) -> pl.DataFrame:
    size = len(ended.number)
    names = np.array(run.names)
    before, after = _realised(run, ended)
    return pl.DataFrame(
        {
            "loop": pl.Series([loop] * size, dtype=pl.String),
            "number": ended.number,
            "instrument": pl.Series(names[ended.instrument].tolist(), dtype=pl.String),
            **{name: getattr(ended, name) for name in _STAMPS},
            "replica": ended.replica,
            "outcome": named(Outcome, ended.outcome),
            "attempts": ended.attempts,
            "superseded": ended.superseded.astype(bool),
            "own": ended.own.astype(bool),
            "value": ended.value,
            "label_before": before,
            "label_after": after,
            "model_version": pl.Series(list(versions), dtype=pl.String),
            "variant": pl.Series(list(variants), dtype=pl.String),
            "execution": ended.execution,
            "batch_size": ended.batch_size,
            "source": ended.source,
            "fallback": ended.fallback.astype(bool),
            "reason": named(Reason, ended.reason),
            **leg_columns(ended),
        }
    ).sort("number")


def _realised(run: Run, ended: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """Return the label feature when each answer became visible and one lookahead later."""
    size = len(ended.number)
    before, after = np.full(size, np.nan), np.full(size, np.nan)
    if run.outlook is not None and size:
        done = ended.outcome == Outcome.COMPLETED
        before[done], after[done] = run.outlook.around(
            ended.visible_at[done], ended.instrument[done]
        )
    return before, after


def _stamped(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return a frame with its instants as UTC timestamps; what was never reached is null."""
    return frame.with_columns(
        pl.when(pl.col(name) != MISSING)
        .then(pl.col(name))
        .cast(pl.Datetime("ns", "UTC"))
        .alias(name)
        for name in names
    )
