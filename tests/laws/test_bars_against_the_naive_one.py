"""The venue of bars says what a naive one says, over generated bars and orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.orders import CancelRequest, Side, TimeInForce
from backtester.venue.outcome import Outcome
from tests.backtester.test_venue_bars import Bar, Exchange, cross
from tests.backtester.worlds import ALPHA, at, since
from tests.laws.examples import hunt, law
from tests.mutants.bar_rules import PLANTS
from tests.reference.bars import FOK, GTC, IOC, Ask, Candle, NaiveBars, Withdraw

pytestmark = pytest.mark.slow

EXAMPLES = 200
UNTIL = 130
OFTEN = (
    "filled",
    "triggered",
    "canceled:post_only",
    "canceled:fill_or_kill",
    "canceled:unfilled_remainder",
    "canceled:requested",
    "expired:expired",
)
"""What the examples must have said often enough to tell of it."""
FORCES = {GTC: TimeInForce.GTC, IOC: TimeInForce.IOC, FOK: TimeInForce.FOK}


class Heard(Exchange):
    """The venue; what it says is kept in the naive one's words."""

    def _keep(self, outcomes: Sequence[Outcome]) -> None:
        now = round(since(self.clock.now))
        for said in outcomes:
            what: tuple[Any, ...] = (now, said.number, said.kind.word)
            if said.reason:
                what = (now, said.number, f"{said.kind.word}:{said.reason.word}")
            if said.fill is not None:
                what += (said.lots, said.fill.ticks, said.fill.is_maker)
            self.said.append(what)  # type: ignore[arg-type]


prices = st.integers(196, 204)


@st.composite
def markets(draw: st.DrawFn) -> list[Bar]:
    """Draw bars of ten ms with gaps, of few prices, so that highs and lows are often equal."""
    bars, begins = [Bar(0)], 0
    for _ in range(draw(st.integers(2, 7))):
        begins += 10 + draw(st.sampled_from([0, 0, 0, 5, 10]))
        four = [draw(prices) for _ in range(4)]
        volume = draw(st.sampled_from([0, 1, 3, 6, 100]))
        bars.append(Bar(begins, four[0], max(four), min(four), four[3], volume))
    return bars


@st.composite
def messages(draw: st.DrawFn) -> list[Ask | Withdraw]:
    """Draw orders of every type that bars know, and cancels of some of them, as they arrive."""
    drawn: list[Ask | Withdraw] = []
    instants = st.integers(8, 75) | st.sampled_from([10, 20, 30, 40])
    count = 0
    for now in sorted(draw(st.lists(instants, min_size=2, max_size=8))):
        if count and draw(st.integers(0, 4)) == 0:
            drawn.append(Withdraw(now, draw(st.integers(1, count))))
            continue
        limit = draw(st.just(0) | prices | prices)
        stop = draw(st.just(0) | st.just(0) | prices)
        force = draw(st.sampled_from([GTC, GTC, GTC, IOC, FOK])) if limit else IOC
        post = bool(limit) and not stop and force == GTC and draw(st.booleans())
        expires = draw(st.just(10**9) | st.integers(now, now + 40))
        lots, side = draw(st.integers(1, 5)), draw(st.sampled_from([1, -1]))
        drawn.append(Ask(now, side, lots, limit, stop, force, post, expires))
        count += 1
    return drawn


def told(bars: list[Bar], asked: list[Ask | Withdraw], cut: int) -> list[tuple[Any, ...]]:
    """Return what the venue says, with a window's border before bar *cut* closes."""
    exchange: Any = Heard(bars[:cut], bars[cut:])
    border = bars[cut].ms + 10 if cut < len(bars) else UNTIL
    for message in asked:
        if message.at >= border and exchange.windows:
            exchange = cross(exchange, border)
        if isinstance(message, Withdraw):
            exchange.send(message.at, CancelRequest(message.order, ALPHA, 0, 100))
            continue
        more: dict[str, Any] = {"time_in_force": FORCES[message.force]}
        if message.expires < 10**9:
            more["expires_at"] = at(message.expires)
        if message.is_post_only:
            more["is_post_only"] = True
        side = Side(message.side)
        exchange.send(message.at, exchange.order(
            side, message.lots, message.limit or None, message.stop or None, **more))  # fmt: skip
    if exchange.windows:
        exchange = cross(exchange, border)
    said: list[tuple[Any, ...]] = exchange.until(UNTIL).said
    return said


def check(data: st.DataObject) -> Counter[str]:
    """Compare both on an example; return how often each thing was said."""
    bars, asked = data.draw(markets()), data.draw(messages())
    cut = data.draw(st.integers(1, len(bars)))
    candles = [Candle(b.ms, b.ms + 10, b.open, b.high, b.low, b.close, b.lots) for b in bars]
    naive = NaiveBars(candles).run(asked, UNTIL)
    assert told(bars, asked, cut) == naive
    return Counter(said[2] for said in naive)


def test_the_venue_of_bars_says_what_the_naive_one_says() -> None:
    counts: Counter[str] = Counter()

    @law(EXAMPLES)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        counts.update(check(data))

    compare()
    for what in OFTEN:
        assert counts[what] >= 10, f"too few were {what}: {counts}"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_comparison_of_bars_fails_on(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    @hunt(EXAMPLES)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        check(data)

    with pytest.raises(AssertionError):
        compare()
