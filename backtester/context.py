"""The only door from a strategy to the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backtester.orders import Side

if TYPE_CHECKING:
    import numpy as np

    from backtester.engine import Engine
    from backtester.records import FeatureRow, Prediction

__all__ = ["Context", "InferenceView", "PortfolioView"]


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


class PortfolioView:
    """Our belief: what the reports received so far say that we hold."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def cash(self) -> float:
        """Cash in the quote currency."""
        account = self._engine.belief
        return account.units.to_float(account.cash)

    @property
    def fees(self) -> float:
        """Fees paid so far, in the quote currency."""
        account = self._engine.belief
        return account.units.to_float(account.fees)

    @property
    def realised(self) -> float:
        """Profit realised so far, before fees, in the quote currency."""
        account = self._engine.belief
        return account.units.to_float(account.realised)

    def position(self, instrument: str | None = None) -> float:
        """Return the signed position in base units.

        Args:
            instrument: Id; may be left out when the scenario has one.
        """
        engine = self._engine
        name = engine.instrument_name(instrument)
        lots = engine.belief.positions.get(name, 0)
        return float(lots * engine.belief.units[name].lot_size)


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

    def buy(self, instrument: str, quantity: float, limit_price: float | None = None) -> int:
        """Send an order to buy; it reaches the venue after the entry latency.

        Args:
            instrument: Id of the instrument.
            quantity: Base units, a whole number of lots.
            limit_price: Highest price accepted, a whole number of ticks; None is a market order.
                Either kind fills for what is displayed when it arrives, and the rest is canceled.

        Returns:
            Number of the order.

        Raises:
            OrderError: If the instrument, the quantity or the price is not one the venue knows.
        """
        return self._engine.send(instrument, Side.BUY, quantity, limit_price)

    def sell(self, instrument: str, quantity: float, limit_price: float | None = None) -> int:
        """Send an order to sell; otherwise like `buy`, with the lowest price accepted."""
        return self._engine.send(instrument, Side.SELL, quantity, limit_price)

    def call_at(self, instant: int, name: str = "") -> None:
        """Ask for `on_timer(ctx, name)` at an instant, not before now.

        At that instant it runs last: after records, rows, predictions and reports, and in order of
        asking among the strategy's own timers.
        """
        self._engine.set_timer(instant, name)

    def record(self, name: str, value: float) -> None:
        """Keep a number of the strategy's own, with the instant, in the result's `records`."""
        self._engine.ledger.record(self._clock.now, name, float(value))
