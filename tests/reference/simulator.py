"""Runs a scenario event by event, on one heap; slow, and meant to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

from clock.rank import Rank
from tests.reference import strategies
from tests.reference.account import Account, Ledger
from tests.reference.agenda import Agenda
from tests.reference.draws import make_draw
from tests.reference.features import FeaturePlane, FeatureRow
from tests.reference.loop import InferenceLoop, Request
from tests.reference.scenario import KIND_NUMBERS, Predict, Row, Scenario, StreamRecords
from tests.reference.venue import Order, Report, Venue

DELIVERED = {"quotes": "quote", "trades": "trade", "bars": "bar"}


@dataclass
class Call:
    """One event handed to the strategy."""

    event: str
    now: int
    fields: dict[str, Any]


@dataclass
class ReferenceTrace:
    """Everything that happened.

    Attributes:
        rows: Feature rows that became visible, in order.
        requests: All requests of all loops: those that ended by (visible_at, rank, loop, number),
            then those in flight by (loop, number).
        orders: Orders in order of asking.
        reports: What the venue said, in the order in which it said it.
        arrivals: (instant, report number) of each report that reached us, in order.
        calls: Events handed to the strategy, in order.
        venue: The venue's books.
        belief: Our books, by the reports received.
        equity: The venue's account at `until` in quote currency, marked at its last mids.
        skipped: Rows not asked about because a value was missing, by loop.
        utilisation: Share of the replicas' time spent serving, by loop.
    """

    rows: list[FeatureRow]
    requests: list[Request]
    orders: list[Order]
    reports: list[Report]
    arrivals: list[tuple[int, int]]
    calls: list[Call]
    venue: Account
    belief: Account
    equity: Fraction
    skipped: list[int] = field(default_factory=list)
    utilisation: list[float] = field(default_factory=list)

    @property
    def fills(self) -> list[Report]:
        """The reports that tell of a fill."""
        return [report for report in self.reports if report.kind == "filled"]


def simulate(
    scenario: Scenario,
    records: StreamRecords,
    decide: strategies.Decide = strategies.do_nothing,
    predict: Predict | Sequence[Predict] = sum,
    rows: Sequence[FeatureRow] | None = None,
) -> ReferenceTrace:
    """Return what happens in a scenario.

    Args:
        scenario: The settings.
        records: Market records in any order, by (instrument, kind).
        decide: The strategy.
        predict: The model, or one for each loop.
        rows: Feature rows to use in place of the naive ones, for comparisons in which the last bit
            of a feature must not matter.
    """
    return _Simulator(scenario, records, decide, predict, rows).run()


class _Simulator:
    def __init__(
        self,
        scenario: Scenario,
        records: StreamRecords,
        decide: strategies.Decide,
        predict: Predict | Sequence[Predict],
        rows: Sequence[FeatureRow] | None,
    ) -> None:
        self.scenario, self.decide = scenario, decide
        self.agenda = Agenda()
        self.agenda.now = scenario.start
        self.ids = [instrument.id for instrument in scenario.instruments]
        self.ledger = Ledger(scenario.instruments)
        self.venue = Venue(scenario, self.ledger)
        self.belief = Account(self.ledger, scenario.instruments, self.venue.account.cash)
        self.entry = make_draw(scenario.entry_latency, scenario.seed, "order_entry")
        self.response = make_draw(scenario.response_latency, scenario.seed, "order_response")
        self.orders: list[Order] = []
        self.rows: list[FeatureRow] = []
        self.calls: list[Call] = []
        self.arrivals: list[tuple[int, int]] = []
        self.answers: list[Request] = []
        self.timers = 0
        self.last_order_arrival = self.last_report_arrival = scenario.start
        self.loops = self._make_loops(predict)
        self.plane = None if rows is not None else self._make_plane()
        for row in rows or ():
            self.agenda.add(
                row.visible_at, Rank.FEATURE_ROW, (row.number,), partial(self._row_visible, row)
            )
        self._enter_records(records)

    # -- wiring ----------------------------------------------------------------------------------

    def _make_plane(self) -> FeaturePlane | None:
        features = self.scenario.features
        if features is None:
            return None
        return FeaturePlane(self.agenda, features, self.ids, self.scenario.start, self._row_visible)

    def _make_loops(self, predict: Predict | Sequence[Predict]) -> list[InferenceLoop]:
        features = self.scenario.features
        names = () if features is None else tuple(column.name for column in features.columns)
        return [
            InferenceLoop(
                self.agenda,
                settings,
                index,
                self.scenario.seed,
                self.scenario.start,
                names,
                predict if callable(predict) else predict[index],
                self._prediction_visible,
                self.ids,
            )
            for index, settings in enumerate(self.scenario.loops)
        ]

    def _enter_records(self, records: StreamRecords) -> None:
        start = self.scenario.start
        for (name, kind), rows in records.items():
            instrument, number = self.ids.index(name), KIND_NUMBERS[kind]
            for row in rows:
                key = (instrument, number, row["sequence"])
                if kind == "quotes" and row["event_time"] >= start:
                    show = partial(self.venue.quote, name, row)
                    self.agenda.add(row["event_time"], Rank.VENUE_DATA, key, show)
                if row["receipt_time"] >= start:
                    receive = partial(self._received, name, kind, row)
                    self.agenda.add(row["receipt_time"], Rank.RECEIPT, key, receive)

    def run(self) -> ReferenceTrace:
        """Run it and collect what happened."""
        start, until = self.scenario.start, self.scenario.until
        self._call("start", {})
        self.agenda.run(until)
        self.agenda.now = until
        assert not self._call("stop", {}), "nothing can be done once the run is over"
        in_flight = [r for loop in self.loops for r in loop.requests if r.outcome == "in_flight"]
        ended = [r for loop in self.loops for r in loop.requests if r.outcome != "in_flight"]
        ended.sort(key=lambda r: (r.visible_at, r.rank, r.loop, r.number))
        return ReferenceTrace(
            rows=self.rows,
            requests=ended + in_flight,
            orders=self.orders,
            reports=self.venue.reports,
            arrivals=self.arrivals,
            calls=self.calls,
            venue=self.venue.account,
            belief=self.belief,
            equity=self.ledger.amount(self.venue.account.equity(self.venue.mids())),
            skipped=[loop.skipped for loop in self.loops],
            utilisation=[loop.utilisation(start, until) for loop in self.loops],
        )

    # -- what the strategy is told ---------------------------------------------------------------

    def _received(self, name: str, kind: str, row: Row) -> None:
        if self.plane is not None:
            self.plane.receive(name, kind, row)
        if kind in DELIVERED:
            self._call(DELIVERED[kind], {"instrument": name, **row})

    def _row_visible(self, row: FeatureRow) -> None:
        self.rows.append(row)
        for loop in self.loops:
            loop.row_visible(row)
        fields = {"instrument": self.ids[row.instrument], "values": row.values}
        self._call("features", {**fields, "emitted_at": row.emitted_at})

    def _prediction_visible(self, request: Request) -> None:
        if request.superseded:
            return
        fields = {
            "instrument": self.ids[request.row.instrument],
            "loop": self.scenario.loops[request.loop].name,
            "number": request.number,
            "value": request.value,
            "emitted_at": request.row.emitted_at,
        }
        self._call("prediction", fields)

    def _report_arrives(self, report: Report) -> None:
        self.arrivals.append((self.agenda.now, report.number))
        fields = {
            "order": report.order,
            "instrument": report.instrument,
            "side": report.side,
            "kind": report.kind,
            "reason": report.reason,
            "lots": report.lots,
        }
        if report.kind == "filled":
            fields["ticks"] = report.ticks
            self.belief.fill(report.instrument, report.side * report.lots, report.ticks, report.fee)
        self._call("order", fields)
        if report.kind == "filled":
            self._call("fill", fields)

    # -- what the strategy does ------------------------------------------------------------------

    def _call(self, event: str, fields: dict[str, Any]) -> bool:
        now = self.agenda.now
        self.calls.append(Call(event, now, fields))
        actions = self.decide(event, now, fields)
        for action in actions:
            if isinstance(action, strategies.Order):
                self._send(action)
            else:
                self._set_timer(action)
        return bool(actions)

    def _set_timer(self, timer: strategies.Timer) -> None:
        self.timers += 1
        fire = partial(self._timer_fires, timer.name)
        self.agenda.add(timer.at, Rank.TIMER, (1, self.timers), fire)

    def _timer_fires(self, name: str) -> None:
        self._call("timer", {"name": name})

    def _send(self, wish: strategies.Order) -> None:
        now = self.agenda.now
        order = Order(
            number=len(self.orders) + 1,
            instrument=wish.instrument,
            side=wish.side,
            lots=wish.lots,
            limit_ticks=wish.limit_ticks,
            sent_at=now,
            ordinal=sum(other.sent_at == now for other in self.orders),
        )
        self.orders.append(order)
        arrival = max(now + self.entry(now, now, order.ordinal, 0, 0), self.last_order_arrival)
        self.last_order_arrival = arrival
        arrive = partial(self._order_arrives, order)
        self.agenda.add(arrival, Rank.VENUE_ARRIVAL, (order.number,), arrive)

    def _order_arrives(self, order: Order) -> None:
        now = self.agenda.now
        order.arrived_at = now
        for report in self.venue.execute(order, now):
            wait = self.response(now, now, order.sent_at, order.ordinal, 0)
            arrival = max(now + wait, self.last_report_arrival)
            self.last_report_arrival = arrival
            tell = partial(self._report_arrives, report)
            self.agenda.add(arrival, Rank.ORDER_REPORT, (report.number,), tell)
