"""The only door from a strategy to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backtester.orders import Side
from backtester.portfolio import PortfolioView

if TYPE_CHECKING:
    import numpy as np

    from backtester.book_view import BookView
    from backtester.engine import Engine
    from backtester.order_manager import OpenOrder
    from backtester.orders import OrderRequest, TimeInForce
    from backtester.records import FeatureRow, Prediction
    from backtester.terms import Terms

__all__ = ["Context", "InferenceView"]

_BUY, _SELL = Side.BUY, Side.SELL  # members of an enumeration are slow to look up


class InferenceView:
    """The inference loops, as far as their answers have arrived."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def latest(self, loop: str | None = None, instrument: str | None = None) -> Prediction | None:
        """Return the newest answer that is visible now, None before the first.

        Newest by the row behind it: an answer for an older row that arrives late changes nothing.

        Args:
            loop: Name of the loop; may be left out when there is one.
            instrument: Whose: with rows `per_instrument`, the newest answer about that one; by
                default the newest of all.

        Raises:
            LookupError: If there is no such loop, or several and none was named.
        """
        return self._engine.latest_prediction(loop, instrument)

    def submit(
        self, values: tuple[float, ...], loop: str | None = None, instrument: str | None = None
    ) -> int:
        """Ask the model about values of the strategy's own; the answer wakes `on_prediction`.

        The request joins the queue of the deployment like any other, so the run must be in
        lockstep: a strategy that calls this declares `submits_requests = True`.

        Args:
            values: One value a column that the model reads, in its order.
            loop: Name of the loop; may be left out when there is one.
            instrument: What the values are about; may be left out when the scenario has one.

        Returns:
            Number of the request in its loop.
        """
        return self._engine.submit_request(tuple(values), loop, instrument)


