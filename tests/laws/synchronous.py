"""A plain synchronous backtest: no heap, no messages, nothing on its way.

At each instant: what the venue shows, our records, the rows, the answers, the reports, the polls,
the timers. An order is filled where it is sent, and told of after the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.laws.player import Call
from tests.laws.raw import received
from tests.reference.account import Account, Ledger
from tests.reference.case import Case
from tests.reference.features import FeatureRow
from tests.reference.strategies import Order, Script
from tests.reference.venue import Order as Sent
from tests.reference.venue import Report, Venue


@dataclass
class Answer:
    """A question to the model that was answered at once."""

    number: int
    value: float
    row: FeatureRow


@dataclass
class Synchronous:
    """The backtest, and what it comes to.

    Args:
        case: An example in which nothing takes any time, and every slot is free.
        rows: The feature rows.
    """

    case: Case
    rows: Sequence[FeatureRow]
    calls: list[Call] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    fills: list[Report] = field(default_factory=list)

    def run(self) -> Synchronous:
        """Go through the instants at which anything happens."""
        scenario = self.case.scenario
        self.ids = [terms.id for terms in self.case.terms]
        self.script = Script(self.case.plan, self.ids)
        self.venue = Venue(scenario, Ledger(scenario.instruments))
        self.belief = Account(self.venue.ledger, scenario.instruments, self.venue.account.cash)
        self.told: list[Report] = []
        self.timers: list[tuple[int, str]] = []
        self.sent = 0
        self.now = scenario.start
        self.newest: FeatureRow | None = None
        self.tell("start", {})
        polls = scenario.loops[0].period or scenario.until
        while (now := self.next_instant(polls)) < scenario.until:
            self.now = now
            self.one_instant(polls)
        self.now = scenario.until
        self.tell("stop", {})
        return self

    def next_instant(self, polls: int) -> int:
        """Return the first instant after the last one at which anything happens."""
        scenario, past = self.case.scenario, self.now - (not hasattr(self, "done"))
        self.done = True
        stamps = [row["event_time"] for rows in self.case.records.values() for row in rows]
        stamps += [row.visible_at for row in self.rows] + [at for at, _ in self.timers]
        stamps += range(scenario.start, scenario.until, polls)
        return min((stamp for stamp in stamps if stamp > past), default=scenario.until)

    def one_instant(self, polls: int) -> None:
        """Run one instant, in the published order."""
        case, now, loop = self.case, self.now, self.case.scenario.loops[0]
        for (name, kind), records in case.records.items():
            for record in records:
                if kind == "quotes" and record["event_time"] == now:
                    self.venue.quote(name, record)
        for (instant, _, _), seen in received(case):
            if instant == now:
                event = seen.kind.rstrip("s")
                self.tell(event, {"instrument": seen.instrument, **seen.row})
        complete = [row for row in self.rows if row.visible_at == now]
        for row in complete:
            about = {"instrument": self.ids[row.instrument], "values": row.values}
            self.tell("features", about | {"emitted_at": row.emitted_at})
        complete = [row for row in complete if self.read(row) is not None]
        for row in complete:
            self.newest = row
        if loop.polling != "every":
            self.deliver([self.ask(row) for row in complete])
        self.report()
        if loop.polling == "every" and (now - case.scenario.start) % polls == 0 and self.newest:
            self.deliver([self.ask(self.newest)])
            self.report()
        while due := [timer for timer in self.timers if timer[0] == now]:
            self.timers.remove(due[0])
            self.tell("timer", {"name": due[0][1]})
            self.report()

    def read(self, row: FeatureRow) -> list[float] | None:
        """Return what the model reads of a row, None where a value is missing."""
        features, loop = self.case.scenario.features, self.case.scenario.loops[0]
        assert features is not None
        names = [column.name for column in features.columns]
        values = [row.values[names.index(name)] for name in loop.features or names]
        return values if all(value == value for value in values) else None

    def ask(self, row: FeatureRow) -> Answer:
        """Ask the model about a row."""
        self.answers.append(Answer(len(self.answers), self.case.model(self.read(row) or []), row))
        return self.answers[-1]

    def deliver(self, answers: list[Answer]) -> None:
        """Tell the strategy what the model answered."""
        for answer in answers:
            about = {"instrument": self.ids[answer.row.instrument], "loop": "main"}
            about |= {"number": answer.number, "value": answer.value}
            self.tell("prediction", about | {"emitted_at": answer.row.emitted_at})

    def report(self) -> None:
        """Tell the strategy what became of its orders, until it sends no more."""
        while self.told:
            report = self.told.pop(0)
            names = ("order", "instrument", "side", "kind", "lots")
            about = {name: getattr(report, name) for name in names}
            if report.kind == "filled":
                about["ticks"] = report.ticks
                lots = report.side * report.lots
                self.belief.fill(report.instrument, lots, report.ticks, report.fee)
                self.fills.append(report)
            self.tell("order", about)
            if report.kind == "filled":
                self.tell("fill", about)

    def tell(self, event: str, fields: dict[str, object]) -> None:
        """Tell the strategy of an event and do what it wants, at once."""
        self.calls.append(Call(event, self.now, fields))
        for action in self.script(event, self.now, fields):
            if isinstance(action, Order):
                self.sent += 1
                order = Sent(self.sent, action.instrument, action.side, action.lots,
                             action.limit_ticks, self.now, 0)  # fmt: skip
                self.told += self.venue.execute(order, self.now)
            else:
                self.timers.append((action.at, action.name))
