"""The messages between us and the venue: orders on their way there, reports on their way back.

Each direction is one connection: a message arrives after its own draw, but never before the one
that was sent before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from backtester.ledger import TradingLedger
from backtester.orders import Order, Reason, Report, ReportKind
from backtester.venue.venue import Outcome, Venue
from clock.rank import Rank
from clock.simulated import SimulatedClock

if TYPE_CHECKING:
    from backtester.latencies import ActionSamplers

__all__ = ["Gateway"]


class Gateway:
    """Carries orders to the venue and its reports back, each after a latency of its own.

    Args:
        clock: The run's clock.
        venue: The venue.
        ledger: Takes what the venue did.
        latencies: A sampler for each action.
        hear: Called with each report when it reaches us.

    Attributes:
        in_flight: Orders and reports sent and not yet arrived.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        venue: Venue,
        ledger: TradingLedger,
        latencies: ActionSamplers,
        hear: Callable[[Report], None],
    ) -> None:
        self._clock = clock
        self._venue = venue
        self._ledger = ledger
        self._latencies = latencies
        self._hear = hear
        self._last_arrival = self._last_report = 0
        self._sent = self._reports = 0
        self.in_flight = {"orders": 0, "reports": 0}

    def send(self, order: Order) -> None:
        """Send an order on its way; it leaves at its `sent_at`, which may be later than now."""
        leaves = order.sent_at
        due = leaves + self._latencies.new.draw(leaves, leaves, order.ordinal)
        self._last_arrival = max(due, self._last_arrival)
        self._sent += 1
        self.in_flight["orders"] += 1
        self._clock.call_at(
            self._last_arrival, partial(self._arrive, order), Rank.VENUE_ARRIVAL, (self._sent,)
        )

    def _arrive(self, order: Order) -> None:
        now = self._clock.now
        self.in_flight["orders"] -= 1
        outcomes = self._venue.execute(order, now)
        last = outcomes[-1]
        reason = last.reason.name.lower() if last.reason else ""
        self._ledger.arrival(order, now)
        self._ledger.ended(order.number, last.kind.name.lower(), reason)
        self.publish(order, outcomes, now)

    def publish(self, order: Order, outcomes: Sequence[Outcome], now: int) -> None:
        """Send what the venue has to say about an order on its way to us."""
        for outcome in outcomes:
            self._report(order, outcome, now, is_last=outcome is outcomes[-1])

    def _report(self, order: Order, outcome: Outcome, now: int, *, is_last: bool) -> None:
        self._reports += 1
        unit = self._venue.units[order.instrument]
        report = Report(
            number=self._reports,
            order=order.number,
            instrument=order.instrument,
            kind=outcome.kind,
            reason=Reason(outcome.reason),
            quantity=float(outcome.lots * unit.lot_size),
            venue_time=now,
            fill=outcome.fill,
            is_last=is_last,
        )
        if outcome.entry is not None:
            self._ledger.booked(report, outcome.entry)
        is_fill = outcome.kind is ReportKind.FILLED
        latency = self._latencies.fill if is_fill else self._latencies.acknowledgement
        # one draw for all that the venue says at once: it is one message's way back
        due = now + latency.draw(now, now, order.sent_at, order.ordinal)
        self._last_report = max(due, self._last_report)
        self.in_flight["reports"] += 1
        self._clock.call_at(
            self._last_report, partial(self._deliver, report), Rank.ORDER_REPORT, (report.number,)
        )

    def _deliver(self, report: Report) -> None:
        self.in_flight["reports"] -= 1
        self._hear(report)