class Context:
    """What a strategy may see and do at the present instant.

    Everything it hands over is a number, a text or an immutable tuple of what is visible now.
    """

    __slots__ = ("_clock", "_engine", "inference", "portfolio")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clock = engine.clock
        self.inference = InferenceView(engine)
        self.portfolio = PortfolioView(engine)

    @property
    def now(self) -> int:
        """The present simulated instant, ns since 1970 UTC."""
        return self._clock.now

    @property
    def instruments(self) -> tuple[str, ...]:
        """Ids of the scenario's instruments, in its order."""
        return self._engine.instruments

    @property
    def features(self) -> FeatureRow | None:
        """The newest feature row visible now, None before the first."""
        row: FeatureRow | None = self._engine.latest_row()
        return row

    def features_of(self, instrument: str) -> FeatureRow | None:
        """Return the newest feature row of one instrument visible now, None before the first.

        Rows are an instrument's own with `per_instrument`; otherwise all are the label feature's.

        Args:
            instrument: Id.
        """
        return self._engine.latest_row(instrument)

    @property
    def random(self) -> np.random.Generator:
        """A generator seeded by the scenario: the same run draws the same numbers."""
        return self._engine.random

    def quote(self, instrument: str | None = None) -> Any:
        """Return the newest quote received, a tuple of the strategy's `quote_fields`, or None.

        Args:
            instrument: Id; may be left out when the scenario has one.
        """
        return self._engine.latest_quote(instrument)

    def data(self, kind: str, instrument: str | None = None) -> Any:
        """Return the newest record received of a kind of the user's own, or None.

        Args:
            kind: Name of the kind, one of the strategy's `data_fields`.
            instrument: Id; may be left out when the scenario has one.
        """
        return self._engine.latest_data(kind, instrument)

    def book(self, instrument: str | None = None, levels: int | None = None) -> BookView:
        """Return our view of an instrument's book: what has been received by now.

        From depth where the strategy declares `reads_depth` and the catalog holds it, else the
        best bid and ask of the newest quote; empty before the first.

        Args:
            instrument: Id; may be left out when the scenario has one.
            levels: How many of each side; all by default.
        """
        return self._engine.latest_book(instrument, levels)

    def terms(self, instrument: str | None = None) -> Terms:
        """Return the steps of an instrument's prices and quantities.

        Args:
            instrument: Id; may be left out when the scenario has one.
        """
        return self._engine.terms[self._engine.instrument_name(instrument)]

    def orders(self, instrument: str | None = None) -> tuple[OpenOrder, ...]:
        """Return the orders that are open as far as we know, by number.

        Args:
            instrument: Id; left out, those of all instruments.
        """
        return self._engine.manager.open_orders(instrument)

    def buy(
        self,
        instrument: str,
        quantity: float,
        limit_price: float | None = None,
        *,
        time_in_force: TimeInForce | None = None,
        stop_price: float | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        expires_at: int | None = None,
    ) -> int:
        """Send an order to buy; it reaches the venue after the entry latency.

        Args:
            instrument: Id of the instrument.
            quantity: Base units, a whole number of lots.
            limit_price: Highest price accepted, a whole number of ticks; None is a market order,
                which takes what it finds on arrival, and the rest is canceled.
            time_in_force: By default a limit order rests until filled or canceled (GTC), or until
                `expires_at` (GTD).
            stop_price: The order waits until the best ask is there.
            post_only: Refuse it rather than take.
            reduce_only: Never open or turn a position.
            expires_at: Instant at which what is left of it is canceled.

        Returns:
            Number of the order.

        Raises:
            OrderError: If the instrument, the quantity or a price is not one the venue knows, or
                what is asked for does not go together.
        """
        return self._engine.trader.order(
            instrument,
            _BUY,
            quantity,
            limit_price,
            time_in_force,
            stop_price,
            post_only,
            reduce_only,
            expires_at,
        )

    def sell(
        self,
        instrument: str,
        quantity: float,
        limit_price: float | None = None,
        *,
        time_in_force: TimeInForce | None = None,
        stop_price: float | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        expires_at: int | None = None,
    ) -> int:
        """Send an order to sell; otherwise like `buy`, with the lowest price accepted."""
        return self._engine.trader.order(
            instrument,
            _SELL,
            quantity,
            limit_price,
            time_in_force,
            stop_price,
            post_only,
            reduce_only,
            expires_at,
        )

    def submit(self, request: OrderRequest) -> int:
        """Send an order given as a request; otherwise like `buy` and `sell`."""
        return self._engine.trader.submit(request)

    def cancel(self, number: int) -> bool:
        """Send a cancel of an order; it may be filled before the cancel arrives.

        Returns:
            False, and nothing is sent, where we know already that the order has ended.
        """
        return self._engine.trader.cancel(number)

    def cancel_all(self, instrument: str | None = None) -> None:
        """Send one cancel of every order that is live when it arrives.

        Args:
            instrument: Id; left out, those of all instruments.
        """
        self._engine.trader.cancel_all(instrument)

    def modify(
        self, number: int, quantity: float | None = None, limit_price: float | None = None
    ) -> bool:
        """Send a change of an order.

        It keeps its place in the queue where only its quantity becomes smaller.

        Args:
            number: Number of the order.
            quantity: Its new total in base units, what is filled included; None leaves it.
            limit_price: Its new limit; None leaves it.

        Returns:
            False, and nothing is sent, where we know already that the order has ended.
        """
        return self._engine.trader.modify(number, quantity, limit_price)

    def oco(self, first: OrderRequest, second: OrderRequest) -> tuple[int, int]:
        """Send two orders of one instrument of which one cancels the other, at the venue.

        A fill of one takes as much off the other.

        Returns:
            Their numbers.
        """
        return self._engine.trader.submit_partners(first, second)

    def bracket(
        self, entry: OrderRequest, take_profit: float, stop_loss: float
    ) -> tuple[int, int, int]:
        """Send an entry with two exits, which the venue holds until it fills.

        Args:
            entry: The order that opens the position.
            take_profit: Limit price of the first exit.
            stop_loss: Stop price of the second, which then takes at the market.

        Returns:
            Numbers of entry, take-profit and stop-loss.
        """
        return self._engine.trader.submit_bracket(entry, take_profit, stop_loss)

    def call_at(self, instant: int, name: str = "") -> None:
        """Ask for `on_timer(ctx, name)` at an instant, not before now.

        At that instant it runs last: after records, rows, predictions and reports, and in order of
        asking among the strategy's own timers.
        """
        self._engine.set_timer(instant, name)

    def record(self, name: str, value: float) -> None:
        """Keep a number of the strategy's own, with the instant, in the result's `records`."""
        self._engine.ledger.record(self._clock.now, name, float(value))
