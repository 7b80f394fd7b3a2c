"""Law 6 as a state machine: orders, fills, fees, funding and liquidations against naive books.

The machine drives the venue's clearing through a small venue (`tests/backtester/paper_venue.py`).
Beside it stand books that keep nothing but the list of what happened and add it up anew, in
fractions and by the rules of `docs/accounts.md`: the venue's from all of it, ours from what was
reported to us.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from backtester.account import Account
from backtester.orders import Reason, ReportKind, Side
from backtester.venue.clearing import Booked
from backtester.venue.fee_models import Flat, Share, SumOfFees
from backtester.venue.margin import MarginTerms
from backtester.venue.outcome import Outcome
from tests.backtester.paper_venue import PaperVenue, Resting
from tests.backtester.worlds import instrument

SPOT = instrument("SPOT", "spot", base="COIN", fees={"maker": "-0.00011", "taker": "0.00131"})
PERP = instrument("PERP", base="COIN", fees={"maker": "0.00017", "taker": "0.00059"})
OTHER = instrument("OTHER", base="ELSE", fees={"maker": "0.00017", "taker": "0.00059"})
INVERSE = instrument("INVERSE", "inverse", base="COIN", lot_size="1", contract_size="10",
                     fees={"maker": "0", "taker": "0.00075"})  # fmt: skip
ALL = (SPOT, PERP, OTHER, INVERSE)
TERMS = {terms.id: terms for terms in ALL}
OPENING = {"USD": Fraction(100), "COIN": Fraction(2), "ELSE": Fraction(0)}
FLAT = Fraction("0.125")
LEVERAGE, MAINTENANCE, FORCED = Fraction(5), Fraction("0.1"), Fraction("0.0107")
UNIT = Fraction(1, 10**8)


def settled_in(name: str) -> str:
    """Return the currency of an instrument's cash, fees and profit."""
    return "COIN" if name == "INVERSE" else "USD"


def size(name: str) -> Fraction:
    """Return base units (an inverse contract: units of the quote currency) in a lot."""
    return Fraction(TERMS[name].lot_size) * Fraction(TERMS[name].contract_size)


def to_unit(amount: Fraction) -> Fraction:
    """Return the nearest whole ledger unit, of two as near the even one."""
    below, rest = divmod(amount / UNIT, 1)
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1)
    return (below + up) * UNIT


def value(name: str, lots: int, ticks: Fraction | int) -> Fraction:
    """Return what lots at a price are worth; long gains when it rises (inverse: when it falls)."""
    price = Fraction(ticks) / 2
    if name == "INVERSE":
        return to_unit(lots * size(name) / price)
    return lots * size(name) * price


@dataclass(frozen=True)
class Execution:
    """One fill."""

    name: str
    lots: int
    ticks: int
    is_maker: bool
    is_first: bool
    is_forced: bool

    @property
    def fee(self) -> Fraction:
        """What the page says that it costs."""
        fees, worth = TERMS[self.name].fees, value(self.name, abs(self.lots), self.ticks)
        fee = to_unit(Fraction(fees.maker if self.is_maker else fees.taker) * worth)
        if self.name == "PERP" and self.is_first:
            fee += FLAT
        return fee + (to_unit(FORCED * worth) if self.is_forced else 0)


@dataclass(frozen=True)
class Payment:
    """Funding, or what the insurance fund paid."""

    name: str
    amount: Fraction
    is_funding: bool


