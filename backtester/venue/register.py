"""The venue's register: which orders are alive, what happened to them, what it cost."""

from __future__ import annotations

from backtester.account import LedgerEntry
from backtester.order_state import ENDED, next_state
from backtester.orders import CancelRequest, Fill, ModifyRequest, Reason, ReportKind
from backtester.venue.clearing import Clearing
from backtester.venue.live import LiveOrder
from backtester.venue.outcome import Outcome

__all__ = ["Register"]


class Register:
    """Live orders by number, and the outcomes of what is being done now.

    Args:
        clearing: The venue's money.

    Attributes:
        live: Orders that have been accepted and have not ended.
    """

    def __init__(self, clearing: Clearing) -> None:
        self.clearing = clearing
        self.live: dict[int, LiveOrder] = {}
        self._units = clearing.units
        self._outcomes: list[Outcome] = []
        self._ranks = 0

    def resume(self, ranks: int) -> None:
        """Go on after a rank among own orders."""
        self._ranks = ranks

    def next_rank(self) -> int:
        """Return the next place among own orders."""
        self._ranks += 1
        return self._ranks

    def take_outcomes(self) -> list[Outcome]:
        """Return what happened since the last call, in order."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def tell(
        self,
        live: LiveOrder,
        kind: ReportKind,
        reason: Reason = Reason.NONE,
        lots: int = 0,
        limit_ticks: int = 0,
        fill: Fill | None = None,
        entry: LedgerEntry | None = None,
    ) -> None:
        """Note what happened to an order, and move it to the state that follows."""
        order = live.order
        live.state = next_state(order, live.state, kind, is_filled=live.filled == live.total)
        has_ended = live.state in ENDED
        if has_ended:
            self.live.pop(order.number, None)
        self._outcomes.append(
            Outcome(
                kind,
                reason,
                order.number,
                order.instrument,
                order.sent_at,
                order.ordinal,
                lots,
                limit_ticks,
                fill,
                entry,
                has_ended,
            )
        )

    def refuse(
        self, kind: ReportKind, reason: Reason, request: CancelRequest | ModifyRequest
    ) -> None:
        """Note that a cancel or a change was refused; it changes no order's state."""
        self._outcomes.append(
            Outcome(
                kind, reason, request.order, request.instrument, request.sent_at, request.ordinal
            )
        )

    def fill(
        self,
        live: LiveOrder,
        lots: int,
        ticks: int,
        now: int,
        *,
        is_maker: bool,
        is_forced: bool = False,
    ) -> None:
        """Book an execution and note it."""
        order = live.order
        name = order.instrument
        booked = self.clearing.fill(
            order.number,
            name,
            order.side,
            lots,
            ticks,
            now,
            is_maker=is_maker,
            is_first=not live.filled,
            is_forced=is_forced,
        )
        live.filled += lots
        unit = self._units[name]
        fill = Fill(
            order=order.number,
            instrument=name,
            side=order.side,
            quantity=float(lots * unit.lot_size),
            price=float(ticks * unit.tick_size),
            fee=self._units.to_float(booked.fee),
            venue_time=now,
            lots=lots,
            ticks=ticks,
            fee_units=booked.fee,
            is_maker=is_maker,
        )
        reason = Reason.LIQUIDATION if is_forced else Reason.NONE
        self.tell(live, ReportKind.FILLED, reason, lots, 0, fill, booked.entry)
