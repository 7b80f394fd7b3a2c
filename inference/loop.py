"""InferenceLoop: asks a deployment about the newest feature row, on the simulated clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clock.errors import TimeWentBackwardsError
from clock.rank import FIRST_RANK, Rank
from clock.sampler import Sampler
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
from inference.schedule import (
    NO_CHANGES,
    NOTHING,
    Attempts,
    LoopOutput,
    Outcome,
    Outcomes,
    as_submissions,
)
from inference.serving import deployment, own
from inference.serving import state as f
from inference.serving.widen import attempts_of, plain_outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.config import InferenceConfig
    from inference.predictors.base import Predictor

_POLLING = {"continuous": f.CONTINUOUS, "every": f.EVERY, "on_feature": f.ON_FEATURE}
_LEGS = ("network_out", "service_time", "network_back", "latency")


class InferenceLoop:
    """One loop and its simulated deployment.

    `push` runs everything due strictly before a watermark and returns what became known. However
    a run is cut into pushes, the records are the same, bit for bit: the timing does not depend on
    predicted values, so a push simulates its schedule first and predicts all it served in one call.
    """

    def __init__(
        self,
        config: InferenceConfig,
        predictor: Predictor,
        *,
        start: int,
        column_names: Sequence[str],
        name: str = "main",
        index: int = 0,
        seed: int = 0,
        base: Path | None = None,
        instruments: int = 1,
    ) -> None:
        """Build an idle loop.

        Args:
            config: What to ask, when, and how long the answer takes.
            predictor: The loaded model.
            start: First instant of the run; `every` polls from here on.
            column_names: The columns of the rows that will be pushed.
            name: The loop's name; its draws come from streams `inference/<name>/...`.
            index: Its place among the scenario's loops: the key of its turn in an instant.
            seed: The scenario's seed.
            base: Folder at which relative paths of recorded latencies start.
            instruments: How many instruments rows are of: an answer is superseded by those for
                newer rows of its own.

        Raises:
            FeatureMismatchError: If the model reads other features than the rows hold.
        """
        self.config, self.predictor = config, predictor
        self.name, self.index, self.start = name, index, start
        read = column_names if config.features is None else config.features
        where = f"inference '{name}'"
        check_features(predictor, read, where)
        check_columns(read, column_names, where)
        models = (config.network.out, config.service_time, config.network.back, config.latency)
        self._samplers = tuple(
            Sampler(model, seed, f"inference/{name}/{leg}", base)
            for model, leg in zip(models, _LEGS, strict=True)
        )
        self._specs = tuple(sampler.spec for sampler in self._samplers)
        places = [list(column_names).index(column) for column in read]
        self._state = _idle(config, predictor, places, index, start, instruments)
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
        check_order(rows, until, self._rows, self._watermark)
        if len(rows.visible_at):
            self._rows = join_rows(self._rows, rows)
        last, reached = self._watermark
        self._watermark = (until, max(rank, reached) if until == last else int(rank))
        self._run(until, int(rank))
        return self._output()

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
        wanted = self._state.values.shape[1]
        if np.shape(values) != (wanted,):
            raise ValueError(f"`values` must have shape ({wanted},): got {np.shape(values)}.")
        if now > self._watermark[0]:
            self._watermark = (now, int(FIRST_RANK))
        row = (instrument, emitted_at, tie, event_time)
        self._state, number = own.submit(self._state, values, now, row)
        return number

    @property
    def next_due(self) -> tuple[int, int]:
        """The instant and rank of what happens first, or (NEVER, TIMER) when nothing is due.

        A row already handed over counts; one yet to come does not.
        """
        waiting = self._rows.visible_at
        row_at = int(waiting[0]) if len(waiting) else NEVER
        scalars, table = self._state.scalars, self._state.table
        if scalars[f.SIZE + f.SENDING]:
            return self._watermark[0], int(FIRST_RANK)
        instant, rank = deployment.next_event(scalars, table, row_at)
        return (instant, rank) if instant != NEVER else (NEVER, int(Rank.TIMER))

    def finish(self, until: int) -> Outcomes:
        """Return the requests still under way at the watermark, by number, as `IN_FLIGHT`.

        Stamps at or after *until* are MISSING: they have not been reached. Changes nothing.

        Raises:
            TimeWentBackwardsError: If *until* is not the last watermark.
        """
        if until != self._watermark[0]:
            raise TimeWentBackwardsError(
                f"`until` of finish must be the last watermark: got {until}, "
                f"pushed up to {self._watermark[0]}. Push up to it first."
            )
        return own.unfinished(self._state, until)

    def finish_attempts(self, until: int) -> Attempts:
        """Return the attempts still under way at the watermark, as `finish` returns requests."""
        return attempts_of(self.finish(until))

    def statistics(self, until: int) -> dict[str, dict[str, int]]:
        """Return what the replicas of each deployment did in [start, until), in nanoseconds.

        `busy_ns`: all executions together. `replica_ns`: how long replicas were ready, all
        together. `slot_ns`: the same, times the executions that one replica can run at once.
        """
        had = (until - self.start) * self.config.num_replicas
        return {
            name: {
                "busy_ns": int(own.busy_ns(self._state, until)),
                "replica_ns": had,
                "slot_ns": had,
            }
            for name in self.config.deployments
        }

    def utilisation(self, until: int) -> float:
        """Return the busy time of the replicas in [start, until) as a share of all they had.

        *until* is the last watermark or later. Zero for an empty span.
        """
        elapsed = (until - self.start) * self.config.num_replicas
        return own.busy_ns(self._state, until) / elapsed if elapsed > 0 else 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Requests by outcome so far, all of them as `submitted`, and rows passed over."""
        scalars = self._state.scalars
        counted = {kind.name.lower(): int(scalars[f.COUNTS + kind]) for kind in Outcome}
        submitted = int(scalars[f.NEXT_NUMBER])
        counted["in_flight"] = submitted - sum(counted.values())
        return {
            "submitted": submitted,
            **counted,
            "rows": int(scalars[f.ROWS_SEEN]),
            "skipped": int(scalars[f.SKIPPED]),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only repeats the samplers: pickle forgets that an array is read-only."""
        return {key: value for key, value in vars(self).items() if key != "_specs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        specs: list[Any] = [sampler.spec for sampler in self._samplers]
        for array in (array for arrays in (self._rows, self._no_rows, *specs) for array in arrays):
            array.flags.writeable = False
        self._specs = tuple(sampler.spec for sampler in self._samplers)

    def _run(self, until: int, rank: int) -> None:
        first = 0
        while True:
            given: list[Any] = [*self._state, self._specs, *self._rows, first, until, rank]
            status, first = deployment.run(*given)
            if status == deployment.DONE:
                break
            grow = f.more_slots if status == deployment.NEEDS_SLOTS else f.more_room
            self._state = grow(self._state)
        if first:
            left = first < len(self._rows.visible_at)
            self._rows = rows_after(self._rows, first) if left else self._no_rows

    def _output(self) -> LoopOutput:
        state = self._state
        asked, ended = int(state.scalars[f.SUBMITTED]), int(state.scalars[f.OUTCOMES])
        if not asked and not ended:
            return NOTHING
        state.scalars[f.SUBMITTED] = state.scalars[f.OUTCOMES] = 0
        columns = state.records[: f.OUTCOME_FIELDS, :ended].copy()
        answered = columns[f.OUTCOME] == Outcome.COMPLETED
        if answered.all():
            value = self._predict(state.asked[:ended].copy())
        else:
            value = np.full(ended, np.nan)
            value[answered] = self._predict(state.asked[:ended][answered])
        submissions = as_submissions(state.records[f.OUTCOME_FIELDS :, :asked].copy())
        outcomes = plain_outcomes(columns, value)
        return LoopOutput(submissions, outcomes, attempts_of(outcomes), NO_CHANGES)

    def _predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row; a model whose bits depend on the batch is asked row by row."""
        if not len(values):
            return np.empty(0)
        batches = [values] if self.predictor.batch_invariant else np.split(values, len(values))
        return np.concatenate([self._predict_batch(batch) for batch in batches])

    def _predict_batch(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        try:
            found = np.asarray(self.predictor.predict(values), np.float64)
        except Exception as error:
            raise ModelFailedError(
                f"model '{self.config.model_uri}' of inference '{self.name}' failed on a batch of "
                f"{len(values)}: {error}"
            ) from error
        if found.shape != (len(values),):
            raise ModelFailedError(
                f"model '{self.config.model_uri}' of inference '{self.name}' must return one value "
                f"a row: got shape {found.shape} for {len(values)} rows."
            )
        return found


def _idle(
    config: InferenceConfig,
    predictor: Predictor,
    columns: list[int],
    index: int,
    start: int,
    instruments: int,
) -> f.State:
    state = f.new_state(columns, config.num_replicas, instruments=instruments)
    scalars = state.scalars
    scalars[f.MAX_IN_FLIGHT] = config.in_flight_limit
    scalars[f.POLLING] = _POLLING[config.polling.kind]
    scalars[f.REPLACE] = config.on_new == "replace"
    scalars[f.ACCEPTS_NAN] = bool(predictor.accepts_nan)
    scalars[f.LOOP_INDEX] = index
    if config.polling.period is not None:
        scalars[f.PERIOD] = config.polling.period
        scalars[f.NEXT_POLL] = start
    return state
