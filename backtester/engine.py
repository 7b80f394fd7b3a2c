"""The loop of the trading plane: hands over what is visible, runs what the strategy caused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any

from backtester.account import Account, Units
from backtester.bar_source import NoQuotes
from backtester.callbacks import overrides
from backtester.context import Context
from backtester.desk import Desk
from backtester.errors import OrderError, StrategyError
from backtester.express.choice import may_go
from backtester.express.handover import ExpressOrders, hand_over, report_of
from backtester.express.lane import ExpressLane
from backtester.express.rows import measure, take_rows
from backtester.express.trader import ExpressTrader
from backtester.gateway import Gateway
from backtester.ledger import TradingLedger
from backtester.money import PAYMENTS, Money, book_report
from backtester.order_manager import OrderManager
from backtester.orders import Report
from backtester.sources import ItemSource, LiveSource, Place, QuoteSource, RowSource
from backtester.strategy import Strategy
from backtester.terms import Terms
from backtester.timeline import Timeline
from backtester.trader import Trader
from backtester.venue.venue import Venue
from clock.errors import InputError, SimulationError, TimeWentBackwardsError
from clock.nearest import nearest
from clock.rank import FIRST_RANK, Rank
from clock.simulated import SimulatedClock
from clock.units import format_instant
from inference.errors import ServingError
from inference.rows import MISSING

if TYPE_CHECKING:
    import numpy as np

    from backtester.admission import Admission
    from backtester.book_view import BookView
    from backtester.depth_source import DepthSource
    from backtester.latencies import ActionSamplers
    from backtester.records import FeatureRow, Prediction

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
        money: Our account, fed by reports, and what it is worth.
        latencies: A sampler for each action.
        admission: The venue's door.
        random: The strategy's generator.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        strategy: Strategy,
        instruments: tuple[str, ...],
        units: Units,
        venue: Venue,
        money: Money,
        latencies: ActionSamplers,
        admission: Admission,
        random: np.random.Generator,
    ) -> None:
        self.clock = clock
        self.strategy = strategy
        self.instruments = instruments
        self.units = units
        self.venue = venue
        self.money = money
        self.random = random
        self.ledger = TradingLedger(units, instruments)
        self.quotes: Mapping[str, QuoteSource | NoQuotes] = {}
        self.depth: Mapping[str, DepthSource] = {}
        self.data: Mapping[tuple[str, str], ItemSource] = {}
        self.rows: RowSource | LiveSource | None = None
        self.predictions: Mapping[str, ItemSource] = {}
        self.submit: Callable[[str, tuple[float, ...], int], int] | None = None
        self.context = Context(self)
        self.latencies = latencies
        self.decides_later = True
        self.desk = Desk(clock, latencies.decision)
        self.gateway = Gateway(clock, venue, self.ledger, latencies, admission, self._hear)
        venue.listener = self.gateway.publish
        self.manager = OrderManager(units)
        self.terms = {
            name: Terms(float(units[name].tick_size), float(units[name].lot_size))
            for name in instruments
        }
        self.risk = money.limits(self)
        self.trader = Trader(self)
        self.express: ExpressLane | None = None
        self._hears_orders = overrides(strategy, "on_order")
        self._hears_fills = overrides(strategy, "on_fill")
        self._on_order = self.timed("on_order", strategy.on_order)
        self._on_fill = self.timed("on_fill", strategy.on_fill)
        self._on_timer = self.timed("on_timer", strategy.on_timer)
        self._timeline = Timeline(())
        self._action: tuple[int, str] | None = None
        self._timers = 0
        self.is_stopped = False
        self._driving = False
        self._turned = Place(_NEVER, Rank.TIMER, None, 0)

    def timed(self, name: str, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback, by its name, that keeps the strategy busy; see `Desk.timed`."""
        return self.desk.timed(name, callback)

    @property
    def belief(self) -> Account:
        """Our account, as the reports received so far have it."""
        if self.express is not None:
            self.catch_up()
            self.express.show_belief()
        return self.money.belief

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
        try:
            self._driving = True
            try:
                self._guard(run)
            finally:
                self._driving = False
            self._guard(partial(self.clock.advance_to, until))
            if self.express is not None:
                self.express.hear(until, FIRST_RANK)
        finally:
            if self.express is not None:
                measure(self.express, timeline)
                take_rows(self.express, self.ledger)
        if self.express is not None:
            self.express.close_window()

    def stop(self, *, heard: bool = True) -> None:
        """Call `on_stop` at the end of the run; no order leaves from here.

        Args:
            heard: Whether the strategy hears of it; one that has failed is called no more.
        """
        self.hand_over()
        self.is_stopped = True
        if not heard:
            return
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
        clock, context, timer = self.clock, self.context, int(Rank.TIMER)
        for now, rank, handler, item in items:
            if now >= clock.due:
                clock.advance_to(now, rank)
            clock._now = now
            if rank == timer:
                self._turned = self._timeline.place(now)
            handler(context, item)

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except SimulationError as error:
            if isinstance(error, ServingError):  # a deployment's, though it may be bad input
                raise
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
            self._turned = Place(self.clock.now, rank, None, 0)
        outer, self._action = self._action, (rank, callback)
        run(*args)
        self._action = outer

    # --- the express lane ----------------------------------------------------------------------

    def take_express(self) -> None:
        """Send plain orders by the express lane, where the scenario has nothing that it lacks."""
        if not may_go(self):
            return
        hears = 2 if self._hears_orders else int(self._hears_fills)
        self.express = lane = ExpressLane(self, hears)
        self.trader = lane.sender = ExpressTrader(self, lane)
        self.manager = ExpressOrders(lane)
        self.clock.join(lane)

    def open_window(self) -> None:
        """Go on with the venue's next window, which it has opened."""
        if self.express is not None and self.express.open_window():
            self.hand_over()
        if self.express is not None:
            self.clock.due = min(self.clock.due, self.express.due)

    def catch_up(self) -> None:
        """Hear the reports that have come in by now, where nobody is called for them."""
        lane = self.express
        if lane is not None and lane.has_news(self.clock.now):
            lane.hear(self.clock.now, self.place().rank)

    def hear_express(self, row: int) -> None:
        """Hand a report of the express lane to the strategy."""
        assert self.express is not None
        self._tell(report_of(self.express, row))

    def hand_over(self, *, in_danger: bool = False) -> None:
        """Leave the express lane for good, and go on with the venue in Python.

        Args:
            in_danger: Whether the last fill may have brought the account near its liquidation.
        """
        lane, trader, manager = self.express, self.trader, self.manager
        if lane is None:
            return
        assert isinstance(trader, ExpressTrader)
        assert isinstance(manager, ExpressOrders)
        if not lane.is_running:
            self.catch_up()
        self.manager = manager.hand_over()
        measure(lane, self._timeline)
        take_rows(lane, self.ledger)
        hand_over(lane)
        self.express = None
        self.trader = trader.hand_over()
        self.clock.join(None)
        if in_danger and self.money.liquidator is not None:
            self.money.liquidator.after(self.clock.now)

    # --- reading -------------------------------------------------------------------------------

    def place(self) -> Place:
        """Return where in the order of time the strategy now reads."""
        now = self.clock.now
        if self._action is None:
            return self._timeline.place(now)
        rank = self._action[0]
        if self._turned.now == now and rank < self._turned.rank:
            return self._turned  # a report that re-opens an instant sees what it had come to
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
                f"`instrument` must be one of the scenario's: got {name!r}. "
                f"{nearest(name, self.instruments)}"
            )
        return name

    def latest_quote(self, instrument: str | None) -> Any:
        """Return the newest quote that is visible now."""
        return self.quotes[self.instrument_name(instrument)].latest(self.place())

    def latest_book(self, instrument: str | None, levels: int | None) -> BookView:
        """Return our view of a book, from what is visible now."""
        name = self.instrument_name(instrument)
        depth = self.depth.get(name)
        if depth is not None:
            return depth.book(self.place(), levels)
        return self.quotes[name].book(self.place())

    def latest_data(self, kind: str, instrument: str | None) -> Any:
        """Return the newest record of a user's kind that is visible now."""
        name = self.instrument_name(instrument)
        source = self.data.get((name, kind))
        if source is None:
            known = sorted({kind for _, kind in self.data})
            raise OrderError(
                f"`kind` must be one of the strategy's `data_fields` that {name} has: got "
                f"{kind!r}. Known: {', '.join(known) or 'none'}."
            )
        return source.latest(self.place())

    def latest_row(self, instrument: str | None = None) -> FeatureRow | None:
        """Return the newest feature row that is visible now, of an instrument or of all."""
        if self.rows is None:
            return None
        return self._latest(self.rows, instrument)

    def latest_prediction(
        self, loop: str | None, instrument: str | None = None
    ) -> Prediction | None:
        """Return the newest answer of a loop that is visible now, of an instrument or of all."""
        return self._latest(self.predictions[self._loop(loop)], instrument)

    def _latest(self, source: Any, instrument: str | None) -> Any:
        if instrument is None:
            return source.latest(self.place())
        return source.latest_of(self.place(), self.instrument_name(instrument))

    def submit_request(
        self, values: tuple[float, ...], loop: str | None, instrument: str | None
    ) -> int:
        """Send a strategy's own request to a loop's deployment."""
        if self.submit is None:
            raise OrderError(
                "`ctx.inference.submit` must be announced, since it makes the run go in lockstep: "
                f"got {type(self.strategy).__name__}.submits_requests = False. Set it to True."
            )
        if self.is_stopped:
            raise OrderError("`on_stop` must not submit requests: the run is over.")
        place = self.instruments.index(self.instrument_name(instrument))
        return self.submit(self._loop(loop), values, place)

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
        self._timers += 1
        self.clock.call_at(
            index(instant),  # refuses a float: instants are whole nanoseconds
            partial(self._act, Rank.TIMER, "on_timer", self._on_timer, self.context, name),
            Rank.TIMER,
            (1, self._timers),
        )

    def decision(self, instrument: str, place: Place) -> tuple[float, int]:
        """Return our mid, and the age of the newest event behind what we decide on."""
        mid, event_time = self.quotes[instrument].mid_and_event_time(place)
        answers = [source.latest(place) for source in self.predictions.values()]
        event_time = max((a.event_time for a in answers if a is not None), default=event_time)
        return mid, -1 if event_time == MISSING else place.now - event_time

    def mid(self, instrument: str) -> float:
        """Return our newest mid of an instrument, NaN before its first quote."""
        return self.quotes[instrument].mid_and_event_time(self.place())[0]

    def mids(self) -> dict[str, float]:
        """Return our newest mid of every instrument."""
        return {name: self.mid(name) for name in self.instruments}

    def refuse(self, report: Report) -> None:
        """Tell the strategy, within this instant, that a limit of our own stopped a message."""
        if self._hears_orders:
            run = partial(self._act, Rank.ORDER_REPORT, "on_order", self._on_order)
            self.clock.call_at(
                self.clock.now,
                partial(run, self.context, report),
                Rank.ORDER_REPORT,
                (0, report.order),
            )

    def _hear(self, report: Report) -> None:
        now = self.clock.now
        self.ledger.report(report, now)
        self.manager.hear(report)
        entry = book_report(self.money.belief, report)
        if entry is not None:
            self.ledger.believed(now, entry)
        if report.kind in PAYMENTS:
            return  # of no order: whoever wants to know looks at the portfolio
        self._tell(report)

    def _tell(self, report: Report) -> None:
        fill, rank = report.fill, Rank.ORDER_REPORT
        if self._hears_orders:
            self._act(rank, "on_order", self._on_order, self.context, report)
        if self._hears_fills and fill is not None:
            self._act(rank, "on_fill", self._on_fill, self.context, fill)
