"""Service times that a run measures or reads from a recording, and what it says about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtester.errors import ScenarioError

if TYPE_CHECKING:
    import polars as pl

    from backtester.scenario import Scenario
    from backtester.strategy import Strategy
    from inference.config import InferenceConfig
    from inference.measured import Measuring
    from inference.serving.service_times import RowTimes

__all__ = ["STAMPS", "MeasuredTimes", "check_unmeasured"]

STAMPS = ("emitted_at", "sent_at", "started_at", "completed_at", "received_at")
"""Instants among the columns of a recording."""


class MeasuredTimes:
    """Where the loops of a run have their measured service times from.

    Attributes:
        measured: What measured, by loop.
        recorded: What was told again, by loop: the path of the recording.
    """

    def __init__(self, instruments: Sequence[str]) -> None:
        self._instruments = instruments
        self.measured: dict[str, Measuring] = {}
        self.recorded: dict[str, str] = {}

    def source(self, loop: str, config: InferenceConfig, model: Any) -> RowTimes | None:
        """Return where a loop's times come from; None where they are not measured, or cannot be.

        Args:
            loop: Its name.
            config: What it says of its service time.
            model: Its model; a `RemotePredictor` where real replicas can be measured.
        """
        from inference.measured import Measuring, Recorded
        from inference.remote import RemotePredictor
        from inference.serving.policies.service import Measured

        time = config.service_time
        if not isinstance(time, Measured):
            return None
        if time.recorded is not None:
            self.recorded[loop] = time.recorded
            return Recorded(Path(time.recorded), loop, self._instruments)
        if not isinstance(model, RemotePredictor):
            return None
        made = Measuring(model.backend, loop, self._instruments, replicas=model.replicas)
        self.measured[loop] = made
        return made

    def frame(self) -> pl.DataFrame | None:
        """Return every measurement of the run, None where it measured nothing."""
        if not self.measured:
            return None
        import polars as pl

        from inference.measured import COLUMNS

        texts = {"loop", "instrument", "replica", "machine"}
        schema = {name: pl.String if name in texts else pl.Int64 for name in COLUMNS}
        entries = [entry for one in self.measured.values() for entry in one.entries]
        frame = pl.DataFrame(entries, schema=schema, orient="row")
        return frame.with_columns(pl.col("duration").cast(pl.Duration("ns")))

    def remarks(self) -> list[str]:
        """Return what a reader must know of the result: a sentence a loop."""
        told = [
            f"The service times of inference '{loop}' were measured while the run went on "
            f"({len(one.entries):,} rows, {one.machine}): it read the host's time, and another "
            "run gives another result, but for one from its service_times.parquet."
            for loop, one in self.measured.items()
        ]
        told += [
            f"The service times of inference '{loop}' are those that an earlier run measured: "
            f"{path}."
            for loop, path in self.recorded.items()
        ]
        return told


def check_unmeasured(strategy: Strategy, scenario: Scenario) -> None:
    """Refuse a strategy that submits requests of its own to a loop whose times are measured.

    Raises:
        ScenarioError: Then: nobody can measure a row before the strategy has made it.
    """
    if not strategy.submits_requests:
        return
    for name, config in scenario.inference_config.items():
        if getattr(config.service_time, "kind", "") == "measured":
            raise ScenarioError(
                f"inference '{name}': `service_time: measured` cannot go with a strategy that "
                "submits its own requests, as rows are measured before they are asked about. Take "
                "another kind of time."
            )
