"""A naive venue of bars, written from section 10 of `docs/venue.md` alone.

It lives from one instant to the next and keeps plain lists. Instants are whole ms, prices ticks,
quantities lots. It keeps no money: whoever compares with it gives the other side enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MARKET, LIMIT, STOP, STOP_LIMIT = "market", "limit", "stop", "stop limit"
GTC, IOC, FOK = "gtc", "ioc", "fok"
Said = tuple[int, int, str] | tuple[int, int, str, int, int, bool]
"""(instant, order, what), of a fill also lots, ticks and whether the order was there before."""


class Candle(NamedTuple):
    """One bar, from `begins` to `ends`."""

    begins: int
    ends: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Ask(NamedTuple):
    """An order that arrives; a limit or a stop of 0 is none."""

    at: int
    side: int
    lots: int
    limit: int = 0
    stop: int = 0
    force: str = GTC
    is_post_only: bool = False
    expires: int = 10**9


class Withdraw(NamedTuple):
    """A cancel that arrives."""

    at: int
    order: int


@dataclass
class Own:
    """An order that was accepted, in the order of acceptance."""

    number: int
    ask: Ask
    left: int
    open_since: int
    waits_for_its_stop: bool
    has_seen_a_bar: bool = False
    is_over: bool = False

    @property
    def is_immediate(self) -> bool:
        """Whether it wants the open or nothing."""
        return not self.ask.limit or self.ask.force != GTC


@dataclass
class NaiveBars:
    """The venue: `pass_time` to an instant, then what arrives at it.

    Attributes:
        said: Everything that it said.
    """

    candles: list[Candle]
    own: list[Own] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    volume: int = 0
    count: int = 0

    def run(self, messages: list[Ask | Withdraw], until: int) -> list[Said]:
        """Live through every instant up to *until*; return what was said."""
        for now in range(until + 1):
            for candle in self.candles:
                if candle.ends == now and candle.volume:
                    self.let_pass(candle, now)
            for own in self.own:
                if not own.is_over and own.ask.expires <= now:
                    self.end(own, now, "expired:expired")
            for message in messages:
                if message.at == now:
                    self.take_in(message, now)
        return self.said

    def take_in(self, message: Ask | Withdraw, now: int) -> None:
        """An order or a cancel arrives."""
        if isinstance(message, Withdraw):
            for own in self.own:
                if own.number == message.order and not own.is_over:
                    self.end(own, now, "canceled:requested")
                    return
            self.said.append((now, message.order, "cancel_rejected:not_open"))
            return
        self.count += 1
        if not any(candle.ends <= now for candle in self.candles):
            self.said.append((now, self.count, "rejected:no_market"))
        elif message.expires <= now:
            self.said.append((now, self.count, "rejected:expired"))
        else:
            self.own.append(Own(self.count, message, message.lots, now, bool(message.stop)))
            self.said.append((now, self.count, "accepted"))

    def let_pass(self, candle: Candle, now: int) -> None:
        """The three rounds of a bar with volume, over the orders that were there at its open."""
        self.volume = candle.volume
        there = [own for own in self.own if not own.is_over and own.open_since <= candle.begins]
        for own in there:
            if own.is_immediate and not own.waits_for_its_stop:
                self.want_the_open(own, candle, now)
        rests = [own for own in there if not own.waits_for_its_stop and not own.is_immediate]
        for own in there:
            if own.waits_for_its_stop and not own.is_over:
                self.maybe_trigger(own, candle, now)
        for own in rests:
            self.maybe_reach(own, candle, now)

    def want_the_open(self, own: Own, candle: Candle, now: int) -> None:
        """The first round."""
        ask, lots = own.ask, min(own.left, self.volume)
        if ask.limit and ((candle.open > ask.limit) if ask.side > 0 else (candle.open < ask.limit)):
            lots = 0
        if ask.force == FOK and lots < own.left:
            self.end(own, now, "canceled:fill_or_kill")
            return
        self.fill(own, lots, candle.open, now, was_there=False)
        self.end(own, now, "canceled:unfilled_remainder")

    def maybe_trigger(self, own: Own, candle: Candle, now: int) -> None:
        """The second round."""
        ask = own.ask
        if ask.side > 0 and candle.high < ask.stop:
            return
        if ask.side < 0 and candle.low > ask.stop:
            return
        self.said.append((now, own.number, "triggered"))
        own.waits_for_its_stop, own.open_since = False, now
        if not ask.limit:
            if ask.side > 0:
                ticks = max(candle.open, ask.stop)
            else:
                ticks = min(candle.open, ask.stop)
            self.fill(own, min(own.left, self.volume), ticks, now, was_there=False)
            self.end(own, now, "canceled:unfilled_remainder")

    def maybe_reach(self, own: Own, candle: Candle, now: int) -> None:
        """The third round."""
        ask, is_first = own.ask, not own.has_seen_a_bar
        own.has_seen_a_bar = True
        lots = min(own.left, self.volume)
        if ask.side > 0:
            at_open, through = candle.open <= ask.limit, candle.low < ask.limit
        else:
            at_open, through = candle.open >= ask.limit, candle.high > ask.limit
        if is_first and at_open:
            if ask.is_post_only:
                self.end(own, now, "canceled:post_only")
            else:
                self.fill(own, lots, candle.open, now, was_there=False)
        elif through:
            self.fill(own, lots, ask.limit, now, was_there=True)

    def fill(self, own: Own, lots: int, ticks: int, now: int, *, was_there: bool) -> None:
        """Execute so many lots, if any."""
        if lots:
            self.volume -= lots
            own.left -= lots
            own.is_over = not own.left
            self.said.append((now, own.number, "filled", lots, ticks, was_there))

    def end(self, own: Own, now: int, what: str) -> None:
        """Let what is left of an order go."""
        if not own.is_over:
            own.is_over = True
            self.said.append((now, own.number, what))
