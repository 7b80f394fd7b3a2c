"""Everything that happened in a run: frames, numbers and digests, and how they are saved."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from backtester.errors import ScenarioError
from backtester.output import FRAMES, check_folder, writing
from backtester.result_frames import frames_of, lineage_of, service_times_of
from backtester.serving_records import (
    loop_records,
)
from backtester.summary import summarise
from backtester.trace import TraceEntry

if TYPE_CHECKING:
    from backtester.run import Run

__all__ = ["RunResult", "build_result", "load_result"]

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
    serving = [loop_records(run, index) for index in range(len(run.planes.loops))]
    frames = frames_of(run, serving)
    return RunResult(
        **frames,
        summary=summarise(run, frames, serving),
        scenario=run.scenario.resolved(),
        trace=run.trace.entries,
        lineage=lineage_of(run, serving),
        service_times=service_times_of(run),
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=False) + "\n")
