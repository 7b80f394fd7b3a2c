"""The strategy of the laws: the reference's script, behind the product's callbacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backtester.orders import TimeInForce
from backtester.strategy import Strategy
from tests.reference.case import Case
from tests.reference.strategies import Order, Script

TICK = LOT = 0.5  # as the terms of a case have them


@dataclass(frozen=True)
class Call:
    """One callback: what it was handed, and what could be looked up from it."""

    event: str
    now: int
    fields: dict[str, Any]
    view: dict[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> str:
        """Everything that it was handed or could look up, as a text: NaN equals NaN."""
        return repr((self.event, self.now, self.fields, self.view))


class Player(Strategy):
    """Turns callbacks into the reference's events, and its actions into orders and timers."""

    quote_fields = (
        "bid_price",
        "bid_quantity",
        "ask_price",
        "ask_quantity",
        "event_time",
        "receipt_time",
        "sequence",
    )
    trade_fields = ("price", "quantity", "aggressor", "event_time", "receipt_time", "sequence")

    def __init__(self, case: Case, *, watch: bool, looks: tuple[int, ...] = ()) -> None:
        self.instruments = [terms.id for terms in case.terms]
        self.decide = Script(case.plan, self.instruments)
        self.watch, self.looks = watch, looks
        self.calls: list[Call] = []
        self.sides: dict[int, int] = {}

    def play(self, ctx: Any, event: str, fields: dict[str, Any]) -> None:
        view = self._look(ctx) if self.watch else {}
        self.calls.append(Call(event, ctx.now, fields, view))
        for action in self.decide(event, ctx.now, fields):
            if isinstance(action, Order):
                send = ctx.buy if action.side > 0 else ctx.sell
                limit = None if action.limit_ticks is None else action.limit_ticks * TICK
                number = send(
                    action.instrument,
                    action.lots * LOT,
                    limit,
                    time_in_force=TimeInForce.IOC,
                )
                self.sides[number] = action.side
            else:
                ctx.call_at(action.at, action.name)

    def _look(self, ctx: Any) -> dict[str, Any]:
        return {
            "quotes": {name: ctx.quote(name) for name in self.instruments},
            "row": ctx.features,
            "answer": ctx.inference.latest(),
            "positions": {name: ctx.portfolio.position(name) for name in self.instruments},
            "cash": ctx.portfolio.cash,
        }

    def on_start(self, ctx: Any) -> None:
        self.play(ctx, "start", {})
        for instant in self.looks:
            ctx.call_at(instant, "look")

    def on_order(self, ctx: Any, report: Any) -> None:
        filled = {"ticks": report.fill.ticks} if report.fill else {}
        fields = {
            "order": report.order,
            "instrument": report.instrument,
            "side": self.sides[report.order],
            "kind": report.kind.name.lower(),
            "lots": round(report.quantity / LOT),
        }
        self.play(ctx, "order", fields | filled)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        fields = {
            "order": fill.order,
            "instrument": fill.instrument,
            "side": int(fill.side),
            "kind": "filled",
            "lots": fill.lots,
            "ticks": fill.ticks,
        }
        self.play(ctx, "fill", fields)

    def on_timer(self, ctx: Any, name: str) -> None:
        self.play(ctx, "timer", {"name": name})

    def on_prediction(self, ctx: Any, answer: Any) -> None:
        names = ("instrument", "loop", "number", "value", "emitted_at")
        self.play(ctx, "prediction", {name: getattr(answer, name) for name in names})

    def on_stop(self, ctx: Any) -> None:
        self.play(ctx, "stop", {})


class EagerPlayer(Player):
    """Wants to be told everything; `Player` itself is woken by answers, reports and timers."""

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.play(ctx, "quote", {"instrument": quote.instrument, **quote._asdict()})

    def on_trade(self, ctx: Any, trade: Any) -> None:
        self.play(ctx, "trade", {"instrument": trade.instrument, **trade._asdict()})

    def on_features(self, ctx: Any, row: Any) -> None:
        fields = {"instrument": row.instrument, "values": row.values}
        self.play(ctx, "features", fields | {"emitted_at": row.emitted_at})
