"""Plants that run things out of their order."""

from __future__ import annotations

from typing import Any

from backtester.gateway import Gateway
from backtester.sources import MarketSource
from clock.rank import Rank
from clock.simulated import SimulatedClock
from tests.mutants.express_rules import a_cancel_overtakes_its_order
from tests.mutants.planting import Patch, wrap


def polls_after_timers(patch: Patch) -> None:
    """In lockstep a loop takes its turn after the strategy's timers."""

    def make(real: Any) -> Any:
        def call_at(self: Any, instant: int, action: Any, rank: int = 8, key: Any = ()) -> Any:
            if rank == Rank.TIMER and key[:1] == (0,):
                key = (2, *key[1:])
            return real(self, instant, action, rank, key)

        return call_at

    wrap(patch, SimulatedClock, "call_at", make)


def ties_by_another_order(patch: Patch) -> None:
    """Records of one instant come in an order of names, not in the scenario's."""

    def make(real: Any) -> Any:
        def init(self: MarketSource, kind: Any, instrument: Any, fields: Any) -> None:
            real(self, kind, instrument, fields)
            self.key = (-instrument[1], -self.key[1])

        return init

    wrap(patch, MarketSource, "__init__", make)


def orders_overtake(patch: Patch) -> None:
    """Orders arrive after their own draws, whatever was sent before."""

    def make(real: Any) -> Any:
        def send(self: Gateway, order: Any) -> None:
            self._last_arrival = 0
            real(self, order)

        return send

    wrap(patch, Gateway, "send", make)
    a_cancel_overtakes_its_order(patch)


def messages_wait_for_the_next_event(patch: Patch) -> None:
    """What is due at once is delivered by the next turn of the loop, not within the instant."""

    def make(real: Any) -> Any:
        def call_at(self: Any, instant: int, action: Any, rank: int = 8, key: Any = ()) -> Any:
            late = instant == self.now and rank in (Rank.VENUE_ARRIVAL, Rank.ORDER_REPORT)
            return real(self, instant + late, action, rank, key)

        return call_at

    wrap(patch, SimulatedClock, "call_at", make)
