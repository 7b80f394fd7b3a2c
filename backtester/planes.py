"""The exogenous planes: market records in, feature rows and answers out, ahead of trading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backtester.trace import EntryKind, Trace, block
from clock.rank import FIRST_RANK, Rank
from featurizer.market import Records, StreamKey

if TYPE_CHECKING:
    from featurizer.graph import FeatureGraph, FeatureRows
    from inference.background import Background
    from inference.loop import InferenceLoop
    from inference.schedule import Attempts, Changes, LoopOutput, Outcomes

__all__ = ["Begun", "ExogenousPlanes", "Planned"]

_LOOP_SHIFT = 40
_ATTEMPT_BITS = 16
_OF_AN_ATTEMPT = (
    "outcome",
    "reason",
    "variant",
    "replica",
    "sent_at",
    "arrived_at",
    "routed_at",
    "batched_at",
    "started_at",
    "completed_at",
    "visible_at",
    "execution",
    "batch_size",
    "fallback",
)


class Planned:
    """What the exogenous planes hold for one window.

    Attributes:
        rows: Feature rows that become visible in it, in order.
        first_row: Number of the first of them in the run.
        outcomes: Of each loop, what ended in it, by (visible_at, rank, number).
    """

    def __init__(
        self, rows: FeatureRows | None, first_row: int, outcomes: Sequence[Outcomes]
    ) -> None:
        self.rows = rows
        self.first_row = first_row
        self.outcomes = list(outcomes)


class Begun(NamedTuple):
    """A window whose schedule is simulated and whose values are on their way."""

    rows: FeatureRows | None
    outputs: list[Callable[[], LoopOutput]]
    """Of each loop, a function that waits for its values and returns its output."""


class ExogenousPlanes:
    """Features and inference, run one window ahead of the trading plane.

    Args:
        graph: The feature graph, None when the scenario has no features.
        loops: The inference loops, in the order of the scenario.
        trace: Takes their entries.
    """

    def __init__(
        self, graph: FeatureGraph | None, loops: Sequence[InferenceLoop], trace: Trace
    ) -> None:
        self.graph = graph
        self.loops = list(loops)
        self.feature_rows = 0
        self.attempts: list[list[Attempts]] = [[] for _ in loops]
        self.changes: list[list[Changes]] = [[] for _ in loops]
        self._trace = trace
        self._pending: FeatureRows | None = None

    def plan(self, records: Mapping[StreamKey, Records], until: int) -> Planned:
        """Run the planes over a window.

        Args:
            records: Records received in it.
            until: Its end; what becomes visible at or after it is kept for later windows.
        """
        return self.complete(self.begin(records, until))

    def begin(
        self,
        records: Mapping[StreamKey, Records],
        until: int,
        background: Background | None = None,
    ) -> Begun:
        """Run the planes over a window, but for what models say, which a background is asked for.

        Nothing of it is in the trace yet, so that it may go on while an earlier window trades.
        """
        rows = self.visible_rows(records, until)
        if rows is None:
            return Begun(None, [])
        taken = as_rows(rows)
        return Begun(
            rows, [loop.begin(taken, until, FIRST_RANK, background) for loop in self.loops]
        )

    def complete(self, begun: Begun) -> Planned:
        """Wait for what models say about a window, and take all of it into the trace.

        Raises:
            ModelFailedError: If a model raised, or did not return one value a row.
        """
        rows, first = begun.rows, self.feature_rows
        if rows is None:
            return Planned(None, first, ())
        self.note_rows(rows)
        outcomes = []
        for index, finish in enumerate(begun.outputs):
            output = finish()
            self.keep(index, output)
            self.note_requests(index, output.submissions)
            self.note_outcomes(index, output.outcomes)
            outcomes.append(output.outcomes)
        return Planned(rows, first, outcomes)

    def finish(self, until: int) -> list[Outcomes]:
        """Return, loop by loop, the requests that the end of the run found in flight."""
        rest = []
        for index, loop in enumerate(self.loops):
            outcomes = loop.finish(until)
            self.note_outcomes(index, outcomes, until)
            attempts = loop.finish_attempts(until)
            self.attempts[index].append(attempts)
            self.note_attempts(index, attempts, until)
            rest.append(outcomes)
        return rest

    def keep(self, loop: int, output: LoopOutput) -> None:
        """Keep the attempts and changes of a push for the run's result."""
        if len(output.attempts.number):
            self.attempts[loop].append(output.attempts)
            self.note_attempts(loop, output.attempts)
        if len(output.changes.kind):
            self.changes[loop].append(output.changes)

    def visible_rows(self, records: Mapping[StreamKey, Records], until: int) -> FeatureRows | None:
        """Return the rows that become visible before *until*; keep the later ones."""
        if self.graph is None:
            return None
        made = self.graph.push(records, until)
        rows = made if self._pending is None else _joined(self._pending, made)
        count = int(np.searchsorted(rows.visible_at, until, side="left"))
        self._pending = _part(rows, slice(count, None)) if count < len(rows.visible_at) else None
        return _part(rows, slice(0, count))

    def note_rows(self, rows: FeatureRows) -> None:
        """Take rows into the trace, in the order in which they become visible."""
        size = len(rows.visible_at)
        numbers = np.arange(self.feature_rows, self.feature_rows + size)
        self.feature_rows += size
        self._trace.add(
            block(
                EntryKind.FEATURE_ROW,
                rows.visible_at,
                int(Rank.FEATURE_ROW),
                numbers,
                rows.emitted_at,
                rows.event_time,
                rows.tie,
                rows.instrument,
                rows.values,
            )
        )

    def note_requests(self, loop: int, made: Any) -> None:
        """Take requests into the trace, at the instant they were submitted."""
        self._trace.add(
            block(
                EntryKind.REQUEST,
                made.submitted_at,
                int(Rank.FEATURE_ROW),
                made.number + (loop << _LOOP_SHIFT),
                made.instrument,
                made.emitted_at,
                made.tie,
            )
        )

    def note_outcomes(self, loop: int, ended: Any, until: int | None = None) -> None:
        """Take outcomes and their values into the trace, at the instant they ended.

        Args:
            loop: Place of the loop.
            ended: Its outcomes.
            until: End of the run, for the requests still in flight then.
        """
        size = len(ended.number)
        self._trace.add(
            block(
                EntryKind.OUTCOME,
                ended.visible_at if until is None else np.full(size, until),
                ended.rank,
                ended.number + (loop << _LOOP_SHIFT),
                ended.outcome,
                ended.attempts,
                ended.replica,
                ended.sent_at,
                ended.arrived_at,
                ended.started_at,
                ended.completed_at,
                ended.superseded,
                ended.first_sent_at,
                ended.routed_at,
                ended.batched_at,
                ended.variant,
                ended.source,
                ended.fallback,
                ended.reason,
                ended.value,
            )
        )

    def note_attempts(self, loop: int, ended: Attempts, until: int | None = None) -> None:
        """Take attempts into the trace, at the instant at which nothing was left of them.

        A plain deployment makes one attempt a request, of which its outcome tells everything.

        Args:
            loop: Place of the loop.
            ended: Its attempts.
            until: End of the run, for the attempts of which something was left then.
        """
        if self.loops[loop].is_plain:
            return
        size = len(ended.number)
        columns = (getattr(ended, name) for name in _OF_AN_ATTEMPT)
        self._trace.add(
            block(
                EntryKind.ATTEMPT,
                ended.ended_at if until is None else np.full(size, until),
                int(Rank.PREDICTION),
                (loop << _LOOP_SHIFT + _ATTEMPT_BITS)
                + (ended.number << _ATTEMPT_BITS)
                + ended.attempt,
                *columns,
            )
        )


def as_rows(rows: FeatureRows) -> Any:
    """Return feature rows as the inference plane takes them: plain arrays with their stamps."""
    from inference.rows import Rows

    return Rows(*rows)


def _joined(first: FeatureRows, second: FeatureRows) -> FeatureRows:
    columns = [np.concatenate(pair) for pair in zip(first, second, strict=True)]
    return type(first)(*(_readonly(column) for column in columns))


def _part(rows: FeatureRows, which: slice) -> FeatureRows:
    return type(rows)(*(column[which] for column in rows))


def _readonly(column: np.ndarray) -> np.ndarray:
    column.flags.writeable = False
    return column
