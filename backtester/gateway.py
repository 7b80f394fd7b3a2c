"""The messages between us and the venue: orders on their way there, reports on their way back.

Each direction is one connection: a message arrives after its own draw, but never before the one
that was sent before it, whatever the two are about.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from backtester.account import Booking
from backtester.ledger import TradingLedger
from backtester.orders import (
    CancelRequest,
    Message,
    ModifyRequest,
    Order,
    OrderGroup,
    Report,
    ReportKind,
)
from backtester.venue.outcome import Outcome
from backtester.venue.venue import Venue
from clock.rank import Rank
from clock.simulated import SimulatedClock

if TYPE_CHECKING:
    from backtester.admission import Admission
    from backtester.latencies import ActionSamplers
    from clock.sampler import Sampler

__all__ = ["Gateway"]

_K = ReportKind
_ENDS = frozenset((_K.REJECTED, _K.FILLED, _K.CANCELED, _K.EXPIRED))


class Gateway:
    """Carries messages to the venue and its reports back, each after a latency of its own.

    Args:
        clock: The run's clock.
        venue: The venue.
        ledger: Takes what the venue did.
        latencies: A sampler for each action.
        admission: The venue's door.
        hear: Called with each report when it reaches us.

    Attributes:
        in_flight: Orders, changes of orders (cancels too) and reports sent and not yet arrived.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        venue: Venue,
        ledger: TradingLedger,
        latencies: ActionSamplers,
        admission: Admission,
        hear: Callable[[Report], None],
    ) -> None:
        self._clock = clock
        self._venue = venue
        self._ledger = ledger
        self._admission = admission
        self._hear = hear
        self._fill, self._acknowledgement = latencies.fill, latencies.acknowledgement
        self._entry: dict[type[Message], Sampler] = {
            Order: latencies.new,
            OrderGroup: latencies.new,
            CancelRequest: latencies.cancel,
            ModifyRequest: latencies.modify,
        }
        self._last_arrival = self._last_report = 0
        self._sent = self._reports = 0
        self.in_flight = {"orders": 0, "changes": 0, "reports": 0}

    @property
    def is_open(self) -> bool:
        """Whether the venue's door lets everything in."""
        return self._admission.is_open

    # --- there ---------------------------------------------------------------------------------

    def send(self, message: Message) -> int:
        """Send a message on its way; it leaves at its `sent_at`, which may be later than now.

        Returns:
            The instant at which it will arrive.
        """
        leaves = message.sent_at
        due = leaves + self._entry[type(message)].draw(leaves, leaves, message.ordinal)
        self._last_arrival = max(due, self._last_arrival)
        self._sent += 1
        self._count(message, 1)
        self._clock.call_at(
            self._last_arrival, partial(self._arrive, message), Rank.VENUE_ARRIVAL, (self._sent,)
        )
        return self._last_arrival

    def _count(self, message: Message, sign: int) -> None:
        if isinstance(message, Order):
            self.in_flight["orders"] += sign
        elif isinstance(message, OrderGroup):
            self.in_flight["orders"] += sign * len(message.orders)
        else:
            self.in_flight["changes"] += sign

    def _arrive(self, message: Message) -> None:
        now = self._clock.now
        self._count(message, -1)
        for order in _orders_of(message):
            self._ledger.arrival(order, now)
        outcomes = self._refused(message, now) or self._venue.receive(message, now)
        self.publish(outcomes, now, Rank.VENUE_ARRIVAL)

    def _refused(self, message: Message, now: int) -> Sequence[Outcome]:
        """Return what the venue's door says, nothing where it lets the message in."""
        if self._admission.is_open or isinstance(message, CancelRequest):
            return ()
        sent_at, ordinal = message.sent_at, message.ordinal
        name = message.instrument
        reason = self._admission.refusal(name, now, sent_at, ordinal)
        if not reason:
            return ()
        if isinstance(message, ModifyRequest):
            kind = _K.MODIFY_REJECTED
            return [Outcome(kind, reason, message.order, name, sent_at, ordinal)]
        return [
            Outcome(_K.REJECTED, reason, o.number, name, sent_at, ordinal, o.lots, is_last=True)
            for o in _orders_of(message)
        ]

    # --- from the express lane -----------------------------------------------------------------

    def resume(self, last_arrival: int, reports: int, last_report: int) -> None:
        """Go on after what the express lane has sent; what is on its way has been taken over.

        Args:
            last_arrival: When the last message arrives.
            reports: Number of the newest report.
            last_report: When it arrives.
        """
        self._last_arrival, self._last_report = last_arrival, last_report
        self._reports = reports

    def resume_message(self, message: Message, arrives_at: int) -> None:
        """Take over a message that is on its way."""
        self._sent += 1
        self._count(message, 1)
        action = partial(self._arrive, message)
        self._clock.call_at(arrives_at, action, Rank.VENUE_ARRIVAL, (self._sent,))

    def resume_report(self, report: Report, visible_at: int) -> None:
        """Take over a report that is on its way."""
        self.in_flight["reports"] += 1
        action = partial(self._deliver, report)
        self._clock.call_at(visible_at, action, Rank.ORDER_REPORT, (report.number,))

    # --- and back ------------------------------------------------------------------------------

    def publish(self, outcomes: Sequence[Outcome], now: int, rank: int) -> None:
        """Send what the venue has to say on its way to us.

        Args:
            outcomes: What happened, in order.
            now: The present instant.
            rank: Rank at which it happened: of an arrival, or of what happens by itself.
        """
        for outcome in outcomes:
            self._report(outcome, now, rank)

    def _report(self, outcome: Outcome, now: int, rank: int) -> None:
        self._reports += 1
        kind = outcome.kind
        report = self._report_of(outcome, now)
        if outcome.entry is not None:
            self._ledger.booked(report, outcome.entry, rank)
        if outcome.is_last and kind in _ENDS:
            reason = outcome.reason.word if outcome.reason else ""
            self._ledger.ended(outcome.number, kind.word, reason)
        latency = self._fill if kind is _K.FILLED else self._acknowledgement
        # one draw for all that the venue says of an order at once: it is one message's way back
        due = now + latency.draw(now, now, outcome.sent_at, outcome.ordinal)
        self._last_report = max(due, self._last_report)
        self.in_flight["reports"] += 1
        self._clock.call_at(
            self._last_report, partial(self._deliver, report), Rank.ORDER_REPORT, (report.number,)
        )

    def _report_of(self, outcome: Outcome, now: int) -> Report:
        entry = outcome.entry
        units = self._venue.units
        amount = 0 if entry is None or entry.booking is Booking.FILL else entry.amount
        lots = outcome.lots
        # by place: with names it takes twice as long, and there are several for every order
        return Report(
            self._reports,
            outcome.number,
            outcome.instrument,
            outcome.kind,
            outcome.reason,
            float(lots * units[outcome.instrument].lot_size) if lots else 0.0,
            now,
            outcome.fill,
            outcome.is_last,
            lots,
            outcome.limit_ticks,
            units.to_float(amount) if amount else 0.0,
            amount,
        )

    def _deliver(self, report: Report) -> None:
        self.in_flight["reports"] -= 1
        self._hear(report)


def _orders_of(message: Message) -> tuple[Order, ...]:
    """Return the orders that are new in a message."""
    if isinstance(message, OrderGroup):
        return message.orders
    return (message,) if isinstance(message, Order) else ()
