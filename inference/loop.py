"""InferenceLoop: asks a deployment about the newest feature row, in simulated or in real time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from clock.errors import LatencyError, TimeWentBackwardsError
from clock.rank import FIRST_RANK, Rank
from clock.wall import WallClock
from inference.answers import Answers
from inference.errors import ModelFailedError
from inference.predictors.base import check_columns, check_features
from inference.rows import (
    MISSING,
    NEVER,
    Rows,
    check_order,
    join_rows,
    no_rows,
    rows_after,
    went_back,
)
from inference.schedule import NOTHING, Attempts, LoopOutput, Outcomes
from inference.serving.plain_stack import PlainStack, is_plain
from inference.serving.policies.service import Measured
from inference.serving.records import Setting, Stack
from inference.serving.service_times import RowTimes, ServiceTimes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clock.base import Clock
    from inference.backend import Backend
    from inference.background import Background
    from inference.config import InferenceConfig
    from inference.live.stack import LiveStack
    from inference.predictors.base import Predictor
    from inference.serving.records import Collected

StackKind = Literal["auto", "full"]


class InferenceLoop:
    """One loop and its deployment.

    `push` runs everything due strictly before a watermark and returns what became known. With a
    simulated deployment, however a run is cut into pushes, the records are the same, bit for bit:
    the timing does not depend on predicted values, so a push simulates its schedule first and
    predicts all it served in one call. With a wall clock and a backend, real replicas answer when
    they do: a push sends what is due, takes in the replies that have come, and never waits.

    Attributes:
        live: The real deployment's side, for those who pace, redeploy or close it; None where the
            deployment is simulated.
    """

    def __init__(
        self,
        config: InferenceConfig,
        predictor: Predictor | Mapping[str, Predictor],
        *,
        start: int,
        column_names: Sequence[str],
        name: str = "main",
        index: int = 0,
        seed: int = 0,
        base: Path | None = None,
        instruments: int = 1,
        instrument_names: Sequence[str] = (),
        stack: StackKind = "auto",
        clock: Clock | None = None,
        backend: Backend | Mapping[str, Backend] | None = None,
        times: RowTimes | None = None,
    ) -> None:
        """Build an idle loop.

        Args:
            config: What to ask, when, and how the deployment behaves.
            predictor: The loaded model; with `variants`, one for each of their names.
            start: First instant of the run; `every` polls from here on.
            column_names: The columns of the rows that will be pushed.
            name: The loop's name; its draws come from streams `inference/<name>/...`.
            index: Its place among the scenario's loops: the key of its turn in an instant.
            seed: The scenario's seed.
            base: Folder at which relative paths of recorded latencies start.
            instruments: How many instruments rows are of: an answer is superseded by those for
                newer rows of its own.
            instrument_names: Their names, by which a queue's priorities call them.
            stack: `full` simulates a plain deployment with the whole stack, which gives the same
                records; by default it has a kernel of its own.
            clock: A `WallClock` for a real deployment; by default, as with a `SimulatedClock`, the
                deployment is simulated.
            backend: The real deployment; with `variants`, one for each of their names.
            times: Where service times come from, for `service_time: {kind: measured}`.

        Raises:
            FeatureMismatchError: If a model, or a deployment, reads other features than the rows
                hold.
            ModelFailedError: If a variant has no model, or no deployment.
            ValueError: If there is a wall clock without a backend, or the other way round.
            LatencyError: If service times are measured, and nobody measures or has recorded them.
        """
        self.config = config
        self.predictors: dict[str, Predictor] = _by_variant(config, predictor, name, "a model")
        self.predictor = next(iter(self.predictors.values()))
        self.name, self.index, self.start = name, index, start
        read = column_names if config.features is None else config.features
        where = f"inference '{name}'"
        for one in self.predictors.values():
            check_features(one, read, where)
        check_columns(read, column_names, where)
        self._answers = Answers(config, self.predictors, name)
        given = Setting(
            name=name,
            index=index,
            start=start,
            seed=seed,
            base=base,
            columns=[list(column_names).index(column) for column in read],
            features=tuple(read),
            instruments=tuple(instrument_names) or ("",) * instruments,
            accepts_nan=all(one.accepts_nan for one in self.predictors.values()),
            keeps_served=self._answers.by_execution,
        )
        self._times: ServiceTimes | None = None
        self._stack: Stack
        self.live: LiveStack | None = None
        if isinstance(clock, WallClock) != (backend is not None):
            raise ValueError(
                "`clock` must be a WallClock where `backend` is given, and only there: got "
                f"{type(clock).__name__} and {type(backend).__name__}."
            )
        if isinstance(clock, WallClock):
            from inference.live.stack import LiveStack

            backends = _by_variant(config, backend, name, "a deployment")
            for deployed in backends.values():
                check_features(deployed, read, where)
            self._stack = self.live = LiveStack(config, given, backends, clock)
        elif stack == "auto" and is_plain(config):
            self._stack = PlainStack(config, given)
        else:
            from inference.serving.full_stack import FullStack

            self._stack = full = FullStack(config, given, self._answers.predict_served)
            if isinstance(config.service_time, Measured):
                self._times = ServiceTimes(_times_given(times, name), given)
                self._know = full.know
        self._rows = self._no_rows = no_rows(len(column_names))
        self._watermark = (start, int(FIRST_RANK))

    def push(self, rows: Rows, until: int, rank: int = FIRST_RANK) -> LoopOutput:
        """Take rows, run everything strictly before (*until*, *rank*), and return what happened.

        Args:
            rows: Sorted by `visible_at`, none before an earlier push's `until`; rows visible at or
                after *until* are kept for later.
            until: The new watermark: no later push holds a row visible before it.
            rank: How far to run within the instant *until*.

        Raises:
            TimeWentBackwardsError: If the watermark or a row goes back in time.
            ModelFailedError: If the model raises, or does not return one value a row.
        """
        return self.begin(rows, until, rank)()

    def begin(
        self, rows: Rows, until: int, rank: int = FIRST_RANK, background: Background | None = None
    ) -> Callable[[], LoopOutput]:
        """Run as `push` does, and leave the predicting to a background; see `push`.

        Args:
            rows: As in `push`.
            until: As in `push`.
            rank: As in `push`.
            background: One thread that predicts, so that values are asked for in order; None: the
                caller's own, when it asks for them.

        Returns:
            A function that waits for the values and returns the output; what a model raised, it
            raises.
        """
        check_order(rows, until, self._rows, self._watermark)
        if len(rows.visible_at):
            self._rows = join_rows(self._rows, rows)
            if self._times is not None:
                self._know(*self._times.learn(rows))
        last, reached = self._watermark
        self._watermark = (until, max(rank, reached) if until == last else int(rank))
        taken = self._stack.run(self._rows, until, int(rank))
        if taken:
            left = taken < len(self._rows.visible_at)
            self._rows = rows_after(self._rows, taken) if left else self._no_rows
        found = self._stack.collect()
        if found is None:
            return lambda: NOTHING
        needed = self._stack.needed
        if background is None:
            return lambda: _valued(found, self._answers.values_of(found, needed))
        values = background.submit(self._answers.values_of, found, needed)
        return lambda: _valued(found, values.result())

    def submit(
        self,
        now: int,
        values: NDArray[np.float64],
        *,
        instrument: int,
        emitted_at: int,
        tie: int = 0,
        event_time: int = MISSING,
    ) -> int:
        """Send a strategy's own request at once, past `max_in_flight`, and return its number.

        Lockstep only: the caller has pushed up to *now*, and pushes again to let it be served. It
        is told apart from others by (instrument, *now*, its ordinal among those asked at *now*).

        Args:
            now: The present instant.
            values: The features to ask about, shape (n_features,), in the model's order.
            instrument: Index of the instrument it is about.
            emitted_at: Emission instant of the row it stems from, for the record.
            tie: That row's ordinal within its instant.
            event_time: The newest event behind the values.

        Raises:
            TimeWentBackwardsError: If *now* lies before the watermark.
            ValueError: If the number of values is not the model's.
        """
        if now < self._watermark[0]:
            raise went_back("a request", now, self._watermark[0])
        wanted = self._stack.width
        if np.shape(values) != (wanted,):
            raise ValueError(f"`values` must have shape ({wanted},): got {np.shape(values)}.")
        if now > self._watermark[0]:
            self._watermark = (now, int(FIRST_RANK))
        return self._stack.submit(values, now, (instrument, emitted_at, tie, event_time))

    @property
    def next_due(self) -> tuple[int, int]:
        """The instant and rank of what happens first, or (NEVER, TIMER) when nothing is due.

        A row already handed over counts; one yet to come does not.
        """
        waiting = self._rows.visible_at
        row_at = int(waiting[0]) if len(waiting) else NEVER
        instant, rank = self._stack.next_due(row_at)
        return (instant, rank) if instant != NEVER else (NEVER, int(Rank.TIMER))

    def finish(self, until: int) -> Outcomes:
        """Return the requests still under way at the watermark, by number, as `IN_FLIGHT`.

        Stamps at or after *until* are MISSING: they have not been reached. Changes nothing.

        Raises:
            TimeWentBackwardsError: If *until* is not the last watermark.
        """
        return self._finish(until)[0]

    def finish_attempts(self, until: int) -> Attempts:
        """Return the attempts still under way at the watermark, as `finish` returns requests.

        One that the client has given up says so; `ended_at` is MISSING for all.
        """
        return self._finish(until)[1]

    def statistics(self, until: int) -> dict[str, dict[str, int]]:
        """Return what the replicas of each deployment did in [start, until), in nanoseconds.

        `busy_ns`: all executions together. `replica_ns`: how long replicas were there, all
        together. `slot_ns`: the same, times the executions that one replica can run at once.
        """
        return self._stack.statistics(until)

    def utilisation(self, until: int) -> float:
        """Return the busy time of the replicas in [start, until) as a share of all they had.

        *until* is the last watermark or later. Zero for an empty span.
        """
        numbers = self._stack.statistics(until).values()
        slots = sum(one["slot_ns"] for one in numbers)
        return sum(one["busy_ns"] for one in numbers) / slots if slots > 0 else 0.0

    @property
    def is_plain(self) -> bool:
        """Whether the deployment is plain: each request has one attempt, served on its own."""
        return is_plain(self.config)

    @property
    def counts(self) -> dict[str, int]:
        """Requests by outcome so far, all of them as `submitted`, and rows passed over."""
        return self._stack.counts

    def _finish(self, until: int) -> tuple[Outcomes, Attempts]:
        if until != self._watermark[0]:
            raise TimeWentBackwardsError(
                f"`until` of finish must be the last watermark: got {until}, "
                f"pushed up to {self._watermark[0]}. Push up to it first."
            )
        return self._stack.finish(until)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make rows read-only again: pickle forgets it."""
        vars(self).update(state)
        for array in (*self._rows, *self._no_rows):
            array.flags.writeable = False


def _times_given(times: RowTimes | None, loop: str) -> RowTimes:
    if times is None:
        raise LatencyError(
            f"`service_time` of inference '{loop}' is measured: only `lightcone run` measures, "
            "with `backend: ray_serve`. Name a recording with `from`, or take another "
            "kind."
        )
    return times


def _valued(found: Collected, value: NDArray[np.float64]) -> LoopOutput:
    value.flags.writeable = False
    outcomes = found.outcomes._replace(value=value)
    return LoopOutput(found.submissions, outcomes, found.attempts, found.changes)


def _by_variant(config: InferenceConfig, given: Any, name: str, what: str) -> dict[str, Any]:
    """Return models or deployments by name of the variant, in the order of the configuration."""
    wanted = list(config.deployments)
    if not isinstance(given, Mapping):
        return dict.fromkeys(wanted, given)
    missing = [variant for variant in wanted if variant not in given]
    if missing:
        raise ModelFailedError(
            f"inference '{name}' needs {what} for each variant: got {', '.join(given)}, "
            f"missing {', '.join(missing)}."
        )
    return {variant: given[variant] for variant in wanted}
