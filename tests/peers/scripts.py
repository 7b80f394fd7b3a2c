"""Scripts of orders on the real capture, seeded: what a strategy would send, at odd instants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.peers.wishes import Wish

Columns = Mapping[str, np.ndarray]
SECOND = 1_000_000_000
TICK = 0.1


def _instants(quotes: Columns, count: int, draws: np.random.Generator) -> list[int]:
    start, end = quotes["event_time"][0] + 30 * SECOND, quotes["event_time"][-1] - 5 * SECOND
    return np.sort(draws.integers(start, end, count)).tolist()


def market_orders(quotes: Columns, seed: int, count: int, lots: int = 1) -> list[Wish]:
    """Return market orders, of either side in turn."""
    draws = np.random.default_rng(seed)
    instants = _instants(quotes, count, draws)
    return [Wish(at, 1 if n % 2 else -1, lots) for n, at in enumerate(instants)]


def limit_orders(quotes: Columns, seed: int, count: int, lots: int = 1) -> list[Wish]:
    """Return limit orders about the best prices that had reached us, canceled in 0.2 to 4 s.

    One at a time waits at a price: of several, the peer fills each with the whole of a trade, in
    the order of a hash.
    """
    draws = np.random.default_rng(seed)
    busy: dict[tuple[int, int], int] = {}
    script = []
    for at in _instants(quotes, count, draws):
        side = 1 if draws.random() < 0.5 else -1
        row = np.searchsorted(quotes["receipt_time"], at, side="right") - 1
        best = quotes["bid_price" if side > 0 else "ask_price"][row]
        ticks = round(best / TICK) + side * int(draws.choice((-3, -2, -1, 0, 1)))
        until = at + int(draws.uniform(0.2, 4.0) * SECOND)
        if busy.get((side, ticks), 0) < at:
            busy[side, ticks] = until + SECOND // 10
            script.append(Wish(at, side, lots, ticks, until))
    return script


def joined_in_front(quotes: Columns, wish: Wish, entry: int) -> bool:
    """Say whether a limit order arrives at the best price of its side, or better."""
    row = np.searchsorted(quotes["event_time"], wish.at + entry, side="right") - 1
    best = quotes["bid_price" if wish.side > 0 else "ask_price"][row]
    assert wish.ticks is not None
    return (wish.ticks - round(best / TICK)) * wish.side >= 0
