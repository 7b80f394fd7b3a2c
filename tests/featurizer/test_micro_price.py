from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from featurizer.definitions.price import MicroPrice
from featurizer.errors import FeatureError
from featurizer.micro_price import fit_micro_price

Quotes = list[tuple[float, float, float, float]]


def walk(seed: int, count: int) -> Quotes:
    """Quotes whose mid tends to move where the imbalance points."""
    draw = np.random.default_rng(seed)
    low, found, spread = 1000, [], 1
    for _ in range(count):
        bid_q, ask_q = draw.integers(1, 10, 2).tolist()
        found.append((low * 0.5, float(bid_q), (low + spread) * 0.5, float(ask_q)))
        if draw.random() < 0.4:
            low += 1 if draw.random() < bid_q / (bid_q + ask_q) else -1
        spread = 1 if draw.random() < 0.8 else 2
    return found


def naive(quotes: Quotes, spreads: int, buckets: int) -> list[list[float]]:
    """Expected sums of moves, by following the chain of states one step at a time."""

    def state(bid: float, bid_q: float, ask: float, ask_q: float) -> tuple[int, int]:
        column = 0
        while column < buckets - 1 and bid_q / (bid_q + ask_q) >= (column + 1) / buckets:
            column += 1
        return min(round((ask - bid) / 0.5), spreads) - 1, column

    steps = defaultdict(list)
    for old, new in itertools.pairwise(quotes):
        move = (new[0] + new[2] - old[0] - old[2]) / 2 / 0.5
        (s0, c0), (s1, c1) = state(*old), state(*new)
        steps[s0, c0].append((move, (s1, c1)))
        steps[s0, buckets - 1 - c0].append((-move, (s1, buckets - 1 - c1)))
    value = dict.fromkeys(steps, 0.0)
    for _ in range(400):  # the value of a state is the next step, and the next state's value
        value = {
            at: sum(move + value.get(to, 0.0) for move, to in nexts) / len(nexts)
            for at, nexts in steps.items()
        }
    return [[value.get((s, c), 0.0) for c in range(buckets)] for s in range(spreads)]


def fitted(quotes: Quotes, spreads: int = 2, buckets: int = 4) -> tuple[tuple[float, ...], ...]:
    bid, bid_q, ask, ask_q = (np.array(column) for column in zip(*quotes, strict=True))
    return fit_micro_price(bid, bid_q, ask, ask_q, tick_size=0.5, spreads=spreads, buckets=buckets)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_table_is_the_sum_of_expected_moves_of_the_chain(seed: int) -> None:
    quotes = walk(seed, 1500)
    np.testing.assert_allclose(fitted(quotes), naive(quotes, 2, 4), rtol=1e-8, atol=1e-8)


def test_the_table_leans_with_the_imbalance_and_mirrors_itself() -> None:
    table = np.array(fitted(walk(2, 20_000)))
    np.testing.assert_allclose(table, -table[:, ::-1], atol=1e-9)
    assert (np.diff(table, axis=1) > 0).all()
    MicroPrice(tick_size=0.5, adjustments=tuple(map(tuple, table.tolist())))


def test_quotes_that_never_move_are_refused() -> None:
    with pytest.raises(FeatureError, match="cannot be fitted"):
        fitted([(10.0, 1.0, 10.5, 1.0)] * 50)
