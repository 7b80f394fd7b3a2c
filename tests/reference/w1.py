"""The answers of workload W1 (every quote an average, every 1000th an order), in a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.reference.account import Ledger, round_half_even
from tests.reference.scenario import Instrument
from tests.reference.venue import steps_of


@dataclass(frozen=True)
class Quotes:
    """Columns of one length, sorted by event time; lists are fastest, arrays will do."""

    event_time: Sequence[int]
    receipt_time: Sequence[int]
    bid_price: Sequence[float]
    bid_quantity: Sequence[float]
    ask_price: Sequence[float]
    ask_quantity: Sequence[float]


@dataclass(frozen=True)
class Fill:
    """One fill; `lots` are signed, `fee` is in ledger units."""

    order: int
    venue_time: int
    lots: int
    ticks: int
    fee: int


@dataclass(frozen=True)
class Answer:
    """What W1 comes to: `cash` and `fees` in ledger units, `position` in lots."""

    average: float
    sent_at: list[int]
    fills: list[Fill]
    cash: int
    position: int
    fees: int


def w1(
    instrument: Instrument,
    quotes: Quotes,
    *,
    start: int,
    until: int,
    cash: Fraction,
    entry_ns: int = 10_000_000,
    every: int = 1000,
    lots: int = 1,
    alpha: float = 0.01,
) -> Answer:
    """Return the answers over `[start, until)` on a linear contract.

    The plain loop knows no refusal and no partial fill, and says so: cash must suffice, each quote
    must show enough, and a quote must stand when the first order arrives.
    """
    average, sent_at = _decide(quotes, start, until, every, alpha)
    fills = _match(instrument, quotes, start, until, [t + entry_ns for t in sent_at], lots)
    ledger = Ledger([instrument])
    money, fees, position, opened_at = ledger.units(cash), 0, 0, 0
    for fill in fills:
        if position == 0:
            opened_at = fill.ticks
        else:  # the sides alternate and the sizes are equal: this fill closes
            money += ledger.notional(instrument.id, position, fill.ticks - opened_at)
        position += fill.lots
        money -= fill.fee
        fees += fill.fee
    return Answer(average, sent_at, fills, money, position, fees)


def _decide(
    quotes: Quotes, start: int, until: int, every: int, alpha: float
) -> tuple[float, list[int]]:
    receipts = quotes.receipt_time
    average, count, sent_at = 0.0, 0, []
    for i in sorted(range(len(receipts)), key=lambda i: (receipts[i], i)):
        if not start <= receipts[i] < until:
            continue
        mid = (quotes.bid_price[i] + quotes.ask_price[i]) / 2
        average = mid if count == 0 else average + alpha * (mid - average)
        count += 1
        if count % every == 0:
            sent_at.append(int(receipts[i]))
    return average, sent_at


def _match(
    instrument: Instrument,
    quotes: Quotes,
    start: int,
    until: int,
    arrivals: list[int],
    lots: int,
) -> list[Fill]:
    ledger = Ledger([instrument])
    fills: list[Fill] = []
    present, taken = -1, {1: 0, -1: 0}
    for number, arrival in enumerate(arrivals, start=1):
        if arrival >= until:
            break
        while present + 1 < len(quotes.event_time) and quotes.event_time[present + 1] <= arrival:
            present += 1
            taken = {1: 0, -1: 0}
        assert present >= 0, "no quote stands yet"
        assert quotes.event_time[present] >= start, "no quote of this run stands yet"
        side = 1 if number % 2 else -1
        price = quotes.ask_price[present] if side > 0 else quotes.bid_price[present]
        shown = quotes.ask_quantity[present] if side > 0 else quotes.bid_quantity[present]
        taken[side] += lots
        assert taken[side] <= steps_of(shown, instrument.lot_size), "the quote shows too little"
        ticks = steps_of(price, instrument.tick_size)
        fee = round_half_even(instrument.taker * ledger.notional(instrument.id, lots, ticks))
        fills.append(Fill(number, arrival, side * lots, ticks, fee))
    return fills
