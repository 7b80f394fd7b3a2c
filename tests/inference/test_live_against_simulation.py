"""Given the replies of a simulated deployment, the live loop does what the simulated loop did."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from pydantic import ValidationError

from inference.loop import InferenceLoop
from inference.rows import MISSING, Rows, no_rows
from inference.schedule import Attempts, LoopOutput, Outcome, Outcomes, Reason
from inference.serving.explain import chosen
from tests.inference.cases import joined
from tests.inference.live_cases import Host, ScriptedBackend, Sent, live_loop
from tests.inference.serving_cases import (
    COLUMNS,
    END,
    Block,
    as_config,
    blocks,
    pressed,
    row_streams,
)
from tests.inference.serving_oracle import models_of, stack_of

NOTHING = no_rows(len(COLUMNS))
UNKNOWN = ("arrived_at", "routed_at", "batched_at", "execution", "batch_size", "replica")
"""What a real deployment does not tell, or names by itself."""
AFTER_ALL = 9


def far_away(block: Block) -> Block:
    """Return a block whose deployments are a millisecond away, so that no reply is instant.

    What the simulated client alone does otherwise is set to what the live one does: a hit from the
    cache takes no time, and what is taken back is gone at once.
    """
    for one in block.get("variants", {"": block}).values():
        one["network"] = {"out": "1ms", "back": "1ms"}
    if "cache" in block:
        block["cache"].pop("hit_latency", None)
    if isinstance(block.get("timeout"), dict):
        block["timeout"]["cancel"] = False
    try:
        as_config(block)
    except ValidationError:
        reject()  # a deadline that the two milliseconds on the way do not fit in
    return block


class Replay:
    """Answers each attempt as a simulated run of the same rows did."""

    def __init__(self, attempts: Attempts, values: dict[tuple[int, int], float]) -> None:
        self.values = values
        self.replies: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for place in range(len(attempts.number)):
            if attempts.reason[place] == Reason.LOST or attempts.ended_at[place] == MISSING:
                continue
            key = (int(attempts.number[place]), int(attempts.attempt[place]))
            self.replies[int(attempts.ended_at[place])].append((*key, place))
        self.attempts = attempts

    def answer(self, sent: dict[tuple[int, int], Sent], at: int) -> None:
        """Let the replies of an instant come, in any order."""
        for number, attempt, place in reversed(self.replies.pop(at, [])):
            outcome, reason = self.attempts.outcome[place], self.attempts.reason[place]
            if reason == Reason.LATE:
                outcome = Outcome.FAILED  # whatever it says: nobody waits for it
            value = self.values.get((number, attempt), np.nan)
            stamps = {
                name: int(getattr(self.attempts, name)[place])
                for name in ("started_at", "completed_at")
            }
            sent[number, attempt].answer(value, Outcome(outcome), Reason(reason), **stamps)


def simulated(block: Block, rows: Rows) -> tuple[LoopOutput, Outcomes, Attempts]:
    loop = stack_of(block, models_of(block, nan=True))
    output = loop.push(rows, END)
    return output, loop.finish(END), loop.finish_attempts(END)


def answers(output: LoopOutput) -> dict[tuple[int, int], float]:
    """Return the value of each attempt that answered its request."""
    ended = output.outcomes
    by_model = (
        (ended.outcome == Outcome.COMPLETED) & (ended.source < 0) & (ended.sent_at != MISSING)
    )
    keys = zip(ended.number.tolist(), (ended.attempts - 1).tolist(), strict=True)
    pairs = zip(keys, ended.value.tolist(), by_model.tolist(), strict=True)
    return {key: value for key, value, mine in pairs if mine}


def live(
    block: Block, rows: Rows, replay: Replay
) -> tuple[LoopOutput, Outcomes, Attempts, InferenceLoop]:
    host = Host()
    config = as_config(block)
    sent: dict[tuple[int, int], Sent] = {}
    backends = {name: ScriptedBackend(host) for name in config.deployments}
    loop = live_loop(config, host.clock(), backends, predictor=models_of(block, nan=True))
    client: Any = loop.live._client  # type: ignore[union-attr]  # to know whose a row is
    order = client._send_out

    def send(attempt: Any) -> None:
        order(attempt)
        backend = backends[list(config.deployments)[attempt.variant]]
        sent[attempt.request.number, attempt.index] = backend.sent[-1]

    client._send_out = send
    outputs, taken = [loop.push(NOTHING, 0)], 0
    while True:
        row_at = rows.visible_at[taken] if taken < len(rows.visible_at) else END
        at = min(int(row_at), min(replay.replies, default=END), loop.next_due[0])
        if at >= END:
            break
        host.time = at
        count = int(np.searchsorted(rows.visible_at, at, side="right"))
        some = Rows(*(column[taken:count] for column in rows))
        taken = count
        replay.answer(sent, at)
        outputs.append(loop.push(some, at, AFTER_ALL))
    host.time = END
    outputs.append(loop.push(NOTHING, END))
    return joined(outputs), loop.finish(END), loop.finish_attempts(END), loop


def assert_same(ours: Any, theirs: Any, without: tuple[str, ...] = ()) -> None:
    for name in ours._fields:
        if name not in (*UNKNOWN, *without):
            left, right = getattr(ours, name), getattr(theirs, name)
            assert np.array_equal(left, right, equal_nan=name == "value"), name


def names(attempts: Attempts, which: Any = slice(None)) -> list[tuple[int, int]]:
    return list(zip(attempts.number[which].tolist(), attempts.attempt[which].tolist(), strict=True))


def compare(block: Block, rows: Rows) -> tuple[LoopOutput, LoopOutput]:
    block = far_away(block)
    theirs, their_rest, their_attempts = simulated(block, rows)
    ours, rest, attempts, loop = live(block, rows, Replay(theirs.attempts, answers(theirs)))
    assert_same(ours.submissions, theirs.submissions)
    served = ("started_at", "completed_at")
    assert_same(ours.outcomes, theirs.outcomes, served)
    done = (theirs.outcomes.outcome == Outcome.COMPLETED) & (theirs.outcomes.reason == 0)
    done &= theirs.outcomes.source < 0
    for name in served:
        stamps = getattr(ours.outcomes, name), getattr(theirs.outcomes, name)
        assert np.array_equal(stamps[0][done], stamps[1][done]), name
    lost = theirs.attempts.reason == Reason.LOST  # real ones stay under way: nobody tells
    kept = chosen(theirs.attempts, ~lost)
    assert_same(ours.attempts, kept, served)
    assert_same(rest, their_rest, served)
    keys = set(names(theirs.attempts, lost))
    known = np.array([key not in keys for key in names(attempts)], bool)
    assert_same(chosen(attempts, known), their_attempts, served)
    assert (~known).sum() == len(keys)
    breaker = theirs.changes.kind == 2
    assert_same(ours.changes, type(theirs.changes)(*(c[breaker] for c in theirs.changes)))
    assert loop.counts["submitted"] == len(ours.submissions.number)
    return ours, theirs


@pytest.mark.slow
@settings(max_examples=60)
@given(block=blocks(nan=True), rows=row_streams())
def test_the_same_replies_make_the_same_records(block: Block, rows: Rows) -> None:
    compare(block, rows)


@pytest.mark.slow
@settings(max_examples=40)
@given(block=pressed(), rows=row_streams())
def test_so_it_is_when_much_goes_wrong(block: Block, rows: Rows) -> None:
    compare(block, rows)