@dataclass
class Books:
    """What follows from a list of events, read from its first."""

    cash: dict[str, Fraction] = field(default_factory=lambda: dict(OPENING))
    sums: Counter[tuple[str, str]] = field(default_factory=Counter)
    lots: Counter[str] = field(default_factory=Counter)
    cost: Counter[str] = field(default_factory=Counter)
    last_realised: Fraction = Fraction(0)
    count: int = 0

    def add(self, events: Sequence[Execution | Payment]) -> Books:
        """Add further events; return the books themselves."""
        for event in events:
            if isinstance(event, Payment):
                currency = settled_in(event.name)
                self.cash[currency] += event.amount
                self.sums["funding" if event.is_funding else "insurance", currency] += event.amount
            else:
                self.execute(event)
            self.count += 1
        return self

    def execute(self, fill: Execution) -> None:
        """Close what the fill closes, open the rest, pay."""
        name, currency = fill.name, settled_in(fill.name)
        held, sign = self.lots[name], 1 if fill.lots > 0 else -1
        closing = min(abs(held), abs(fill.lots)) if held * fill.lots < 0 else 0
        realised = Fraction(0)
        if closing:
            # a step is a tick of a lot, or a ledger unit
            step = UNIT if name == "INVERSE" else size(name) / 2
            steps = abs(self.cost[name]) / step * closing / abs(held)
            released = math.floor(steps) * step
            got = value(name, closing, fill.ticks)
            realised = (got - released) * -sign * (-1 if name == "INVERSE" else 1)
            self.cost[name] -= released if self.cost[name] > 0 else -released
        opening = sign * (abs(fill.lots) - closing)
        self.cost[name] += value(name, opening, fill.ticks)
        self.lots[name] += fill.lots
        self.sums["realised", currency] += realised
        self.sums["maker_fees" if fill.is_maker else "taker_fees", currency] += fill.fee
        self.cash[currency] -= fill.fee
        if name == "SPOT":
            self.cash["USD"] -= value(name, fill.lots, fill.ticks)
        else:
            self.cash[currency] += realised
        self.last_realised = realised

    def balance(self, currency: str) -> Fraction:
        """Return what is held of a currency."""
        return self.cash[currency] + (self.lots["SPOT"] * size("SPOT") if currency == "COIN" else 0)

    def unrealised(self, currency: str, mids: dict[str, Fraction]) -> Fraction:
        """Return the unrealised profit of the perpetuals of a currency."""
        total = Fraction(0)
        for name, lots in self.lots.items():
            if lots and name != "SPOT" and settled_in(name) == currency:
                profit = value(name, lots, mids[name]) - self.cost[name]
                total += -profit if name == "INVERSE" else profit
        return total

    def is_short(self, currency: str, mids: dict[str, Fraction]) -> bool:
        """Return whether equity is below the maintenance margin."""
        held = [n for n, lots in self.lots.items() if lots and n != "SPOT"]
        margin = sum(
            MAINTENANCE * value(name, abs(self.lots[name]), mids[name])
            for name in held
            if settled_in(name) == currency
        )
        return self.balance(currency) + self.unrealised(currency, mids) < margin


