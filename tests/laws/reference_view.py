"""A trace of the reference simulator, written as the entries that the engine would write."""

from __future__ import annotations

from backtester.orders import OrderType, Reason, ReportKind, TimeInForce
from backtester.trace import EntryKind
from inference.schedule import Outcome
from inference.schedule import Reason as Because
from tests.laws.harness import LOOP_SHIFT, Played
from tests.reference.account import Account
from tests.reference.loop import Attempt, Request
from tests.reference.simulator import ReferenceTrace, simulate
from tests.reference.strategies import Script
from tests.reference.venue import Report

REASONS = {"": Reason.NONE, "immediate": Reason.UNFILLED_REMAINDER}
Row = tuple[object, ...]


def reference_of(played: Played) -> ReferenceTrace:
    """Run the reference on the engine's own rows: all behind them must agree to the last bit."""
    case = played.case
    script = Script(case.plan, [terms.id for terms in case.terms])
    return simulate(case.scenario, case.records, script, case.model, rows=played.rows)


def reference_entries(played: Played, trace: ReferenceTrace) -> dict[EntryKind, list[Row]]:
    """Return what the reference says of each kind of entry but the rows, sorted."""
    until = played.case.until
    ids = [terms.id for terms in played.case.terms]
    arrived = {number: instant for instant, number in trace.arrivals}
    made = {report.number: report for report in trace.reports}
    told = [(made[number], instant) for instant, number in trace.arrivals]
    entries: dict[EntryKind, list[Row]] = {
        EntryKind.REQUEST: [
            (r.submitted_at, _number(r), r.row.instrument, r.row.emitted_at, r.row.tie)
            for r in trace.requests
        ],
        EntryKind.OUTCOME: [_outcome(request, until) for request in trace.requests],
        EntryKind.ATTEMPT: [
            _attempt(attempt, until)
            for request in trace.requests
            for attempt in request.tries
            if not played.run.planes.loops[request.loop].is_plain
        ],
        EntryKind.ORDER: [
            (
                order.sent_at,
                order.number,
                ids.index(order.instrument),
                order.side,
                OrderType.MARKET if order.limit_ticks is None else OrderType.LIMIT,
                order.lots,
                order.limit_ticks or 0,
                order.sent_at,
                TimeInForce.IOC,
                *(0, 0, 0, 0, 0),
            )
            for order in trace.orders
        ],
        EntryKind.REPORT: [_report(made[number], arrived[number]) for number in sorted(arrived)],
        EntryKind.VENUE_LEDGER: _ledger(trace.venue, [f.venue_time for f in trace.fills], ids),
        EntryKind.BELIEF_LEDGER: _ledger(
            trace.belief, [instant for report, instant in told if report.kind == "filled"], ids
        ),
    }
    return {kind: sorted(rows, key=repr) for kind, rows in entries.items()}


def engine_entries(played: Played) -> dict[EntryKind, list[Row]]:
    """Return the engine's entries of the same kinds in the same form, sorted."""
    entries: dict[EntryKind, list[Row]] = {}
    for kind, found in played.entries.items():
        ranked = kind in (EntryKind.OUTCOME,)
        entries[kind] = sorted(
            (
                (e.instant, *((e.rank,) if ranked else ()), e.number, *map(_text, e.words.values()))
                for e in found
            ),
            key=repr,
        )
    del entries[EntryKind.FEATURE_ROW]
    return entries


def _number(request: Request) -> int:
    return request.number + (request.loop << LOOP_SHIFT)


def _outcome(r: Request, until: int) -> Row:
    in_flight = r.outcome == "in_flight"
    return (
        until if in_flight else r.visible_at,
        0 if in_flight else r.rank,
        _number(r),
        Outcome[r.outcome.upper()],
        r.attempts,
        r.replica,
        r.sent_at,
        r.arrived_at,
        r.started_at,
        r.completed_at,
        int(r.superseded),
        r.first_sent_at,
        r.routed_at,
        r.batched_at,
        r.variant,
        r.source,
        int(r.fallback),
        Because[r.reason.upper()],
        _text(r.value),
    )


def _attempt(a: Attempt, until: int) -> Row:
    number = (a.request.loop << LOOP_SHIFT + 16) + (a.request.number << 16) + a.index
    return (
        until if a.ended_at < 0 else a.ended_at,
        number,
        Outcome[a.outcome.upper()],
        Because[a.reason.upper()],
        a.variant,
        a.replica,
        a.sent_at,
        a.arrived_at,
        a.routed_at,
        a.batched_at,
        a.started_at,
        a.completed_at,
        a.visible_at,
        a.execution,
        a.batch_size,
        int(a.fallback),
    )


def _report(report: Report, instant: int) -> Row:
    reason = REASONS.get(report.reason)
    return (
        instant,
        report.number,
        report.order,
        ReportKind[report.kind.upper()],
        Reason[report.reason.upper()] if reason is None else reason,
        report.venue_time,
        report.lots if report.kind == "filled" else 0,
        report.ticks,
        report.fee,
    )


def _ledger(account: Account, instants: list[int], ids: list[str]) -> list[Row]:
    return [
        (instant, number, ids.index(e.instrument), e.lots, e.ticks, e.fee)
        + (e.realised, e.cash, e.position, e.basis)
        for number, (instant, e) in enumerate(zip(instants, account.entries, strict=True), start=1)
    ]


def _text(word: object) -> object:
    return word.hex() if isinstance(word, float) else word
