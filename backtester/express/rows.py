"""What the tables of the express lane hold, as trace entries and columns of frames."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backtester.codes import Code
from backtester.columns import Coded
from backtester.express import layout as at
from backtester.ledger import Booked, TradingLedger
from backtester.orders import OrderType, Reason, ReportKind, TimeInForce
from backtester.sources import QuoteSource
from backtester.steps import Steps
from backtester.trace import EntryKind, block
from clock.rank import Rank
from inference.rows import MISSING

if TYPE_CHECKING:
    from backtester.express.lane import ExpressLane
    from backtester.timeline import Timeline

__all__ = ["measure", "take_rows"]

Array = NDArray[Any]

_LAST = tuple(int(k) for k in (ReportKind.REJECTED, ReportKind.FILLED, ReportKind.CANCELED))


def measure(lane: ExpressLane, timeline: Timeline) -> None:
    """Look up mid and staleness of what was decided on records of the present window."""
    rows = lane.messages[lane.traced["messages"] : lane.counts[at.MESSAGES]]
    later = np.flatnonzero(rows[:, at.M_SOURCE] >= 0)
    if not len(later):
        return
    for name, place in zip(lane.names, range(len(lane.names)), strict=True):
        own = later[rows[later, at.M_MARKET] == place]
        quotes = lane.engine.quotes[name]
        assert isinstance(quotes, QuoteSource)
        for code, source in enumerate(timeline.sources):
            part = own[rows[own, at.M_SOURCE] == code]
            if not len(part):
                continue
            decided = rows[part, at.M_DECIDED]
            if source is quotes:
                counts = rows[part, at.M_PLACE] + 1
            else:
                counts = quotes.seen_from(source, decided)
            mids, stamps = quotes.measured(counts)
            rows[part, at.M_PLACE] = mids.view(np.int64)
            rows[part, at.M_STALENESS] = np.where(stamps == MISSING, -1, decided - stamps)
    rows[later, at.M_SOURCE] = -1


def take_rows(lane: ExpressLane, ledger: TradingLedger) -> None:
    """Hand over what has been added to the tables since the last time."""
    counts, traced = lane.counts, lane.traced
    now = dict(zip(traced, _reached(lane), strict=True))
    if now == traced:
        return
    steps = lane.kept.setdefault("columns", None) or _Columns(lane)
    lane.kept["columns"] = steps
    messages = lane.messages
    sent = messages[traced["messages"] : counts[at.MESSAGES]]
    _take_orders(steps, ledger, sent[sent[:, at.M_KIND] == at.NEW])
    _take_changes(steps, ledger, sent[sent[:, at.M_KIND] != at.NEW])
    arrived = messages[traced["arrived"] : counts[at.ARRIVED]]
    arrived = arrived[arrived[:, at.M_KIND] == at.NEW]
    ledger.arrivals.add([arrived[:, at.M_ORDER], arrived[:, at.M_ARRIVES]])
    _take_fills(steps, ledger, lane.booked[: counts[at.BOOKED]])
    made = lane.reports[traced["made"] : counts[at.REPORTS]]
    ended = made[(made[:, at.R_IS_LAST] != 0) & np.isin(made[:, at.R_KIND], _LAST)]
    kinds, reasons = ended[:, at.R_KIND], ended[:, at.R_REASON]
    ledger.ends.add([ended[:, at.R_ORDER], Coded(kinds, _KINDS), Coded(reasons, _REASONS)])
    _take_reports(steps, ledger, lane.reports[traced["heard"] : counts[at.DELIVERED]])
    own = lane.believed[: counts[at.BELIEVED]]
    ledger.add(
        block(
            EntryKind.BELIEF_LEDGER,
            own[:, at.B_TIME],
            own[:, at.B_RANK],
            own[:, at.B_COUNT],
            own[:, at.B_MARKET : at.B_BASIS + 1],
        )
    )
    traced.update(now)
    counts[at.BOOKED] = counts[at.BELIEVED] = 0


def _reached(lane: ExpressLane) -> tuple[int, ...]:
    counts = lane.counts
    return counts[at.MESSAGES], counts[at.ARRIVED], counts[at.REPORTS], counts[at.DELIVERED]


class _Columns:
    """Whole numbers of several instruments as the floats and words that frames hold."""

    def __init__(self, lane: ExpressLane) -> None:
        units = lane.venue.units
        self._names = (*lane.names, "")
        self._ticks = [Steps(units[name].tick_size) for name in lane.names]
        self._lots = [Steps(units[name].lot_size) for name in lane.names]
        self._money = Steps(Fraction(1, units.per_currency))
        self._currencies = tuple(units[name].currency for name in lane.names)

    def names(self, markets: Array) -> Coded:
        """Return ids of instruments; of none, where the place is -1, an empty text."""
        return Coded(np.where(markets < 0, len(self._names) - 1, markets), self._names)

    def currencies(self, markets: Array) -> Coded:
        """Return the currencies that instruments are settled in."""
        return Coded(markets, self._currencies)

    def prices(self, markets: Array, ticks: Array) -> Array:
        """Return ticks as prices, NaN for 0."""
        return np.where(ticks == 0, np.nan, self._scaled(self._ticks, markets, ticks))

    def quantities(self, markets: Array, lots: Array) -> Array:
        """Return lots in base units."""
        return self._scaled(self._lots, markets, lots)

    def money(self, units: Array) -> Array:
        """Return ledger units in currency."""
        return self._money.floats(units)

    def _scaled(self, steps: Sequence[Steps], markets: Array, whole: Array) -> Array:
        if len(steps) == 1:
            return steps[0].floats(whole)
        result = np.zeros(len(whole))
        for place, step in enumerate(steps):
            own = markets == place
            result[own] = step.floats(whole[own])
        return result


def _words(codes: type[Code]) -> tuple[str, ...]:
    words = [""] * (max(codes) + 1)
    for code in codes:
        words[code] = code.word
    return tuple(words)


_KINDS, _TYPES, _FORCES = _words(ReportKind), _words(OrderType), _words(TimeInForce)
_REASONS = ("", *_words(Reason)[1:])


def _take_orders(steps: _Columns, ledger: TradingLedger, new: Array) -> None:
    if not len(new):
        return
    size = len(new)
    zeros, markets = np.zeros(size, np.int64), new[:, at.M_MARKET]
    kinds, lots, ticks = new[:, at.M_TYPE], new[:, at.M_LOTS], new[:, at.M_TICKS]
    words = (
        markets, new[:, at.M_SIDE], kinds, lots, ticks, new[:, at.M_SENT], new[:, at.M_FORCE],
        zeros, new[:, at.M_FLAGS], zeros, zeros, zeros,
    )  # fmt: skip
    ledger.add(
        block(
            EntryKind.ORDER,
            new[:, at.M_DECIDED],
            new[:, at.M_RANK],
            new[:, at.M_ORDER],
            np.stack(words, axis=1),
        )
    )
    ledger.orders.add(
        [
            new[:, at.M_ORDER],
            new[:, at.M_DECIDED],
            new[:, at.M_SENT],
            steps.names(markets),
            new[:, at.M_SIDE],
            Coded(kinds, _TYPES),
            Coded(new[:, at.M_FORCE], _FORCES),
            steps.quantities(markets, lots),
            steps.prices(markets, ticks),
            np.full(size, np.nan),
            new[:, at.M_PLACE].copy().view(np.float64),
            new[:, at.M_STALENESS],
        ]
    )


def _take_changes(steps: _Columns, ledger: TradingLedger, rows: Array) -> None:
    if not len(rows):
        return
    markets, lots, ticks = rows[:, at.M_MARKET], rows[:, at.M_LOTS], rows[:, at.M_TICKS]
    is_cancel = (rows[:, at.M_KIND] == at.CANCEL).astype(np.int64)
    words = (markets, rows[:, at.M_ORDER], rows[:, at.M_SENT], is_cancel, lots, ticks)
    ledger.add(
        block(
            EntryKind.CHANGE,
            rows[:, at.M_DECIDED],
            rows[:, at.M_RANK],
            rows[:, at.M_CHANGE],
            np.stack(words, axis=1),
        )
    )
    ledger.order_changes.add(
        [
            Coded(is_cancel, ("modify", "cancel")),
            rows[:, at.M_ORDER],
            steps.names(markets),
            rows[:, at.M_DECIDED],
            rows[:, at.M_SENT],
            rows[:, at.M_ARRIVES],
            np.where(lots == 0, np.nan, steps.quantities(markets, lots)),
            steps.prices(markets, ticks),
            rows[:, at.M_PLACE].copy().view(np.float64),
        ]
    )


def _take_fills(steps: _Columns, ledger: TradingLedger, rows: Array) -> None:
    if not len(rows):
        return
    markets, lots = rows[:, at.B_MARKET], rows[:, at.B_LOTS]
    ledger.add(
        block(
            EntryKind.VENUE_LEDGER,
            rows[:, at.B_TIME],
            rows[:, at.B_RANK],
            rows[:, at.B_COUNT],
            rows[:, at.B_MARKET : at.B_BASIS + 1],
        )
    )
    after = (rows[:, at.B_CASH], rows[:, at.B_POSITION], rows[:, at.B_BASIS])
    ledger.add_booked(Booked(rows[:, at.B_TIME].copy(), markets.copy(), *(c.copy() for c in after)))
    closed = rows[:, at.B_CLOSED] != 0
    ledger.fills.add(
        [
            rows[:, at.B_REPORT],
            rows[:, at.B_ORDER],
            rows[:, at.B_TIME],
            steps.names(markets),
            rows[:, at.B_SIDE],
            steps.quantities(markets, np.abs(lots)),
            steps.prices(markets, rows[:, at.B_TICKS]),
            Coded(rows[:, at.B_IS_MAKER], ("taker", "maker")),
            steps.currencies(markets),
            steps.money(rows[:, at.B_FEE]),
            steps.money(rows[:, at.B_REALISED]),
            np.where(closed, steps.money(rows[:, at.B_NET]), np.nan),
            steps.quantities(markets, rows[:, at.B_POSITION]),
        ]
    )


def _take_reports(steps: _Columns, ledger: TradingLedger, told: Array) -> None:
    if not len(told):
        return
    kinds, lots = told[:, at.R_KIND], told[:, at.R_LOTS]
    is_fill = kinds == int(ReportKind.FILLED)
    words = (
        told[:, at.R_ORDER], kinds, told[:, at.R_REASON], told[:, at.R_VENUE_TIME],
        np.where(is_fill, lots, 0), told[:, at.R_TICKS], told[:, at.R_FEE],
    )  # fmt: skip
    visible = told[:, at.R_VISIBLE]
    ledger.add(
        block(
            EntryKind.REPORT,
            visible,
            int(Rank.ORDER_REPORT),
            told[:, at.R_NUMBER],
            np.stack(words, axis=1),
        )
    )
    ledger.reports.add(
        [
            told[:, at.R_NUMBER],
            told[:, at.R_ORDER],
            Coded(kinds, _KINDS),
            Coded(told[:, at.R_REASON], _REASONS),
            steps.quantities(told[:, at.R_MARKET], lots),
            told[:, at.R_VENUE_TIME],
            visible,
        ]
    )
