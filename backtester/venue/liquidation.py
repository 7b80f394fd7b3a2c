"""Liquidation: when equity no longer covers the maintenance margin, the venue closes positions.

As the market is exogenous, the instant at which that will happen is found by looking ahead over
the marks of the present window; a fill or a payment changes the answer and asks anew. Nearly
always the least favourable mark of the window suffices to know that nothing will happen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backtester.account import Booking, LedgerEntry
from backtester.orders import Reason, ReportKind
from backtester.venue.outcome import Outcome
from clock.base import NEVER, Clock
from clock.rank import Rank
from featurizer.market import Array

if TYPE_CHECKING:
    from backtester.venue.clearing import Clearing

__all__ = ["LiquidatingVenue", "Liquidator", "payment"]

_AFTER_ALL_FILLS = 2**62
"""First word of its key among what is matched at an instant."""


class LiquidatingVenue(Protocol):
    """What the liquidator asks of the venue."""

    def marks(self, instrument: str) -> tuple[Array, Array]:
        """Return instants and twice the mids, in ticks, of the present window. Shape (n,) each."""

    def twice_mids(self) -> Mapping[str, int]:
        """Return twice the present mid of each instrument that has been quoted, in ticks."""

    def cancel_held(
        self, instruments: Sequence[str], now: int, reason: Reason
    ) -> Sequence[Outcome]:
        """Cancel every live order of some instruments."""

    def force_close(self, instrument: str, now: int) -> Sequence[Outcome]:
        """Close a position by a market order of the venue's own, as far as the book goes."""

    def publish(self, outcomes: Sequence[Outcome], now: int, rank: int) -> None:
        """Send what happened on its way to us."""


