"""Strategies of the reference: a decision function, and scripts for the laws.

A strategy is any function `decide(event, now, fields)` that returns a list of actions. `README.md`
lists the events and their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Order:
    """Send an order: side +1 buys, -1 sells; no limit is a market order."""

    instrument: str
    side: int
    lots: int
    limit_ticks: int | None = None


@dataclass(frozen=True)
class Timer:
    """Ask for the event `timer` at an instant, not before now."""

    at: int
    name: str


Action = Order | Timer
Decide = Callable[[str, int, Mapping[str, Any]], Sequence[Action]]


def do_nothing(event: str, now: int, fields: Mapping[str, Any]) -> list[Action]:
    """Watch, and never trade."""
    return []


@dataclass(frozen=True)
class Plan:
    """What a script does, as plain data that Hypothesis can draw and print.

    Attributes:
        lots: Size of each order.
        every: For "quote", "trade", "features": an order on every n-th of them, alternating.
        threshold: Buy on a prediction above it, sell on one below minus it; None ignores them.
        most: Orders on predictions keep the position, by our fills, within this many lots.
        timers: Distances from the start at which an alternating order is sent.
        again: Ask at each timer for one more, this much later; None asks for none.
        limit_offset: Limit at the best price seen plus this many ticks; None for market orders.
        tick_size: Turns the best price seen into ticks.
        chase: How many times what was canceled is sent again, as a market order.
        unwind: How many fills are answered by the opposite order.
    """

    lots: int = 1
    every: Mapping[str, int] = field(default_factory=dict)
    threshold: float | None = None
    most: int = 3
    timers: tuple[int, ...] = ()
    again: int | None = None
    limit_offset: int | None = None
    tick_size: float = 0.5
    chase: int = 0
    unwind: int = 0


class Script:
    """The decisions of a plan. It keeps state: use a fresh one for each run."""

    def __init__(self, plan: Plan, instruments: Sequence[str]) -> None:
        self.plan, self.instruments = plan, list(instruments)
        self.counts: dict[str, int] = {}
        self.sent = 0
        self.best: dict[str, tuple[float, float]] = {}
        self.position = dict.fromkeys(instruments, 0)
        self.chased = self.unwound = 0

    def __call__(self, event: str, now: int, fields: Mapping[str, Any]) -> list[Action]:
        """Decide what to do about one event."""
        if event == "start":
            return [Timer(now + after, f"t{after}") for after in self.plan.timers]
        if event == "quote":
            self.best[fields["instrument"]] = (fields["bid_price"], fields["ask_price"])
        if event in self.plan.every:
            return self._counted(event, fields["instrument"])
        handler = getattr(self, "_on_" + event, None)
        return [] if handler is None else handler(now, fields)

    def _counted(self, event: str, instrument: str) -> list[Action]:
        self.counts[event] = self.counts.get(event, 0) + 1
        if self.counts[event] % self.plan.every[event]:
            return []
        return [self._alternating(instrument)]

    def _alternating(self, instrument: str) -> Action:
        self.sent += 1
        return self._order(instrument, 1 if self.sent % 2 else -1)

    def _order(self, instrument: str, side: int) -> Action:
        limit = None
        if self.plan.limit_offset is not None and instrument in self.best:
            bid, ask = self.best[instrument]
            ticks = round((ask if side > 0 else bid) / self.plan.tick_size)
            limit = max(1, ticks + side * self.plan.limit_offset)
        return Order(instrument, side, self.plan.lots, limit)

    def _on_prediction(self, now: int, fields: Mapping[str, Any]) -> list[Action]:
        threshold = self.plan.threshold
        if threshold is None or abs(fields["value"]) <= threshold:
            return []
        side, instrument = (1 if fields["value"] > 0 else -1), fields["instrument"]
        if abs(self.position[instrument] + side * self.plan.lots) > self.plan.most:
            return []
        return [self._order(instrument, side)]

    def _on_timer(self, now: int, fields: Mapping[str, Any]) -> list[Action]:
        actions = [self._alternating(self.instruments[self.sent % len(self.instruments)])]
        if self.plan.again is not None and not fields["name"].endswith("again"):
            actions.append(Timer(now + self.plan.again, fields["name"] + "again"))
        return actions

    def _on_order(self, now: int, fields: Mapping[str, Any]) -> list[Action]:
        if fields["kind"] != "canceled" or self.chased >= self.plan.chase:
            return []
        self.chased += 1
        return [Order(fields["instrument"], fields["side"], fields["lots"])]

    def _on_fill(self, now: int, fields: Mapping[str, Any]) -> list[Action]:
        self.position[fields["instrument"]] += fields["side"] * fields["lots"]
        if self.unwound >= self.plan.unwind:
            return []
        self.unwound += 1
        return [Order(fields["instrument"], -fields["side"], fields["lots"])]
