"""Which labels are read from the newest record, and that a state moves on as a graph's does."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from featurizer.feature import Batch, Market, Output, Pointwise
from featurizer.graph import FeatureGraph
from featurizer.label_newest import NewestLabeller
from tests.featurizer.feature_markets import MS, A, B, config, market, quotes


class OfBoth(Pointwise):
    """A feature of two streams: which record is newest is for a graph to say."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price",)), Market("trades", ("price",)))

    def value(self, bid: Any, price: Any) -> Any:
        return bid - price


class WithItsOwnPush(Pointwise):
    """A feature that says it is pointwise, and has another push."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price",)),)

    def value(self, bid: Any) -> Any:
        return bid

    def push(self, state: Any, batch: Batch) -> Output:
        made = super().push(state, batch)
        return Output(made.reads + 1.0, made.updates + 1.0)


def labeller(*feature: Any) -> NewestLabeller | None:
    graph = FeatureGraph(config(*feature), [A, B])
    return NewestLabeller.of(graph.nodes, 3 * MS)


@pytest.mark.parametrize(
    ("feature", "short"),
    [
        ("price.MidPrice", True),
        ("price.WeightedMid", True),
        (("price.MidPrice", "other", {"instrument": B}), True),
        (("smoothing.Lag", "lag", {"lag": "1ms"}), False),
        (f"{__name__}.OfBoth", False),
        (f"{__name__}.WithItsOwnPush", False),
    ],
)
def test_a_pointwise_feature_of_one_stream_does_without_a_graph(feature: Any, short: bool) -> None:
    assert (labeller(feature) is not None) is short


def test_a_horizon_before_the_next_records_reads_what_was_absorbed() -> None:
    made = labeller("price.MidPrice")
    assert made is not None
    made.absorb(market(quotes([0, 2 * MS], [10.0, 12.0])), 3 * MS)
    made = pickle.loads(pickle.dumps(made))
    values, known_at = made.push(np.array([3 * MS]), {}, 4 * MS)
    assert len(values) == len(known_at) == 0
    later = market(quotes([7 * MS, 8 * MS], [17.0, 18.0]))
    values, known_at = made.push(np.array([4 * MS, 5 * MS, 6 * MS]), later, 9 * MS)
    # horizons 6, 7, 8 ms, and 9 ms that no record has reached
    assert values.tolist() == [12.0, 17.0, 18.0]
    assert known_at.tolist() == [7 * MS, 7 * MS, 8 * MS]


def test_a_horizon_before_any_record_has_no_value() -> None:
    made = labeller("price.MidPrice")
    assert made is not None
    values, known_at = made.push(np.array([0]), market(quotes([5 * MS], [15.0])), 6 * MS)
    assert np.isnan(values).tolist() == [True]
    assert known_at.tolist() == [5 * MS]
