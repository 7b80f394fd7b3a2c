"""The stack and the reference, each asked the same by the same block, and compared throughout."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.rank import Rank
from inference.loop import InferenceLoop
from inference.predictors.base import TrainingRecord
from inference.rows import MISSING, Rows
from inference.schedule import Attempts, LoopOutput, Outcome, Outcomes, Reason
from tests.inference.serving_cases import COLUMNS, INSTRUMENTS, READ, Block, as_config
from tests.reference.agenda import Agenda
from tests.reference.features import FeatureRow
from tests.reference.loop import Attempt, Request
from tests.reference.loop import InferenceLoop as ReferenceLoop
from tests.reference.scenario import Loop
from tests.reference.serving.settings import duration

SEED = 7


class Model:
    """One formula for both sides; some answers are no numbers where that is asked for."""

    accepts_nan, batch_invariant, digest, version = False, True, "formula", "1"
    training: TrainingRecord | None = None
    feature_names = READ

    def __init__(self, factor: float, sometimes_nan: bool = False) -> None:
        self.factor, self.sometimes_nan = factor, sometimes_nan

    def one(self, values: Sequence[float]) -> float:
        """Return the prediction for one row."""
        if self.sometimes_nan and values[0] == 1.0:
            return math.nan
        return values[0] * self.factor - values[1]

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the predictions for rows."""
        return np.array([self.one(row) for row in values.tolist()], np.float64).reshape(-1)


def models_of(block: Block, nan: bool = False) -> dict[str, Model]:
    """Return a model for each variant of a block."""
    names = list(block.get("variants", {})) or [""]
    return {name: Model(3.0 + place, nan) for place, name in enumerate(names)}


def stack_of(block: Block, models: Mapping[str, Model], **given: Any) -> InferenceLoop:
    """Return the product's loop for a block."""
    return InferenceLoop(
        as_config(block),
        models if "variants" in block else models[""],
        **{
            "start": 0,
            "column_names": COLUMNS,
            "seed": SEED,
            "instruments": len(INSTRUMENTS),
            "instrument_names": INSTRUMENTS,
            "stack": "full",
            **given,
        },
    )


class Naive:
    """The reference's loop for a block, on an agenda of its own."""

    def __init__(self, block: Block, models: Mapping[str, Model], rows: Rows) -> None:
        self.agenda = Agenda()
        self.agenda.now = 0
        polling = block.get("polling", "continuous")
        period = duration(polling["every"]) if isinstance(polling, Mapping) else 0
        of_the_loop = ("polling", "max_in_flight", "on_new")
        settings = Loop(
            polling="every" if period else polling,
            period=period,
            max_in_flight=block.get("max_in_flight"),
            on_new=block.get("on_new", "replace"),
            features=READ,
            serving={key: value for key, value in block.items() if key not in of_the_loop},
        )
        predict: Any = {name: model.one for name, model in models.items()}
        self.answered: list[Request] = []
        self.loop = ReferenceLoop(
            self.agenda,
            settings,
            0,
            SEED,
            0,
            COLUMNS,
            predict if "variants" in block else predict[""],
            self.answered.append,
            INSTRUMENTS,
        )
        self.seen = self.added = 0
        self.add(rows)

    def add(self, rows: Rows) -> None:
        """Take rows that will become visible."""
        for place in range(len(rows.visible_at)):
            row = FeatureRow(
                self.added,
                int(rows.emitted_at[place]),
                int(rows.visible_at[place]),
                int(rows.event_time[place]),
                int(rows.tie[place]),
                int(rows.instrument[place]),
                tuple(rows.values[place].tolist()),
            )
            self.agenda.add(row.visible_at, Rank.FEATURE_ROW, (self.added,), self._shows(row))
            self.added += 1

    def _shows(self, row: FeatureRow) -> Any:
        def show() -> None:
            self.seen += 1
            self.loop.row_visible(row)

        return show

    def submit(self, now: int, values: Sequence[float], instrument: int, emitted_at: int) -> int:
        """Ask as a strategy does."""
        self.agenda.now = now
        row = FeatureRow(-1, emitted_at, now, MISSING, 0, instrument, ())
        return self.loop.submit(row, list(values)).number

    @property
    def unfinished(self) -> list[Request]:
        """Requests in flight, by number."""
        return [r for r in self.loop.requests if r.outcome == "in_flight"]

    @property
    def unfinished_attempts(self) -> list[Attempt]:
        """Attempts of which something is left, by number and attempt."""
        return [a for r in self.loop.requests for a in r.tries if a.ended_at == MISSING]


