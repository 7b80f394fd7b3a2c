"""Everything that happened in a run: frames, numbers and digests, and how they are saved."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtester.errors import ScenarioError
from backtester.measured_times import STAMPS as TIMES_STAMPS
from backtester.output import FRAMES, check_folder, writing
from backtester.serving_records import (
    ATTEMPT_STAMPS,
    attempts_frame,
    changes_frame,
    leg_columns,
    loop_records,
    named,
    variant_names,
)
from backtester.summary import summarise
from backtester.trace import TraceEntry
from inference.rows import MISSING
from inference.schedule import Outcome, Outcomes, Reason

if TYPE_CHECKING:
    from backtester.run import Run
    from inference.loop import InferenceLoop
    from inference.serving.numbers import LoopRecords

__all__ = ["RunResult", "build_result", "load_result"]

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


_WHERE_KEPT = ("lineage", "measured", "service_times")
"""Frames that a result has only where the run kept them."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did.

    Attributes:
        orders: One row an order: stamps, what was asked, what became of it, our mid then.
        order_changes: One row a cancel or another change asked for.
        fills: One row an execution, with fee, realised profit, and slippage in bps against our mid
            when its price was decided on, be it by the order or by a change of it.
        payments: One row a payment of funding or insurance, received is positive.
        reports: One row a report that reached us.
        equity: The venue's account on a regular grid, closed by the mark at the end.
        predictions: One row a request, with every stamp, replica, outcome and value, and the legs
            of its latency, which add up to it.
        attempts: One row a sending of a request.
        deployment_changes: One row a change of a replica, of an autoscaler's target or of a
            circuit breaker.
        records: What the strategy kept with `ctx.record`.
        summary: The numbers of `summary.json`.
        scenario: The resolved scenario.
        trace: Entries of the trace, when they were kept.
        lineage: What was behind each order and each change, one row a link; None where it was not
            kept.
        measured: What a paper run measured of its deployments, one row an answer; else None.
        service_times: The service times that the run measured, one row a feature row; None where it
            measured none.
    """

    orders: pl.DataFrame
    order_changes: pl.DataFrame
    fills: pl.DataFrame
    payments: pl.DataFrame
    reports: pl.DataFrame
    equity: pl.DataFrame
    predictions: pl.DataFrame
    attempts: pl.DataFrame
    deployment_changes: pl.DataFrame
    records: pl.DataFrame
    summary: dict[str, Any]
    scenario: dict[str, Any]
    trace: list[TraceEntry] = field(default_factory=list)
    lineage: pl.DataFrame | None = None
    measured: pl.DataFrame | None = None
    service_times: pl.DataFrame | None = None

    @property
    def trace_digest(self) -> str:
        """SHA-256 over everything that happened, in the order of time."""
        digest: str = self.summary["trace_digest"]
        return digest

    def save(self, folder: Path | str, *, picture: bool = True) -> Path:
        """Write frames, summary, scenario and report picture; a result that was there is replaced.

        Everything is written to a folder beside it first, so that no half result is left behind.

        Args:
            folder: Where to.
            picture: Draw `report.png` as well.

        Raises:
            ScenarioError: If the folder holds something that is not a result, or cannot be written.
        """
        folder = Path(folder)
        check_folder(folder)
        with writing(folder):
            self._replace(folder.absolute(), picture=picture)
        return folder

    def _replace(self, folder: Path, *, picture: bool) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        try:
            for name in FRAMES:
                getattr(self, name).write_parquet(new / f"{name}.parquet")
            for name in _WHERE_KEPT:
                frame = getattr(self, name)
                if frame is not None:
                    frame.write_parquet(new / f"{name}.parquet")
            _write_json(new / "summary.json", self.summary)
            _write_json(new / "scenario.json", self.scenario)
            if picture:
                from backtester.report.picture import draw_report

                draw_report(self, new / "report.png")
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def load_result(folder: Path | str) -> RunResult:
    """Read a saved result.

    Raises:
        ScenarioError: If the folder holds no result, or one of an earlier version.
    """
    folder = Path(folder)
    if not (folder / "summary.json").exists():
        raise ScenarioError(
            f"`{folder}` must be the folder of a saved run: it has no summary.json. "
            "Make one with `lightcone run`."
        )
    missing = [name for name in FRAMES if not (folder / f"{name}.parquet").exists()]
    if missing:
        raise ScenarioError(
            f"`{folder}` must hold all frames of a run: it lacks {missing[0]}.parquet, as a run "
            "saved by an earlier version does. Run the scenario again with `lightcone run`."
        )
    frames: dict[str, Any] = {name: pl.read_parquet(folder / f"{name}.parquet") for name in FRAMES}
    for name in _WHERE_KEPT:
        kept = folder / f"{name}.parquet"
        frames[name] = pl.read_parquet(kept) if kept.exists() else None
    summary = json.loads((folder / "summary.json").read_text())
    scenario = json.loads((folder / "scenario.json").read_text())
    return RunResult(**frames, summary=summary, scenario=scenario)


def build_result(run: Run) -> RunResult:
    """Return the result of a run that has come to its end."""
    ledger = run.engine.ledger
    orders = _orders_frame(ledger)
    told = _frame(ledger.reports).select("report", "visible_at")
    changes = _changes_frame(run)
    fills = _fills_frame(ledger, _decisions(ledger, orders, changes), told)
    mids = run.venue.mids(run.until)
    equity = _stamped(pl.DataFrame(run.equity.to_columns((run.until, mids))), ("time",))
    serving = [loop_records(run, index) for index in range(len(run.planes.loops))]
    frames = {
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
    return RunResult(
        **frames,
        summary=summarise(run, frames, serving),
        scenario=run.scenario.resolved(),
        trace=run.trace.entries,
        lineage=_lineage_frame(run, serving),
        service_times=_times_frame(run),
    )


def _times_frame(run: Run) -> pl.DataFrame | None:
    measured = run.service_times.frame()
    return None if measured is None else _stamped(measured, TIMES_STAMPS)


def _lineage_frame(run: Run, serving: Sequence[LoopRecords]) -> pl.DataFrame | None:
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=False) + "\n")
