"""W1's plain loop against a hand-computed example and against the reference simulator."""

from __future__ import annotations

import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tests.reference.examples import COIN, MS, instrument, quote, scenario
from tests.reference.simulator import simulate
from tests.reference.strategies import Action, Order
from tests.reference.w1 import Answer, Quotes, w1


def columns(rows: list[dict[str, Any]]) -> Quotes:
    return Quotes(**{name: [row[name] for row in rows] for name in Quotes.__annotations__})


def answer(rows: list[dict[str, Any]], every: int, until: int = 1000) -> Answer:
    cash = Fraction(1_000_000)
    return w1(instrument(), columns(rows), start=0, until=until * MS, cash=cash, every=every)


def test_every_second_quote_sends_an_order_that_meets_the_quote_of_its_arrival() -> None:
    rows = [quote(at, 98 + at, 100 + at, seen=at + 3) for at in (0, 5, 12, 20, 31, 36)]
    got = answer(rows, every=2)
    # Sent at 8, 23 and 39; arriving at 18, 33 and 49; the quotes of 12, 31 and 36 stand then.
    assert got.sent_at == [8 * MS, 23 * MS, 39 * MS]
    assert [(f.venue_time // MS, f.lots, f.ticks) for f in got.fills] == [
        (18, 1, 112),
        (33, -1, 129),
        (49, 1, 136),
    ]
    assert got.fees == sum(10**8 * ticks // 1000 for ticks in (112, 129, 136))
    assert got.cash == 10**8 * (1_000_000 + 129 - 112) - got.fees
    assert got.position == 1


def test_the_average_starts_at_the_first_mid() -> None:
    assert answer([quote(0, 99, 101), quote(1, 199, 201)], every=9).average == 101.0


def test_an_order_that_arrives_at_the_end_does_not_fill() -> None:
    assert answer([quote(at, 99, 101) for at in (0, 10)], every=2, until=20).fills == []


def test_the_simulator_gives_the_same_answers() -> None:
    rng = random.Random(1)
    rows, at, bid = [], 0, 100
    for number in range(300):
        at += rng.choice((0, 1, 1, 2, 5))
        bid += rng.choice((-1, 0, 0, 1))
        row = quote(at, bid, bid + rng.choice((1, 2)), seen=at + rng.randrange(1, 6))
        rows.append(row | {"sequence": number})
    got = answer(rows, every=7)
    count = sent = 0

    def decide(event: str, now: int, fields: Mapping[str, Any]) -> list[Action]:
        nonlocal count, sent
        if event != "quote":
            return []
        count += 1
        if count % 7:
            return []
        sent += 1
        return [Order(COIN, 1 if sent % 2 else -1, 1)]

    settings = scenario(features=None, entry_latency="10ms")
    trace = simulate(settings, {(COIN, "quotes"): rows}, decide)
    assert len(got.fills) > 30
    assert [(f.order, f.venue_time, f.lots, f.ticks, f.fee) for f in got.fills] == [
        (f.order, f.venue_time, f.side * f.lots, f.ticks, f.fee) for f in trace.fills
    ]
    books = trace.venue
    assert (got.cash, got.position, got.fees) == (books.cash, books.position[COIN], books.fees)
