"""A graph in two threads: the same bits, and no trace of the second thread afterwards."""

from __future__ import annotations

import pickle
import threading
from typing import Any, ClassVar

import numpy as np
import pytest

import featurizer.graph_halves
from featurizer.emission import Emission
from featurizer.feature import Market, Pointwise
from featurizer.graph import FeatureGraph, FeatureRows
from featurizer.graph_halves import WORTH_IT, halved
from tests.featurizer.feature_markets import EIGHT, MS, A, B, config, market, quotes, same_bits
from tests.featurizer.feature_markets import joined as put_together

DEPTH = (
    ("book.DepthImbalance", "depth_1", {"levels": 1}),
    ("book.DepthImbalance", "depth_5", {"levels": 5}),
    ("book.DepthWeightedMid", "depth_mid", {"levels": 5}),
)


class TellsItsThread(Pointwise):
    """The spread; keeps in which threads it was worked out."""

    seen: ClassVar[set[int]] = set()

    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price", "ask_price")),)

    def value(self, bid: Any, ask: Any) -> Any:
        self.seen.add(threading.get_ident())
        return ask - bid


class Fails(TellsItsThread):
    """A feature with a mistake in it."""

    def value(self, bid: Any, ask: Any) -> Any:
        raise ArithmeticError("no such value")


TWO = (*EIGHT, (f"{__name__}.TellsItsThread", "own", {}))


def many(count: int, start: int = 0) -> Any:
    """Quotes of both instruments, together every 3 ms, their prices and sizes drawn."""
    draw = np.random.Generator(np.random.Philox(5 + start))
    received = [(start + n // 2) * 3 * MS for n in range(count)]
    made = []
    for name in (A, B):
        sizes = {
            side: draw.integers(1, 9, count) * 1.0 for side in ("bid_quantity", "ask_quantity")
        }
        made.append(quotes(received, list(draw.integers(90, 110, count) * 1.0), name, **sizes))
    return market(*made)


def graph(features: Any, emission: Emission) -> FeatureGraph:
    return FeatureGraph(config(*features), [A, B], emission, columnar=True)


def pushed(made: FeatureGraph) -> FeatureRows:
    """Push three portions: one that is worth two threads, a small one, and another large one."""
    found, start = [], 0
    for count in (WORTH_IT + 1, 100, 2 * WORTH_IT):
        records = many(count, start)
        start += count // 2 + 1
        found.append(made.push(records, start * 3 * MS))
    return put_together(found)


@pytest.mark.parametrize("emission", [Emission.raw(), Emission.grid(10 * MS)], ids=str)
def test_two_threads_give_the_bits_of_one(emission: Emission) -> None:
    alone = pushed(graph(TWO, emission))
    both = graph(TWO, emission)
    TellsItsThread.seen.clear()
    with both.in_two_threads():
        together = pushed(both)
    assert len(alone.emitted_at) > WORTH_IT // 4
    assert same_bits(alone, together)
    assert TellsItsThread.seen - {threading.get_ident()}, "nothing ran beside"


@pytest.mark.parametrize("features", [TWO, DEPTH, (*DEPTH, *EIGHT), EIGHT[:1]], ids=len)
def test_the_halves_hold_each_node_once_in_order_and_read_nothing_of_each_other(
    features: Any,
) -> None:
    made = graph(features, Emission.raw())
    made.push({}, 0)
    parts = [[made._plans.index(plan) for plan in half] for half in halved(made._plans)]
    assert sorted(parts[0] + parts[1]) == list(range(len(made.nodes)))
    for part in parts:
        assert part == sorted(part)
        needs = {i for n in part for i in made.nodes[n].inputs if isinstance(i, int)}
        assert needs <= set(part)


def test_features_that_share_a_book_stay_in_one_thread() -> None:
    made = graph((*DEPTH, *EIGHT), Emission.raw())
    made.push({}, 0)
    first, second = halved(made._plans)
    homes = {n for n, half in enumerate((first, second)) for p in half if "depth" in p.node.label}
    assert len(homes) == 1
    assert second, "the others can go beside"


def test_what_fails_in_either_thread_is_raised_and_no_thread_is_left() -> None:
    before = threading.active_count()
    failing = (f"{__name__}.Fails", "wrong", {})
    reads_wrong = [
        ("smoothing.Lag", f"lag_{n}", {"lag": f"{n}ms", "feature": "wrong"}) for n in (1, 2, 3)
    ]
    for features in ((*EIGHT, failing), (EIGHT[0], failing, *reads_wrong)):
        made = graph(features, Emission.raw())
        with pytest.raises(ArithmeticError, match="no such value"), made.in_two_threads():
            made.push(many(WORTH_IT), 10**12)
    assert threading.active_count() == before


def test_a_graph_pickles_in_the_midst_of_it() -> None:
    made = graph(TWO, Emission.raw())
    with made.in_two_threads():
        made.push(many(WORTH_IT), 10**11)
        other = pickle.loads(pickle.dumps(made))
        next_of_both = [each.push(many(100, 10**5), 10**12) for each in (made, other)]
    assert same_bits(*next_of_both)


def test_a_small_push_does_without_the_second_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    made = graph(TWO, Emission.raw())
    TellsItsThread.seen.clear()
    with made.in_two_threads():
        made.push(many(100), 10**11)
        assert TellsItsThread.seen == {threading.get_ident()}
        monkeypatch.setattr(featurizer.graph_halves, "WORTH_IT", 100)
        made.push(many(100, 10**5), 10**12)
    assert len(TellsItsThread.seen) == 2
