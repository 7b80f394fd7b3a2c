"""What a user overrides: a strategy, called when something becomes visible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from backtester.context import Context
    from backtester.orders import Fill, Report
    from backtester.records import FeatureRow, Prediction

__all__ = ["Strategy"]


class Strategy:
    """Base of every strategy: override the callbacks that you need.

    Only what is overridden is delivered: a strategy that acts on predictions is woken by
    predictions, and the quotes between them cost nothing. Parameters are the keyword arguments of
    `__init__`; the scenario's `strategy.params` are checked against their annotations.

    Attributes:
        quote_fields: Fields of the quotes handed to `on_quote` and by `ctx.quote`; any of
            `bid_price, bid_quantity, ask_price, ask_quantity, event_time, receipt_time, sequence`.
        trade_fields: Likewise for trades: `price, quantity, aggressor, …`.
        bar_fields: Likewise for bars: `open_time, open, high, low, close, volume, …`.
        data_fields: Kinds of the user's own that it reads, each with the columns handed over:
            `{"funding": ("rate",)}`.
        optional_callbacks: Callbacks that it can do without. Others that nothing in a scenario
            could ever wake are refused.
        reads_depth: Whether `ctx.book` is made of depth, with all its levels, where the catalog
            holds it; otherwise it is the best bid and ask of the newest quote. Who overrides
            `on_book` reads depth.
        submits_requests: Whether it calls `ctx.inference.submit`; its run goes in lockstep.

    Example:
        >>> class BuyOnce(Strategy):
        ...     def __init__(self, quantity: float = 0.001) -> None:
        ...         self.quantity = quantity
        ...         self.bought = False
        ...
        ...     def on_quote(self, ctx, quote):
        ...         if not self.bought:
        ...             ctx.buy(quote.instrument, self.quantity)
        ...             self.bought = True
    """

    quote_fields: ClassVar[tuple[str, ...]] = ("bid_price", "ask_price")
    trade_fields: ClassVar[tuple[str, ...]] = ("price", "quantity", "aggressor")
    bar_fields: ClassVar[tuple[str, ...]] = ("open_time", "open", "high", "low", "close", "volume")
    data_fields: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    optional_callbacks: ClassVar[tuple[str, ...]] = ()
    reads_depth: ClassVar[bool] = False
    submits_requests: ClassVar[bool] = False

    def on_start(self, ctx: Context) -> None:
        """Called once, at the start of the run, before anything is visible."""

    def on_quote(self, ctx: Context, quote: Any) -> None:
        """Called when a quote is received: a tuple of `quote_fields`, with its `instrument`."""

    def on_trade(self, ctx: Context, trade: Any) -> None:
        """Called when a trade is received: a tuple of `trade_fields`, with its `instrument`."""

    def on_bar(self, ctx: Context, bar: Any) -> None:
        """Called when a bar is received, at or after its close."""

    def on_data(self, ctx: Context, record: Any) -> None:
        """Called when a record of a kind in `data_fields` is received; it knows its `kind`."""

    def on_features(self, ctx: Context, row: FeatureRow) -> None:
        """Called when a feature row becomes visible."""

    def on_prediction(self, ctx: Context, prediction: Prediction) -> None:
        """Called when an answer becomes visible, unless a newer row's came before it."""

    def on_order(self, ctx: Context, report: Report) -> None:
        """Called when a report about an order reaches us, fills included."""

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """Called when the report of a fill reaches us, after `on_order`."""

    def on_timer(self, ctx: Context, name: str) -> None:
        """Called at an instant asked for with `ctx.call_at`."""

    def on_stop(self, ctx: Context) -> None:
        """Called at the end of the run; orders sent from here are refused."""

    # the last one: draws of the decision latency belong to a callback's place in this class
    def on_book(self, ctx: Context, instrument: str) -> None:
        """Called when depth of an instrument is received, with its id; `ctx.book` shows it.

        Once an instant and instrument, after the last depth record received then: an update of
        many levels is one call, and no call sees half of it. It comes where its last record has
        its place among what is received at that instant. It is called too where the records
        leave the levels as they were.
        """