STAMPS = ("sent_at", "arrived_at", "routed_at", "batched_at", "started_at", "completed_at")
OF_ATTEMPT = ("variant", "replica", *STAMPS, "execution", "batch_size")


def request_fields(request: Request) -> dict[str, Any]:
    """Return a request of the reference as `Outcomes` has it."""
    row = request.row
    return {
        "number": request.number,
        "loop": request.loop,
        "instrument": row.instrument,
        "emitted_at": row.emitted_at,
        "tie": row.tie,
        "event_time": row.event_time,
        "submitted_at": request.submitted_at,
        "first_sent_at": request.first_sent_at,
        **{name: getattr(request, name) for name in OF_ATTEMPT},
        "visible_at": request.visible_at,
        "rank": 0 if request.outcome == "in_flight" else int(request.rank),
        "outcome": int(Outcome[request.outcome.upper()]),
        "attempts": request.attempts,
        "superseded": int(request.superseded),
        "own": int(request.own),
        "source": request.source,
        "fallback": int(request.fallback),
        "reason": int(Reason[request.reason.upper()]),
        "value": request.value if request.outcome == "completed" else math.nan,
    }


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt of the reference as `Attempts` has it."""
    return {
        "number": attempt.request.number,
        "attempt": attempt.index,
        **{name: getattr(attempt, name) for name in OF_ATTEMPT},
        "visible_at": attempt.visible_at,
        "ended_at": attempt.ended_at,
        "outcome": int(Outcome[attempt.outcome.upper()]),
        "reason": int(Reason[attempt.reason.upper()]),
        "fallback": int(attempt.fallback),
    }


def assert_same(found: Outcomes | Attempts, expected: Sequence[Mapping[str, Any]]) -> None:
    """Assert that columns hold what the reference has, row by row."""
    columns = {name: getattr(found, name).tolist() for name in found._fields}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for ours, theirs in zip(rows, expected, strict=False):
        different = {
            name: (ours[name], theirs[name])
            for name in ours
            if ours[name] != theirs[name] and not (ours[name] != ours[name] != theirs[name])
        }
        assert not different, f"request {ours['number']}: (stack, reference) {different}"
    assert len(rows) == len(expected)


def assert_equal_runs(
    outputs: Sequence[LoopOutput], loop: InferenceLoop, naive: Naive, until: int
) -> None:
    """Assert that a stack has done all that the reference has, and nothing else."""
    for part in ("outcomes", "attempts"):
        pieces = [getattr(output, part) for output in outputs]
        joined = type(pieces[0])(*map(np.concatenate, zip(*pieces, strict=True)))
        if part == "outcomes":
            assert_same(joined, [request_fields(request) for request in naive.loop.ended])
        else:
            assert_same(joined, [attempt_fields(attempt) for attempt in naive.loop.attempts])
    assert_same(loop.finish(until), [request_fields(request) for request in naive.unfinished])
    left = naive.unfinished_attempts
    assert_same(loop.finish_attempts(until), [attempt_fields(attempt) for attempt in left])
    assert loop.counts["submitted"] == len(naive.loop.requests)
    assert (loop.counts["rows"], loop.counts["skipped"]) == (naive.seen, naive.loop.skipped)
