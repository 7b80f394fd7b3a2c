"""The market as the strategy receives it: which streams, which columns, whom they wake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backtester.bar_source import BarSource, NoQuotes
from backtester.callbacks import needs, overrides
from backtester.depth_source import DepthSource
from backtester.errors import ScenarioError
from backtester.sources import MarketSource, QuoteSource
from backtester.strategy import Strategy
from backtester.timeline import Subscription
from featurizer.market import BARS, DEPTH, QUOTES, TRADES, Records, StreamKey, StreamRequest

if TYPE_CHECKING:
    from backtester.account import Units
    from featurizer.catalog import Catalog

__all__ = ["Callback", "MarketFeed"]

Callback = Callable[[Any, Any], None]

_MEASURED_BY: Mapping[type[MarketSource], tuple[str, ...]] = {
    QuoteSource: ("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    BarSource: ("close",),
}
"""What the price and the book of a decision are read from, whatever is handed over."""

_DELIVERED = (
    "on_quote", "on_trade", "on_bar", "on_book", "on_data", "on_features", "on_prediction",
)  # fmt: skip


class MarketFeed:
    """The streams that a strategy subscribes to or may look up.

    Args:
        strategy: Only the callbacks that it overrides are woken.
        catalog: Where the records come from.
        names: Ids of the instruments, in the order of the scenario.
        timed: Makes of a callback, by its name, one that keeps the strategy busy.
        units: Steps of the instruments.

    Attributes:
        wanted: The strategy's callback by name, None where it is not overridden.
        quotes: The quotes of every instrument: they can be looked up, whatever is subscribed. Where
            there are none, what stands in for them.
        depth: Depth of the instruments, where the strategy reads it and the catalog holds it.
        data: The streams of the user's own kinds, by instrument and kind.
        streams: All sources, each with the callback that it wakes, if any.
    """

    def __init__(
        self,
        strategy: Strategy,
        catalog: Catalog,
        names: Sequence[str],
        timed: Callable[[str, Callback], Callback],
        units: Units,
    ) -> None:
        self._catalog = catalog
        self._names = list(names)
        self.wanted: dict[str, Callback | None] = {
            name: timed(name, getattr(strategy, name)) if overrides(strategy, name) else None
            for name in _DELIVERED
        }
        self.quotes: dict[str, QuoteSource | NoQuotes] = {}
        self.depth: dict[str, DepthSource] = {}
        self.data: dict[StreamKey, MarketSource] = {}
        self._units = units
        self.streams: list[tuple[MarketSource, Callback | None]] = []
        held = set(catalog.streams())
        for place, name in enumerate(names):
            self._add_instrument(strategy, name, place, held)
        self._check_heard(strategy)
        for kind, fields in strategy.data_fields.items():
            self._add_user_kind(strategy, kind, fields)

    def _add_instrument(
        self, strategy: Strategy, name: str, place: int, held: set[StreamKey]
    ) -> None:
        at = (name, place)
        has_quotes = (name, QUOTES.name) in held
        bars: BarSource | None = None
        if (name, BARS.name) in held and (self.wanted["on_bar"] or not has_quotes):
            bars = BarSource(at, strategy.bar_fields)
        if has_quotes:
            quotes = QuoteSource(at, strategy.quote_fields)
            self.quotes[name] = quotes
            self.streams.append((quotes, self.wanted["on_quote"]))
        else:
            self.quotes[name] = NoQuotes(name, bars)
        if self.wanted["on_trade"] and (name, TRADES.name) in held:
            trades = MarketSource((TRADES.name, TRADES.number), at, strategy.trade_fields)
            self.streams.append((trades, self.wanted["on_trade"]))
        if bars is not None:
            self.streams.append((bars, self.wanted["on_bar"]))
        changed = self.wanted["on_book"]
        if (strategy.reads_depth or changed) and (name, DEPTH.name) in held:
            self.depth[name] = depth = DepthSource(at, self._units[name])
            self.streams.append((depth, changed and _once_complete(changed)))

    def _check_heard(self, strategy: Strategy) -> None:
        """Refuse a callback that nothing could ever wake, and a book of nothing."""
        if strategy.reads_depth and not self.depth:
            raise ScenarioError(
                f"`reads_depth` of {type(strategy).__name__} needs depth of "
                f"{', '.join(self._names)}: the catalog holds none. Ingest it, or set it to False."
            )
        heard = {source.callback for source, _ in self.streams}
        for kind in (QUOTES, TRADES, BARS):
            callback = f"on_{kind.name.removesuffix('s')}"
            if needs(strategy, callback) and callback not in heard:
                raise ScenarioError(
                    f"`{type(strategy).__name__}.{callback}` needs {kind.name} of "
                    f"{', '.join(self._names)}: the catalog holds none. Ingest them, or drop it."
                )
        if needs(strategy, "on_book") and not self.depth:
            raise ScenarioError(
                f"`{type(strategy).__name__}.on_book` needs depth of {', '.join(self._names)}: "
                "the catalog holds none. Ingest it, or drop the callback: a book of quotes alone "
                "changes with `on_quote`."
            )

    def _add_user_kind(self, strategy: Strategy, name: str, fields: Sequence[str]) -> None:
        kind = self._catalog.kind(name)
        held = [i for i in self._names if (i, name) in self._catalog.streams()]
        if not held:
            raise ScenarioError(
                f"`data_fields` of {type(strategy).__name__} must name kinds the catalog holds "
                f"for {', '.join(self._names)}: got {name!r}, of which there is nothing."
            )
        for instrument in held:
            place = self._names.index(instrument)
            source = MarketSource((name, kind.number), (instrument, place), fields)
            source.callback = "on_data"
            self.data[source.stream] = source
            self.streams.append((source, self.wanted["on_data"]))

    def add_unheard(self, requests: Sequence[StreamRequest]) -> None:
        """Add the streams of a feature graph that nobody subscribed to: lockstep walks them too."""
        held = {source.stream for source, _ in self.streams}
        for request in requests:
            if request.key not in held:
                number = self._catalog.kind(request.kind).number
                instrument = (request.instrument, self._names.index(request.instrument))
                source = MarketSource((request.kind, number), instrument, ("sequence",))
                self.streams.append((source, None))

    def requests(self) -> list[StreamRequest]:
        """Return the streams and columns to read."""
        asked = [(source.stream, source.fields) for source, _ in self.streams]
        asked += [
            (source.stream, _MEASURED_BY[type(source)])
            for source, _ in self.streams
            if type(source) in _MEASURED_BY
        ]
        return [StreamRequest(*stream, columns=columns) for stream, columns in asked]

    def open_window(self, records: Mapping[StreamKey, Records]) -> list[Subscription]:
        """Hold the records received in the next window; return those that wake somebody."""
        for source, _ in self.streams:
            source.open_window(records[source.stream])
        return [
            Subscription(source, source.callback, callback)
            for source, callback in self.streams
            if callback is not None
        ]

    def close_window(self) -> None:
        """Keep the newest record of each stream and forget the others."""
        for source, _ in self.streams:
            source.close_window()


def _once_complete(callback: Callback) -> Callback:
    """Return a handler of depth records that calls back for the last of each instant alone."""

    def handle(context: Any, instrument: str | None) -> None:
        if instrument is not None:
            callback(context, instrument)

    return handle
