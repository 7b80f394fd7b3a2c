"""What answers say: in which batches models are asked, and which answers are given again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.errors import ModelFailedError
from inference.loop import InferenceLoop
from inference.rows import Rows
from inference.schedule import Outcome
from tests.inference.cases import Formula, build, configuration, make_rows, part

pytestmark = pytest.mark.slow  # the whole stack is compiled for the first of them
END = 100


class BatchTells(Formula):
    """A model whose answer is the sum of its batch: no bit of it survives another batch."""

    def __init__(self) -> None:
        super().__init__(invariant=False)

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(len(values), values[:, 0].sum())


class Sometimes(Formula):
    """A model that does not know the second and third row."""

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(np.isin(values[:, 0], [3.1, 6.1]), np.nan, values[:, 0])


def batched(**given: Any) -> Any:
    batching = {"kind": "triton", "max_batch_size": 3, "max_queue_delay": "4ns"}
    return configuration(
        polling="on_feature", batching=batching, service_time="5ns", max_in_flight=9, **given
    )


def in_pushes(loop: InferenceLoop, rows: Rows, cuts: list[int]) -> dict[int, float]:
    """Push rows up to each cut; return the value of each completed request."""
    found, taken = {}, 0
    for until in [*cuts, END]:
        count = int(np.searchsorted(rows.visible_at, until))
        ended = loop.push(part(rows, taken, count), until).outcomes
        taken = count
        done = ended.outcome == Outcome.COMPLETED
        found.update(zip(ended.number[done].tolist(), ended.value[done].tolist(), strict=True))
    return found


@pytest.mark.parametrize("cuts", [[], [3], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]])
def test_a_model_whose_bits_depend_on_the_batch_is_asked_for_the_batches_served(
    cuts: list[int],
) -> None:
    # the first three fill a batch at 2, the last two wait for the oldest of them until 7
    rows = make_rows([0, 1, 2, 3, 4])
    loop = build(batched(), predictor=BatchTells())
    first, second = sum(rows.values[:3, 0]), sum(rows.values[3:, 0])
    assert in_pushes(loop, rows, cuts) == pytest.approx(
        {0: first, 1: first, 2: first, 3: second, 4: second}
    )


@pytest.mark.parametrize("cuts", [[], [4, 9]])
def test_a_hit_gives_the_value_of_the_answer_that_it_repeats(cuts: list[int]) -> None:
    rows = make_rows([0, 8, 12])
    cells = np.array([[1.0, 0, 2.0], [1.3, 0, 2.0], [9.0, 0, 2.0]])
    rows = rows._replace(values=cells)
    cells.flags.writeable = False
    cache = {"step": 1.0, "ttl": "50ns"}
    loop = build(configuration(polling="on_feature", service_time="2ns", cache=cache))
    # rows differ in the instrument, which is part of the key
    rows = rows._replace(instrument=np.zeros(3, np.int64))
    assert in_pushes(loop, rows, cuts) == {0: 1.0, 1: 1.0, 2: 25.0}


def test_a_breaker_that_counts_nan_opens_whatever_the_chunks() -> None:
    rows = make_rows([0, 5, 10, 15, 20])
    breaker = {
        "failure_threshold": 2,
        "counts": ["nan"],
        "open_for": "60ns",
        "fallback": {"constant": 7.0},
    }
    given = configuration(polling="on_feature", service_time="1ns", circuit_breaker=breaker)
    assert given.reads_values
    for cuts in ([], [3, 6, 11, 12], list(range(1, 25))):
        found = in_pushes(build(given, predictor=Sometimes()), rows, cuts)
        assert [found[number] for number in (0, 3, 4)] == [pytest.approx(0.1), 7.0, 7.0]
        assert np.isnan([found[1], found[2]]).all()


def test_a_variant_without_a_model_is_refused_by_name() -> None:
    variants: Any = {name: {"share": 0.5} for name in ("big", "small")}
    config = configuration(variants=variants, routing="split")
    with pytest.raises(ModelFailedError, match=r"'main' needs a model .* missing small"):
        build(config, predictor={"big": Formula()})


def test_each_variant_is_asked_with_its_own_model() -> None:
    variants: Any = {"big": {"share": 0.5}, "small": {"share": 0.5}}
    config = configuration(
        polling="on_feature", variants=variants, routing="split", max_in_flight=50
    )
    predictors = {"big": Formula(), "small": Sometimes()}
    rows = make_rows(list(range(20)))
    ended = build(config, predictor=predictors).push(rows, END).outcomes
    asked = rows.values[ended.number][:, [0, 2]]
    expected = np.where(ended.variant == 0, Formula().predict(asked), Sometimes().predict(asked))
    np.testing.assert_array_equal(ended.value, expected)
    assert set(ended.variant.tolist()) == {0, 1}