class Liquidator:
    """Watches the equity of each currency against the maintenance margin of its perpetuals.

    Equity is compared after each mark (the venue's mid, after all records of its instant) and
    after each fill and payment. When it lies below the margin, all orders that involve the
    currency are canceled, then the positions are closed one after another, in the order of the
    scenario, until equity suffices again. What the book cannot take waits for the next mark. A
    wallet that is left below zero without a position is filled up by the insurance fund.

    Args:
        clearing: The venue's money.
        clock: The run's clock.
        venue: Cancels and closes.

    Attributes:
        instants: When positions were closed, and in which currency, in order.
    """

    def __init__(self, clearing: Clearing, clock: Clock, venue: LiquidatingVenue) -> None:
        self._clearing, self._clock, self._venue = clearing, clock, venue
        self._margin = clearing.margin
        self._currencies = [name for name, own in self._margin.perpetuals.items() if own]
        self._due = dict.fromkeys(self._currencies, NEVER)
        self._extremes: dict[str, tuple[int, int]] = {}
        self._is_closing = False
        self._bookings = 0
        self.instants: list[tuple[int, str]] = []

    def open_window(self) -> None:
        """Look ahead over a new window: the venue shows its marks already."""
        self._extremes = {}
        for currency in self._currencies:
            self._due[currency] = NEVER
            if self._margin.held(currency):
                self._look_ahead(currency, None)

    def after(self, now: int) -> None:
        """Look ahead anew, if there were fills or payments at *now*."""
        if self._is_closing or self._clearing.bookings == self._bookings:
            return  # what has not changed needs no other answer
        self._bookings = self._clearing.bookings
        for currency in self._currencies:
            self._ask_anew(currency, now)

    def _ask_anew(self, currency: str, now: int) -> None:
        is_held = bool(self._margin.held(currency))
        mids = self._venue.twice_mids() if is_held else {}
        if self._margin.cushion(currency, mids) < 0:
            self._call_at(now, currency)
        elif is_held:
            self._look_ahead(currency, now)
        else:
            self._due[currency] = NEVER

    def _look_ahead(self, currency: str, after: int | None) -> None:
        if self._may_fall_short(currency):
            due = self._first_shortfall(currency, after)
            if due is not None:
                self._call_at(due, currency)
                return
        self._due[currency] = NEVER

    def _call_at(self, instant: int, currency: str) -> None:
        if self._due[currency] == instant:
            return  # it is on the clock already
        self._due[currency] = instant
        place = self._currencies.index(currency)
        action = partial(self._act, currency, instant)
        self._clock.call_at(instant, action, Rank.MATCHING, (_AFTER_ALL_FILLS, place))

    def _may_fall_short(self, currency: str) -> bool:
        """Return whether equity could fall short at the least favourable marks of the window."""
        present = self._venue.twice_mids()
        worst = {}
        for name in self._margin.held(currency):
            low, high = self._extreme_marks(name)
            marks = (min(low, present[name]), max(high, present[name]))
            worst[name] = min(marks, key=partial(self._margin.contribution, name))
        return self._margin.cushion(currency, worst) < 0

    def _extreme_marks(self, name: str) -> tuple[int, int]:
        found = self._extremes.get(name)
        if found is None:
            marks = self._venue.marks(name)[1]
            found = (int(marks.min()), int(marks.max())) if len(marks) else (2**62, 0)
            self._extremes[name] = found
        return found

    def _first_shortfall(self, currency: str, after: int | None) -> int | None:
        """Return the first instant, later than *after*, at which equity falls short."""
        held = self._margin.held(currency)
        marks = {name: self._venue.marks(name) for name in held}
        instants = np.unique(np.concatenate([times for times, _ in marks.values()]))
        if after is not None:
            instants = instants[instants.searchsorted(after, side="right") :]
        present = self._venue.twice_mids()
        sampled = {}
        for name, (times, mids) in marks.items():
            place = times.searchsorted(instants, side="right")
            # before its first record of the window a mark is what it was
            known = np.concatenate([[present[name]], mids])
            sampled[name] = known[place]
        return self._search(currency, instants, sampled)

    def _search(self, currency: str, instants: Array, sampled: Mapping[str, Array]) -> int | None:
        """Return the first instant of a shortfall: floats say where to look, integers decide."""
        if not len(instants):
            return None
        near = self._margin.near_shortfall(currency, sampled)
        columns = [mids[near].tolist() for mids in sampled.values()]
        for place, values in zip(near.tolist(), zip(*columns, strict=True), strict=True):
            if self._margin.cushion(currency, dict(zip(sampled, values, strict=True))) < 0:
                return int(instants[place])
        return None

    def _act(self, currency: str, instant: int) -> None:
        if self._due[currency] != instant:
            return  # a fill or a payment has changed the answer
        self._due[currency] = NEVER
        if self._margin.cushion(currency, self._venue.twice_mids()) >= 0:
            self._ask_anew(currency, instant)
            return
        held = dict(self._clearing.account.positions)
        self._is_closing = True
        outcomes = self._close(currency, instant)
        self._is_closing = False
        self._bookings = self._clearing.bookings
        if held != self._clearing.account.positions:
            self.instants.append((instant, currency))
        self._venue.publish(outcomes, instant, Rank.MATCHING)
        if self._margin.held(currency):
            # what the book could not take waits for its next record; no other currency is touched
            self._look_ahead(currency, instant)

    def _close(self, currency: str, now: int) -> list[Outcome]:
        units = self._clearing.units
        involved = [
            name
            for name in units.instruments
            if currency in (units[name].currency, units[name].base)
        ]
        outcomes = list(self._venue.cancel_held(involved, now, Reason.LIQUIDATION))
        for name in self._margin.held(currency):
            outcomes += self._venue.force_close(name, now)
            if self._margin.cushion(currency, self._venue.twice_mids()) >= 0:
                break
        entry = self._clearing.insure(currency)
        if entry is not None:
            outcomes.append(payment(entry, now, units.instruments))
        return outcomes


def payment(entry: LedgerEntry, now: int, instruments: Sequence[str]) -> Outcome:
    """Return what there is to say about a payment that was booked.

    It is about no order: its number is 0. Its ordinal is below those of all orders, and each
    instrument has its own.
    """
    is_funding = entry.booking is Booking.FUNDING
    return Outcome(
        kind=ReportKind.FUNDING if is_funding else ReportKind.INSURANCE,
        reason=Reason.NONE,
        number=0,
        instrument=entry.instrument,
        sent_at=now,
        ordinal=-1 - instruments.index(entry.instrument),
        lots=0,
        limit_ticks=0,
        fill=None,
        entry=entry,
        is_last=True,
    )