class Watched(PaperVenue):
    """A venue that notes what happened, and is asked whether it may liquidate."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.events: list[Execution | Payment] = []
        self.insured = self.funded = self.fills = 0
        self.rate = Fraction(0)
        self._books = Books()

    def naive(self) -> Books:
        """Return what the events so far add up to."""
        return self._books.add(self.events[self._books.count :])

    def mids(self) -> dict[str, Fraction]:
        """Return the mids in ticks."""
        return {name: Fraction(bid + ask, 2) for name, (bid, ask, _) in self.books.items()}

    def publish(self, outcomes: Sequence[Outcome], now: int, rank: int) -> None:
        for outcome in outcomes:
            if outcome.fill is None:
                self.note_payment(outcome)
        super().publish(outcomes, now, rank)

    def note_payment(self, outcome: Outcome) -> None:
        """Work out what must have been paid, from what was held."""
        name, books = outcome.instrument, self.naive()
        if outcome.kind is ReportKind.FUNDING:
            worth = books.lots[name] * size(name)
            price = self.mids()[name] / 2
            exact = worth / price if name == "INVERSE" else worth * price
            amount = to_unit(-self.rate * exact)
            self.funded += 1
        else:
            currency = settled_in(name)
            assert not [n for n, lots in books.lots.items()
                        if lots and n != "SPOT" and settled_in(n) == currency]  # fmt: skip
            amount = -books.balance(currency)
            assert amount > 0
            self.insured += 1
        self.events.append(Payment(name, amount, outcome.kind is ReportKind.FUNDING))

    def force_close(self, instrument: str, now: int) -> Sequence[Outcome]:
        assert self.naive().is_short(settled_in(instrument), self.mids())
        assert not [o for o in self.resting.values()
                    if settled_in(o.instrument) == settled_in(instrument)]  # fmt: skip
        return super().force_close(instrument, now)

    def _fill(
        self,
        order: Resting,
        lots: int,
        ticks: int,
        *,
        is_maker: bool = False,
        is_forced: bool = False,
    ) -> Booked:
        execution = Execution(order.instrument, order.side * lots, ticks, is_maker,
                              order.is_first, is_forced)  # fmt: skip
        self.events.append(execution)
        self.fills += 1
        realised = self.naive().last_realised
        booked = super()._fill(order, lots, ticks, is_maker=is_maker, is_forced=is_forced)
        assert booked.fee * UNIT == execution.fee
        assert booked.entry.realised * UNIT == realised
        return booked


names = st.sampled_from([terms.id for terms in ALL])
sides = st.sampled_from([Side.BUY, Side.SELL])
prices = st.integers(60, 150)


class MoneyMachine(RuleBasedStateMachine):
    """Anything that moves money, in any order."""

    tally: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        share = Share(maker="0.00017", taker="0.00059")
        fees = {
            "PERP": SumOfFees(terms=(share, Flat(maker=str(FLAT.numerator / 8), taker="0.125")))
        }
        margin = {"default": MarginTerms(maintenance="0.1", liquidation_fee="0.0107")}
        balances = {name: str(float(amount)) for name, amount in OPENING.items()}
        self.believed = Books()
        self.venue = Watched(ALL, balances, LEVERAGE, fees, margin)
        for terms in ALL:
            self.venue.quote(terms.id, 100, 101)

    @initialize(name=st.sampled_from(["SPOT", "PERP", "INVERSE"]))
    def open_a_position(self, name: str) -> None:
        self.trade_all_in(name, Side.BUY)

    # -- what happens -----------------------------------------------------------------------------

    @rule(name=names, bid=prices, spread=st.integers(0, 3), displayed=st.integers(0, 60))
    def quote(self, name: str, bid: int, spread: int, displayed: int) -> None:
        self.venue.quote(name, bid, bid + spread, displayed)

    @rule(
        name=names | st.sampled_from(["SPOT", "PERP"]),
        side=sides,
        lots=st.integers(1, 16),
        ticks=prices,
    )
    def rest(self, name: str, side: Side, lots: int, ticks: int) -> None:
        expected = self.refusal(name, side, lots, ticks)
        assert self.venue.ask(name, side, lots, ticks) is expected
        assert (self.venue.rest(name, side, lots, ticks) == 0) == bool(expected)

    @rule(name=names, side=sides, lots=st.integers(1, 40))
    def trade(self, name: str, side: Side, lots: int) -> None:
        bid, ask, _ = self.venue.books[name]
        ticks = ask if side is Side.BUY else bid
        expected = self.refusal(name, side, lots, ticks)
        assert (self.venue.trade(name, side, lots, ticks) is None) == bool(expected)

    @rule(name=names, side=sides)
    def trade_all_in(self, name: str, side: Side) -> None:
        """Take about as much as is accepted."""
        held = self.venue.fills
        for lots in (320, 160, 80, 40, 20, 10, 5):
            if self.venue.fills == held:
                self.trade(name, side, lots)

    @rule(
        name=names,
        bid=st.sampled_from([20, 40, 55, 70, 85, 100, 115, 130, 160, 220]),
        displayed=st.sampled_from([0, 4, 400]),
    )
    def jump(self, name: str, bid: int, displayed: int) -> None:
        self.venue.quote(name, bid, bid + 1, displayed)

    @rule(name=names, step=st.integers(-6, 6))
    def drift(self, name: str, step: int) -> None:
        bid, ask, _ = self.venue.books[name]
        step = max(step, 5 - bid)
        self.venue.quote(name, bid + step, ask + step, 400)

    @precondition(lambda self: self.venue.resting)
    @rule(pick=st.integers(0, 99), lots=st.integers(1, 5) | st.just(60), better=st.integers(0, 5))
    def fill(self, pick: int, lots: int, better: int) -> None:
        number = list(self.venue.resting)[pick % len(self.venue.resting)]
        order = self.venue.resting[number]
        self.venue.fill(number, min(lots, order.lots), order.ticks - order.side * better)

    @precondition(lambda self: self.venue.resting)
    @rule(pick=st.integers(0, 99), lots=st.integers(1, 60))
    def cancel(self, pick: int, lots: int) -> None:
        number = list(self.venue.resting)[pick % len(self.venue.resting)]
        self.venue.cancel(number, min(lots, self.venue.resting[number].lots))

    @rule(name=st.sampled_from(["PERP", "OTHER", "INVERSE"]), rate=st.integers(-1000, 1000))
    def fund(self, name: str, rate: int) -> None:
        self.venue.rate = Fraction(rate, 10_000)
        self.venue.fund(name, self.venue.rate)

    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        self.venue.deliver(count)

    # -- what must hold ---------------------------------------------------------------------------

    def refusal(self, name: str, side: Side, lots: int, ticks: int) -> Reason:
        """Return what section 3 of the page says of an order."""
        books, mids = self.venue.naive(), self.venue.mids()
        if name == "SPOT":
            currency = "USD" if side is Side.BUY else "COIN"
            free = min(books.balance(currency), books.balance(currency)
                       + books.unrealised(currency, mids))  # fmt: skip
            free -= self.locked(currency) + self.initial(books, currency, {})
            enough = self.cost(side, lots, ticks) <= math.floor(free / UNIT) * UNIT
            return Reason.NONE if enough else Reason.INSUFFICIENT_FUNDS
        rests = self.rests(name)
        rests[side] += lots
        if abs(books.lots[name] + side * rests[side]) < abs(books.lots[name]):
            return Reason.NONE
        currency = settled_in(name)
        equity = books.balance(currency) + books.unrealised(currency, mids)
        margin = self.initial(books, currency, {name: rests})
        enough = margin <= equity - self.locked(currency)
        return Reason.NONE if enough else Reason.INSUFFICIENT_MARGIN

    def rests(self, name: str) -> Counter[Side]:
        """Return the lots that rest, by side."""
        rests: Counter[Side] = Counter()
        for order in self.venue.resting.values():
            if order.instrument == name:
                rests[order.side] += order.lots
        return rests

    def initial(self, books: Books, currency: str, changed: dict[str, Counter[Side]]) -> Fraction:
        """Return the initial margin of a currency."""
        total = Fraction(0)
        for name in ("PERP", "OTHER", "INVERSE"):
            rests = changed.get(name, self.rests(name))
            up, down = books.lots[name] + rests[Side.BUY], books.lots[name] - rests[Side.SELL]
            if settled_in(name) == currency:
                exposure = max(abs(up), abs(down))
                total += value(name, exposure, self.venue.mids()[name]) / LEVERAGE
        return total

    @staticmethod
    def cost(side: Side, lots: int, ticks: int) -> Fraction:
        """Return what a resting spot order locks."""
        if side is Side.SELL:
            return lots * size("SPOT")
        fee = Fraction(SPOT.fees.taker) * value("SPOT", 1, ticks)
        return value("SPOT", lots, ticks) + lots * math.ceil(fee / UNIT) * UNIT

    def locked(self, currency: str) -> Fraction:
        """Return what all orders that rest lock of a currency."""
        side = {"USD": Side.BUY, "COIN": Side.SELL}.get(currency)
        orders = [o for o in self.venue.resting.values() if o.instrument == "SPOT"]
        return sum((self.cost(o.side, o.lots, o.ticks) for o in orders if o.side is side),
                   start=Fraction(0))  # fmt: skip

    @invariant()
    def both_books_balance_and_are_what_happened(self) -> None:
        self.venue.clearing.check()
        self.venue.belief.check()
        self.agree(self.venue.account, self.venue.naive())
        told = self.venue.events[self.believed.count : self.venue.delivered]
        self.agree(self.venue.belief, self.believed.add(told))
        if self.venue.is_settled:
            assert self.venue.account.differences(self.venue.belief) == []

    def agree(self, account: Account, books: Books) -> None:
        """Assert that an account is what the naive books say."""
        for currency, wallet in account.wallets.items():
            assert wallet.cash * UNIT == books.cash[currency]
            assert account.balance(currency) * UNIT == books.balance(currency)
            for name in ("realised", "maker_fees", "taker_fees", "funding", "insurance"):
                assert getattr(wallet, name) * UNIT == books.sums[name, currency], name
        for name, terms in TERMS.items():
            assert account.position(name) == books.lots[name]
            step = -UNIT if terms.contract == "inverse" else size(name) / 2
            assert account.bases.get(name, 0) * step == books.cost[name]

    @invariant()
    def what_is_locked_is_there_and_is_what_rests(self) -> None:
        for currency in OPENING:
            locked = self.venue.clearing.locked[currency]
            assert locked * UNIT == self.locked(currency)
        assert self.venue.account.balance("ELSE") == 0

    @invariant()
    def nobody_stays_below_the_margin_while_the_book_could_take_it(self) -> None:
        books = self.venue.naive()
        for currency in ("USD", "COIN"):
            if not books.is_short(currency, self.venue.mids()):
                continue
            held = [n for n, lots in books.lots.items()
                    if lots and n != "SPOT" and settled_in(n) == currency]  # fmt: skip
            books_shown = {name: self.venue.books[name] for name in held}
            assert all(book[2] == 0 for book in books_shown.values()), (
                f"{currency} is below its margin, with {books.lots}: {books_shown}"
            )
            assert held or books.balance(currency) >= 0

    def teardown(self) -> None:
        venue = self.venue
        self.tally["examples"] += 1
        self.tally["filled"] += venue.fills > 0
        self.tally["funded"] += venue.funded > 0
        self.tally["liquidated"] += bool(venue.liquidator.instants)
        self.tally["insured"] += venue.insured > 0
