"""The loop by plain examples: who asks, when, and what becomes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.errors import FeatureMismatchError, ModelFailedError
from inference.schedule import Outcome, Outcomes
from tests.inference.cases import Formula, build, configuration, make_rows

T, P = 8, 6


def outcomes(emitted: list[int], until: int = 1_000, **given: Any) -> Outcomes:
    return build(configuration(**given)).push(make_rows(emitted), until).outcomes


def test_a_prediction_exists_from_the_instant_it_would_have_arrived() -> None:
    found = outcomes(
        [10],
        service_time="4ns",
        latency="3ns",
        network={"out": "1ns", "back": "2ns"},
    )
    stamps = [found.submitted_at, found.sent_at, found.arrived_at, found.started_at]
    assert [int(stamp[0]) for stamp in stamps] == [10, 10, 11, 11]
    assert (found.completed_at[0], found.visible_at[0]) == (15, 20)


def test_continuous_asks_the_newest_row_when_an_answer_has_arrived() -> None:
    found = outcomes([0, 1, 2, 3, 50], latency="10ns")
    assert found.emitted_at.tolist() == [0, 3, 50]
    assert found.submitted_at.tolist() == [0, 10, 50]


def test_continuous_never_asks_about_a_row_twice_or_about_an_older_one() -> None:
    found = outcomes([0, 1, 2, 3], latency="10ns", num_replicas=2)
    assert found.emitted_at.tolist() == [0, 1, 3]


def test_on_feature_replaces_the_row_that_waits() -> None:
    found = outcomes([0, 1, 2, 3], latency="10ns", polling="on_feature")
    assert found.outcome.tolist() == [Outcome.REPLACED] * 2 + [Outcome.COMPLETED] * 2
    assert found.emitted_at.tolist() == [1, 2, 0, 3]
    assert found.visible_at.tolist() == [2, 3, 10, 20]
    assert np.isnan(found.value[:2]).all()


def test_on_feature_can_queue_instead() -> None:
    found = outcomes([0, 1, 2], latency="10ns", polling="on_feature", on_new="queue")
    assert found.emitted_at.tolist() == [0, 1, 2]
    assert found.visible_at.tolist() == [10, 20, 30]


def test_polls_come_after_the_rows_of_their_instant_and_may_repeat_a_row() -> None:
    found = outcomes([5, 20], until=31, polling={"every": "10ns"})
    assert found.submitted_at.tolist() == [10, 20, 30]
    assert found.emitted_at.tolist() == [5, 20, 20]


def test_repeats_of_a_row_draw_latencies_of_their_own() -> None:
    found = outcomes(
        [0],
        until=10_000,
        polling={"every": "1us"},
        service_time={"kind": "uniform", "low": "1ns", "high": "900ns"},
    )
    assert len(set((found.completed_at - found.started_at).tolist())) > 5


def test_an_answer_after_the_loops_turn_of_its_instant_is_ranked_after_it() -> None:
    found = outcomes([7, 7, 7])
    # the first row asks at once; when its answer is here, the turn asks the newest
    assert found.tie.tolist() == [0, 2]
    assert found.visible_at.tolist() == [7, 7]
    assert found.rank.tolist() == [P, T]


def test_at_zero_latency_every_row_is_answered_at_its_own_instant() -> None:
    found = outcomes([1, 2, 3, 9], polling="on_feature")
    assert found.visible_at.tolist() == [1, 2, 3, 9]


def test_replicas_take_turns_and_each_serves_one_at_a_time() -> None:
    found = outcomes(
        [0, 0, 0, 0], polling="on_feature", num_replicas=2, max_in_flight=4, service_time="5ns"
    )
    assert found.replica.tolist() == [0, 1, 0, 1]
    assert found.started_at.tolist() == [0, 0, 5, 5]


def test_an_older_rows_late_answer_is_superseded() -> None:
    for seed in range(40):
        loop = build(
            configuration(
                polling="on_feature",
                num_replicas=2,
                service_time={"kind": "uniform", "low": "1ns", "high": "99ns"},
            ),
            seed=seed,
        )
        found = loop.push(make_rows([0, 1]), 1_000).outcomes
        late = found.number[0] == 1
        assert found.superseded.tolist() == [0, int(late)]
        if late:
            return
    pytest.fail("no seed made the first request the slower one")


def test_rows_that_the_model_cannot_read_are_passed_over_and_counted() -> None:
    loop = build(configuration(polling="on_feature"))
    found = loop.push(make_rows([1, 2, 3], bad=(1,)), 9).outcomes
    assert found.emitted_at.tolist() == [1, 3]
    assert loop.counts["skipped"] == 1
    tolerant = Formula()
    tolerant.accepts_nan = True
    loop = build(configuration(polling="on_feature"), predictor=tolerant)
    assert len(loop.push(make_rows([1, 2, 3], bad=(1,)), 9).outcomes.number) == 3


def test_a_model_that_expects_other_features_is_refused_with_both_lists() -> None:
    with pytest.raises(FeatureMismatchError, match=r"\['mid', 'spread'\].*\['mid', 'flow'\]"):
        build(configuration(features=["mid", "spread"]))
    with pytest.raises(FeatureMismatchError, match="order"):
        build(configuration(features=["flow", "mid"]))
    with pytest.raises(FeatureMismatchError, match=r"rows hold \['mid', 'spread', 'flow'\]"):
        build(configuration(features=["mid", "depth"]), predictor=Formula(("mid", "depth")))
    with pytest.raises(FeatureMismatchError, match="inference 'main'"):
        build(configuration(features=None))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ValueError("bad leaf"), "failed on a batch of 1: bad leaf"),
        (np.zeros(3), "one value a row"),
    ],
)
def test_a_model_that_fails_ends_the_run_with_its_name(answer: Any, message: str) -> None:
    class Failing(Formula):
        def predict(self, values: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    with pytest.raises(ModelFailedError, match=message):
        build(configuration(), predictor=Failing()).push(make_rows([1]), 9)
