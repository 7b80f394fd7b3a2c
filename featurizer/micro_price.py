"""The table of Stoikov's micro-price, fitted on quotes from before a run.

State of a quote: its spread in ticks and the bucket of its imbalance. From one quote to the next
the mid stays (matrix Q), or moves by k (matrices R, and T for the state it arrives in). The first
move is expected to be G1 = (1 - Q)^-1 R k, and all moves together G = G1 + B G1 + B² G1 + ..., with
B = (1 - Q)^-1 T. Every pair of quotes counts twice, as it is and mirrored, so that a balanced book
expects no move (Stoikov 2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.errors import FeatureError

__all__ = ["fit_micro_price"]

Array = NDArray[Any]
_MOST_MOVES = 10_000


def fit_micro_price(
    bid: Array,
    bid_quantity: Array,
    ask: Array,
    ask_quantity: Array,
    *,
    tick_size: float,
    spreads: int = 2,
    buckets: int = 10,
) -> tuple[tuple[float, ...], ...]:
    """Return the `adjustments` of `price.MicroPrice`, in ticks.

    Args:
        bid: Best bids, in the order of the quotes. Shape (n,), as all four.
        bid_quantity: Quantities at them.
        ask: Best asks.
        ask_quantity: Quantities at them.
        tick_size: In the quote currency.
        spreads: How many spreads differ, from one tick on; the last stands for all wider ones.
        buckets: How many parts the share of the bid's quantity is cut into.

    Returns:
        Rows by spread, columns by share. 0 for a state that was never seen.

    Raises:
        FeatureError: If the quotes say too little: there is a state that the mid never left.
    """
    mids = (bid + ask) * 0.5 / tick_size
    wide = np.clip(np.rint((ask - bid) / tick_size), 1, spreads).astype(np.int64) - 1
    share = bid_quantity / (bid_quantity + ask_quantity)
    bucket = np.clip(np.floor(share * buckets), 0, buckets - 1).astype(np.int64)
    moves = np.rint(2.0 * np.diff(mids)) / 2.0  # mids lie on half ticks
    stays, arrives, first = _transitions(wide, bucket, moves, spreads, buckets)
    inverse = np.eye(spreads * buckets) - stays
    try:
        expected = np.linalg.solve(inverse, first)
        onwards = np.linalg.solve(inverse, arrives)
    except np.linalg.LinAlgError:
        raise _too_little(len(bid)) from None
    total, term = expected, expected
    for _ in range(_MOST_MOVES):
        term = onwards @ term
        total = total + term
        if np.abs(term).max() < 1e-12:
            break
    else:
        raise _too_little(len(bid))
    return tuple(tuple(row) for row in total.reshape(spreads, buckets).tolist())


def _transitions(
    wide: Array, bucket: Array, moves: Array, spreads: int, buckets: int
) -> tuple[Array, Array, Array]:
    """Return the chances to stay and to arrive elsewhere, and the mean move, from each state."""
    states = spreads * buckets
    stays, arrives = np.zeros((states, states)), np.zeros((states, states))
    first, seen = np.zeros(states), np.zeros(states)
    for mirror in (False, True):
        state = wide * buckets + (buckets - 1 - bucket if mirror else bucket)
        moved = moves != 0.0
        np.add.at(stays, (state[:-1][~moved], state[1:][~moved]), 1.0)
        np.add.at(arrives, (state[:-1][moved], state[1:][moved]), 1.0)
        np.add.at(first, state[:-1], -moves if mirror else moves)
        np.add.at(seen, state[:-1], 1.0)
    count = np.maximum(seen, 1.0)
    return stays / count[:, None], arrives / count[:, None], first / count


def _too_little(quotes: int) -> FeatureError:
    return FeatureError(
        "`adjustments` cannot be fitted, as the mid never leaves some state: got "
        f"{quotes} quotes. Give more of them, or fewer `buckets` and `spreads`."
    )
