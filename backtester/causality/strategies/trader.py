"""A strategy that does what a drawn plan says, and lets all that it sees decide.

Everything that a callback is handed, and everything that can be looked up from it, goes into one
checksum, and the checksum decides sides and sizes: whatever is seen too early, too late or
otherwise shows in an order.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

from backtester.orders import OrderRequest, Side, TimeInForce
from backtester.strategy import Strategy

__all__ = ["DrawnTrader", "EagerTrader"]

_ALL = ("on_quote", "on_trade", "on_bar", "on_data", "on_features", "on_prediction")
_CENTRE = 100.0
_FORCES = {
    "gtc": TimeInForce.GTC,
    "gtd": TimeInForce.GTD,
    "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK,
}


class DrawnTrader(Strategy):
    """Wakes for answers, reports and timers; see `plans` for what it may do.

    Args:
        plan: Drawn by `backtester.causality.strategies.plans`.
    """

    optional_callbacks: ClassVar[tuple[str, ...]] = _ALL
    quote_fields = ("bid_price", "bid_quantity", "ask_price", "ask_quantity", "event_time")

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.data_fields = {kind: tuple(names) for kind, names in plan["kinds"].items()}  # type: ignore[misc]
        self.reads_depth = bool(plan["reads_depth"])  # type: ignore[misc]
        self.submits_requests = bool(plan["asks"])  # type: ignore[misc]
        self.counts: dict[str, int] = {}
        self.seen = self.done = 0
        self.sent: list[int] = []

    def on_start(self, ctx: Any) -> None:
        """Ask for the plan's timers."""
        for place, after in enumerate(self.plan["timers"]):
            ctx.call_at(ctx.now + after, f"t{place}")

    def on_timer(self, ctx: Any, name: str) -> None:
        """Do one of the plan's deeds."""
        self.take_in(ctx, name)
        self.act(ctx, int(name[1:]))

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        """Count it."""
        self.wake(ctx, "prediction", prediction)

    def on_order(self, ctx: Any, report: Any) -> None:
        """Count it."""
        self.wake(ctx, "order", report)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        """Count it."""
        self.wake(ctx, "fill", fill)

    def wake(self, ctx: Any, event: str, told: Any) -> None:
        """Take in what a callback was handed, and act on every so many of its kind."""
        self.take_in(ctx, (event, told))
        count = self.counts[event] = self.counts.get(event, 0) + 1
        every = self.plan["every"].get(event)
        if every is not None and count % every == 0:
            self.act(ctx, count)

    def take_in(self, ctx: Any, told: Any) -> None:
        """Make all that is handed over and all that can be looked up part of the checksum."""
        seen: list[Any] = [ctx.now, told, ctx.features, ctx.orders()]
        for name in ctx.instruments:
            portfolio = ctx.portfolio
            seen += [ctx.book(name, 2), portfolio.position(name), ctx.features_of(name)]
        seen += [ctx.inference.latest(loop) for loop in self.plan["loops"]]
        seen += [ctx.data(kind, name) for kind, name in self.plan["data"]]
        seen += [portfolio.cash, portfolio.fees, portfolio.realised]
        self.seen = zlib.crc32(repr(seen).encode(), self.seen)
        ctx.record("seen", float(self.seen))

    def act(self, ctx: Any, number: int) -> None:
        """Do the deed of a number, unless enough has been done."""
        deeds = self.plan["deeds"]
        if not deeds or self.done >= self.plan["most"]:
            return
        self.done += 1
        deed = deeds[number % len(deeds)]
        getattr(self, "_" + deed["kind"])(ctx, deed)
        if deed.get("again") is not None:
            ctx.call_at(ctx.now + deed["again"], f"t{number + 1}")

    # --- deeds ---------------------------------------------------------------------------------

    def _order(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        self.sent.append(ctx.submit(self._request(ctx, deed)))

    def _oco(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        first = self._request(ctx, deed)
        second = first._replace(side=Side(-first.side), post_only=False, reduce_only=False)
        self.sent += ctx.oco(first, second)

    def _bracket(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        entry = self._request(ctx, {**deed, "reduce_only": False})
        tick = ctx.terms(entry.instrument).tick_size
        ticks = round((entry.limit_price or self._mid(ctx, entry.instrument)) / tick)
        profit, loss = (ticks + sign * int(entry.side) * deed["width"] for sign in (1, -1))
        self.sent += ctx.bracket(entry, take_profit=profit * tick, stop_loss=loss * tick)

    def _cancel(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        if self.sent:
            ctx.cancel(self._chosen())

    def _cancel_all(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        ctx.cancel_all(self._instrument(ctx, deed) if deed["one"] else None)

    def _modify(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        if not self.sent:
            return
        number = self._chosen()
        known = [order for order in ctx.orders() if order.number == number]
        if not known:
            return
        terms = ctx.terms(known[0].instrument)
        limit = None
        if known[0].type.has_limit and deed["offset"] is not None:
            limit = self._price(ctx, known[0].instrument, int(known[0].side) * deed["offset"])
        ctx.modify(number, (deed["lots"] + self.seen % 3) * terms.lot_size, limit)

    def _ask(self, ctx: Any, deed: Mapping[str, Any]) -> None:
        if self.plan["asks"]:
            loop, width = self.plan["asks"]
            values = tuple(float((self.seen >> place) % 4) for place in range(width))
            ctx.inference.submit(values, loop, self._instrument(ctx, deed))

    # --- parts of a deed -----------------------------------------------------------------------

    def _request(self, ctx: Any, deed: Mapping[str, Any]) -> OrderRequest:
        instrument = self._instrument(ctx, deed)
        drawn = int(ctx.random.integers(2)) if deed["random"] else self.seen & 1
        side = Side(deed["side"] or (1 if drawn else -1))
        lots = deed["lots"] + (self.seen >> 4) % 3
        offset, stop, expires = deed["offset"], deed["stop"], deed["expires"]
        limit = None if offset is None else self._price(ctx, instrument, int(side) * offset)
        force = deed["force"] if limit is not None or deed["force"] in ("ioc", "fok") else None
        dated = expires is not None and limit is not None and force in (None, "gtd")
        if force == "gtd" and not dated:
            force = None
        return OrderRequest(
            instrument,
            side,
            lots * ctx.terms(instrument).lot_size,
            limit,
            None if force is None or dated else _FORCES[force],
            None if stop is None else self._price(ctx, instrument, int(side) * stop),
            deed["post_only"] and limit is not None and force not in ("ioc", "fok"),
            deed["reduce_only"],
            ctx.now + expires if dated else None,
        )

    def _instrument(self, ctx: Any, deed: Mapping[str, Any]) -> str:
        names: tuple[str, ...] = ctx.instruments
        return names[(deed["instrument"] + (self.seen >> 8)) % len(names)]

    def _chosen(self) -> int:
        recent = self.sent[-4:]
        return recent[(self.seen >> 2) % len(recent)]

    def _mid(self, ctx: Any, instrument: str) -> float:
        mid = float(ctx.book(instrument, 1).mid)
        return mid if mid == mid else _CENTRE

    def _price(self, ctx: Any, instrument: str, ticks: int) -> float:
        tick = ctx.terms(instrument).tick_size
        return max(1, int(self._mid(ctx, instrument) // tick) + ticks) * float(tick)


class EagerTrader(DrawnTrader):
    """Wakes for every record and row as well."""

    def on_quote(self, ctx: Any, quote: Any) -> None:
        """Count it."""
        self.wake(ctx, "quote", (quote.instrument, quote))

    def on_trade(self, ctx: Any, trade: Any) -> None:
        """Count it."""
        self.wake(ctx, "trade", (trade.instrument, trade))

    def on_bar(self, ctx: Any, bar: Any) -> None:
        """Count it."""
        self.wake(ctx, "bar", (bar.instrument, bar))

    def on_data(self, ctx: Any, record: Any) -> None:
        """Count it."""
        self.wake(ctx, "data", (record.instrument, record.kind, record))

    def on_features(self, ctx: Any, row: Any) -> None:
        """Count it."""
        self.wake(ctx, "features", row)
