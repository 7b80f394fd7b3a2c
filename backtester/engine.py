"""The loop of the trading plane: hands over what is visible, runs what the strategy caused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any

from backtester.account import Account, Units
from backtester.context import Context
from backtester.errors import OrderError, StrategyError
from backtester.ledger import TradingLedger
from backtester.orders import Order, OrderType, Reason, Report, ReportKind, Side
from backtester.sources import ItemSource, Place, QuoteSource
from backtester.strategy import Strategy
from backtester.timeline import Timeline
from backtester.venue.venue import Outcome, Venue
from clock.errors import InputError, SimulationError, TimeWentBackwardsError
from clock.rank import Rank
from clock.simulated import SimulatedClock
from clock.units import format_instant
from inference.rows import MISSING

if TYPE_CHECKING:
    import numpy as np

    from backtester.records import FeatureRow, Prediction
    from clock.sampler import Sampler

__all__ = ["Engine"]

_BEFORE_EVERYTHING = -1
_NEVER = -1

Handler = Callable[[Any, Any], None]


class Engine:
    """One strategy, one venue and the messages between them, on one clock.

    Args:
        clock: The run's clock.
        strategy: The strategy; only what it overrides is called.
        instruments: Ids in the order of the scenario.
        units: Integers of the instruments.
        venue: The venue, with its own account of us.
        belief: Our account, fed by reports.
        latencies: Samplers of the order entry and the order response latency.
        random: The strategy's generator.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        strategy: Strategy,
        instruments: tuple[str, ...],
        units: Units,
        venue: Venue,
        belief: Account,
        latencies: tuple[Sampler, Sampler],
        random: np.random.Generator,
    ) -> None:
        self.clock = clock
        self.strategy = strategy
        self.instruments = instruments
        self.units = units
        self.venue = venue
        self.belief = belief
        self.random = random
        self.ledger = TradingLedger(units, instruments)
        self.quotes: dict[str, QuoteSource] = {}
        self.rows: ItemSource | None = None
        self.predictions: dict[str, ItemSource] = {}
        self.submit: Callable[[str, tuple[float, ...]], int] | None = None
        self.context = Context(self)
        self._entry, self._response = latencies
        self._hears_orders = overrides(strategy, "on_order")
        self._hears_fills = overrides(strategy, "on_fill")
        self._timeline = Timeline(())
        self._action: tuple[int, str] | None = None
        self._counts = {"orders": 0, "reports": 0, "timers": 0}
        self._last_sent = (-1, -1)
        self._last_arrival = self._last_report = 0
        self._stopped = False
        self._driving = False
        self._turned = _NEVER
        self.in_flight = {"orders": 0, "reports": 0}

    # --- running -------------------------------------------------------------------------------

    def start(self) -> None:
        """Call `on_start`, before anything is visible."""
        self._guard(
            partial(self._act, _BEFORE_EVERYTHING, "on_start", self.strategy.on_start, self.context)
        )

    def run_window(self, timeline: Timeline, until: int) -> None:
        """Deliver the items of a window and run what falls due before *until*.

        Args:
            timeline: Items of the window, all before *until*.
            until: End of the window; what is due at it belongs to the next one.

        Raises:
            StrategyError: If a callback raised.
        """
        self._timeline = timeline
        if timeline.single is not None:
            run = partial(self._run_single, timeline.single.handler, timeline.stamped())
        else:
            run = partial(self._run_merged, timeline.merged())
        self._driving = True
        self._guard(run)
        self._driving = False
        self._guard(partial(self.clock.advance_to, until))

    def stop(self) -> None:
        """Call `on_stop` at the end of the run; no order leaves from here."""
        self._stopped = True
        self._guard(
            partial(self._act, _BEFORE_EVERYTHING, "on_stop", self.strategy.on_stop, self.context)
        )

    def _run_single(self, handler: Handler, items: Iterable[tuple[int, Any]]) -> None:
        clock, context = self.clock, self.context
        rank = self._timeline.place(clock.now).rank
        for now, item in items:
            if now >= clock.due:
                clock.advance_to(now, rank)
            clock._now = now
            handler(context, item)

    def _run_merged(self, items: Iterable[tuple[int, int, Handler, Any]]) -> None:
        clock, context = self.clock, self.context
        for now, rank, handler, item in items:
            if now >= clock.due:
                clock.advance_to(now, rank)
            clock._now = now
            if rank == Rank.TIMER:
                self._turned = now
            handler(context, item)

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except SimulationError as error:
            if not isinstance(error, InputError | TimeWentBackwardsError | LookupError):
                raise
            raise self._failure(error) from error
        except Exception as error:
            if self._action is None and not self._driving:
                raise  # not the strategy's: ours
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StrategyError:
        now = self.clock.now
        callback = self._action[1] if self._action else self._timeline.callback(now)
        text = (
            f"`{type(self.strategy).__name__}.{callback}` raised {type(error).__name__} at "
            f"{format_instant(now)}: {error}"
        )
        return StrategyError(text, callback, now)

    def _act(self, rank: int, callback: str, run: Callable[..., None], *args: Any) -> None:
        """Run something of the strategy's from the clock, as seen from a rank."""
        if rank == Rank.TIMER:
            self._turned = self.clock.now
        outer, self._action = self._action, (rank, callback)
        run(*args)
        self._action = outer

    # --- reading -------------------------------------------------------------------------------

    def place(self) -> Place:
        """Return where in the order of time the strategy now reads."""
        now = self.clock.now
        if self._action is None:
            return self._timeline.place(now)
        # a report that re-opens an instant whose timers have run sees what they saw
        rank = max(self._action[0], Rank.TIMER) if self._turned == now else self._action[0]
        return Place(now, rank, None, 0)

    def instrument_name(self, name: str | None) -> str:
        """Return an instrument's id, checked; None means the only one."""
        if name is None:
            if len(self.instruments) == 1:
                return self.instruments[0]
            raise OrderError(
                f"`instrument` must be named when there are several: got None. "
                f"Name one of {', '.join(self.instruments)}."
            )
        if name not in self.quotes:
            raise OrderError(
                f"`instrument` must be one of the scenario's: got {name!r}."
                f"{nearest(name, self.instruments)}"
            )
        return name

    def latest_record(self, kind: str, instrument: str | None) -> Any:
        """Return the newest record of a kind that is visible now."""
        return self.quotes[self.instrument_name(instrument)].latest(self.place())

    def latest_row(self) -> FeatureRow | None:
        """Return the newest feature row that is visible now."""
        if self.rows is None:
            return None
        row: FeatureRow | None = self.rows.latest(self.place())
        return row

    def latest_prediction(self, loop: str | None) -> Prediction | None:
        """Return the newest answer of a loop that is visible now."""
        answer: Prediction | None = self.predictions[self._loop(loop)].latest(self.place())
        return answer

    def submit_request(self, values: tuple[float, ...], loop: str | None) -> int:
        """Send a strategy's own request to a loop's deployment."""
        if self.submit is None:
            raise OrderError(
                "`ctx.inference.submit` must be announced, since it makes the run go in lockstep: "
                f"got {type(self.strategy).__name__}.submits_requests = False. Set it to True."
            )
        return self.submit(self._loop(loop), values)

    def _loop(self, name: str | None) -> str:
        names = list(self.predictions)
        if name is None and len(names) == 1:
            return names[0]
        if name in self.predictions:
            return str(name)
        known = ", ".join(names) or "none"
        raise OrderError(f"`loop` must name an inference loop: got {name!r}. Known: {known}.")

    # --- acting --------------------------------------------------------------------------------

    def set_timer(self, instant: int, name: str) -> None:
        """Call `on_timer` at an instant, after everything else of it."""
        self._counts["timers"] += 1
        self.clock.call_at(
            index(instant),  # refuses a float: instants are whole nanoseconds
            partial(self._act, Rank.TIMER, "on_timer", self.strategy.on_timer, self.context, name),
            Rank.TIMER,
            (1, self._counts["timers"]),
        )

    def send(self, instrument: str, side: Side, quantity: float, limit_price: float | None) -> int:
        """Send an order on its way to the venue; return its number."""
        order = self._make_order(instrument, side, quantity, limit_price)
        now = order.sent_at
        place = self.place()
        mid, staleness = self._decision(order.instrument, place)
        self.ledger.order(order, place.rank, mid, staleness)
        due = now + self._entry.draw(now, now, order.ordinal)
        self._last_arrival = max(due, self._last_arrival)
        self.in_flight["orders"] += 1
        self.clock.call_at(
            self._last_arrival, partial(self._arrive, order), Rank.VENUE_ARRIVAL, (order.number,)
        )
        return order.number

    def _make_order(
        self, instrument: str, side: Side, quantity: float, limit_price: float | None
    ) -> Order:
        if self._stopped:
            raise OrderError("`on_stop` must not send orders: the run is over. Use a timer before.")
        name = self.instrument_name(instrument)
        unit = self.units[name]
        lots = _whole(quantity, float(unit.lot_size), "quantity", "lots", name)
        ticks = 0
        if limit_price is not None:
            ticks = _whole(limit_price, float(unit.tick_size), "limit_price", "ticks", name)
        now = self.clock.now
        ordinal = self._last_sent[1] + 1 if self._last_sent[0] == now else 0
        self._last_sent = (now, ordinal)
        self._counts["orders"] += 1
        return Order(
            number=self._counts["orders"],
            instrument=name,
            side=side,
            type=OrderType.MARKET if limit_price is None else OrderType.LIMIT_IOC,
            quantity=float(lots * unit.lot_size),
            limit_price=float("nan") if limit_price is None else float(ticks * unit.tick_size),
            sent_at=now,
            ordinal=ordinal,
            lots=lots,
            limit_ticks=ticks,
        )

    def _decision(self, instrument: str, place: Place) -> tuple[float, int]:
        """Return our mid, and the age of the newest event behind what we decide on."""
        mid, event_time = self.quotes[instrument].mid_and_event_time(place)
        answers = [source.latest(place) for source in self.predictions.values()]
        event_time = max((a.event_time for a in answers if a is not None), default=event_time)
        return mid, -1 if event_time == MISSING else place.now - event_time

    def _arrive(self, order: Order) -> None:
        now = self.clock.now
        self.in_flight["orders"] -= 1
        outcomes = self.venue.execute(order, now)
        last = outcomes[-1]
        status = last.kind.name.lower()
        self.ledger.arrival(order, now, status, last.reason.name.lower() if last.reason else "")
        for outcome in outcomes:
            self._send_report(order, outcome, now, is_last=outcome is last)

    def _send_report(self, order: Order, outcome: Outcome, now: int, *, is_last: bool) -> None:
        self._counts["reports"] += 1
        unit = self.units[order.instrument]
        report = Report(
            number=self._counts["reports"],
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
            self.ledger.venue_fill(report, outcome.entry)
        due = now + self._response.draw(now, now, order.sent_at, order.ordinal, int(outcome.kind))
        self._last_report = max(due, self._last_report)
        self.in_flight["reports"] += 1
        self.clock.call_at(
            self._last_report, partial(self._hear, report), Rank.ORDER_REPORT, (report.number,)
        )

    def _hear(self, report: Report) -> None:
        now = self.clock.now
        self.in_flight["reports"] -= 1
        self.ledger.report(report, now)
        fill = report.fill
        if report.kind is ReportKind.FILLED and fill is not None:
            entry = self.belief.apply_fill(
                fill.instrument, fill.side * fill.lots, fill.ticks, fill.fee_units
            )
            self.ledger.belief_fill(now, entry)
        rank = Rank.ORDER_REPORT
        if self._hears_orders:
            self._act(rank, "on_order", self.strategy.on_order, self.context, report)
        if self._hears_fills and fill is not None:
            self._act(rank, "on_fill", self.strategy.on_fill, self.context, fill)


def overrides(strategy: Strategy, callback: str) -> bool:
    """Return whether a strategy overrides a callback, and so wants to be called."""
    return getattr(type(strategy), callback) is not getattr(Strategy, callback)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint at the known names, the nearest first."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(known)}."


def _whole(value: float, step: float, what: str, unit: str, instrument: str) -> int:
    """Return a price in ticks or a quantity in lots, refusing what is not a whole number."""
    try:
        number = value / step
        count = round(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise OrderError(f"`{what}` must be a number: got {value!r}.") from error
    # what a float cannot hold exactly is forgiven, what the user wrote is not
    if count <= 0 or abs(number - count) > 1e-6 + 1e-15 * abs(number):
        raise OrderError(
            f"`{what}` of {instrument} must be a positive whole number of {unit} of {step:g}: "
            f"got {value!r}. Round it to a multiple of {step:g}."
        )
    return count
