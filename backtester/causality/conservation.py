"""Law 6 on a run: every request ends once, every lot is accounted for, and the books balance.

The books are made again, in exact fractions, from nothing but the fills and payments of the trace,
by the rules of `docs/accounts.md`, and compared entry by entry.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from backtester.causality.entries import Entry, read_entry
from backtester.orders import ReportKind, Role
from backtester.trace import EntryKind, TraceEntry
from featurizer.market import Instrument
from inference.schedule import Outcome

if TYPE_CHECKING:
    from backtester.result import RunResult
    from backtester.run import Run

__all__ = ["check_books", "check_lots", "check_requests", "entries_of"]

Entries = dict[EntryKind, list[Entry]]

_ATTEMPT_BITS = 16
_GIVEN_UP = (ReportKind.CANCELED, ReportKind.EXPIRED)
_FIRST = {ReportKind.ACCEPTED, ReportKind.REJECTED}


def entries_of(trace: Sequence[TraceEntry]) -> Entries:
    """Return the entries of a trace by kind, each kind in the order of time."""
    read: Entries = {kind: [] for kind in EntryKind}
    for _, data in trace:
        entry = read_entry(data)
        read[entry.kind].append(entry)
    return read


def check_requests(entries: Entries, plain: frozenset[int] = frozenset()) -> None:
    """Assert that each request ends in exactly one outcome, and attempts are told apart from it.

    Args:
        entries: Of a whole run.
        plain: Places of loops without policies, which tell no attempts.

    Raises:
        AssertionError: Naming the request.
    """
    asked = Counter(entry.number for entry in entries[EntryKind.REQUEST])
    ended = Counter(entry.number for entry in entries[EntryKind.OUTCOME])
    for number, count in (asked | ended).items():
        assert asked[number] == 1, f"{_request(number)} was asked {asked[number]} times"
        assert count == 1 == ended[number], f"{_request(number)} ended {ended[number]} times"
    told = Counter(entry.number >> _ATTEMPT_BITS for entry in entries[EntryKind.ATTEMPT])
    for entry in entries[EntryKind.OUTCOME]:
        loop = entry.number >> 40
        expected = 0 if loop in plain else entry.words["attempts"]
        assert told[entry.number] == expected, (
            f"{_request(entry.number)} says {entry.words['attempts']} attempts: "
            f"{told[entry.number]} are told"
        )
        value, done = entry.words["value"], entry.words["outcome"] == Outcome.COMPLETED
        assert done or value != value, f"{_request(entry.number)} has a value and no answer"


def check_lots(entries: Entries) -> None:
    """Assert that no order is filled beyond what was asked, nor after its end, and none twice.

    Raises:
        AssertionError: Naming the order.
    """
    reports: dict[int, list[Entry]] = defaultdict(list)
    for report in sorted(entries[EntryKind.REPORT], key=lambda entry: entry.number):
        reports[report.words["order"]].append(report)
    asked = _asked(entries, reports)
    refused = {entry.number for entry in entries[EntryKind.REFUSAL]}
    for number, told in reports.items():
        if number <= 0:
            continue  # what the venue does of its own
        kinds = [ReportKind(report.words["kind"]) for report in told]
        filled = _filled(told)
        assert number not in refused, f"order {number} was kept back, and reported on"
        assert kinds[0] in _FIRST | {ReportKind.MODIFY_REJECTED, ReportKind.CANCEL_REJECTED}, (
            f"the first report of order {number} is {kinds[0].name}"
        )
        firsts = sum(kind in _FIRST for kind in kinds)
        assert firsts <= 1, f"order {number} was accepted or rejected {firsts} times"
        assert filled <= asked[number], f"order {number}: {filled} lots of {asked[number]} filled"
        ends = [place for place, kind in enumerate(kinds) if kind in _GIVEN_UP]
        assert len(ends) <= 1, f"order {number} ended {len(ends)} times"
        after = kinds[ends[0] :] if ends else []
        assert ReportKind.FILLED not in after, f"order {number} was filled after its end"


def _asked(entries: Entries, reports: Mapping[int, Sequence[Entry]]) -> dict[int, int]:
    """Return how many lots each order may be filled for, at most.

    An exit of a bracket grows with its entry: it may be filled for what its entry was, and for what
    it was itself changed to.
    """
    orders = {order.number: order.words for order in entries[EntryKind.ORDER]}
    assert sorted(orders) == list(range(1, len(orders) + 1)), "orders are numbered without a gap"
    changed: dict[int, int] = defaultdict(int)
    for change in entries[EntryKind.CHANGE]:
        number = change.words["order"]
        changed[number] = max(changed[number], change.words["lots"])
    return {
        number: changed[number] + _filled(reports.get(words["group"], ()))
        if words["role"] == Role.EXIT
        else max(words["lots"], changed[number])
        for number, words in orders.items()
    }


def _filled(reports: Sequence[Entry]) -> int:
    return sum(abs(report.words["lots"]) for report in reports)


def check_books(run: Run, result: RunResult, entries: Entries) -> None:
    """Assert that both books are what the fills and payments add up to, to the last ledger unit.

    Ours repeat the venue's entry by entry, as far as reports have reached us; where all have, the
    two are the same.

    Args:
        run: A run that has come to its end.
        result: What it came to.
        entries: Of its trace.

    Raises:
        AssertionError: Naming the entry, or what the two disagree about.
    """
    from backtester.loading import scenario_instruments

    terms = scenario_instruments(run.scenario, run.catalog)
    unit = Fraction(1, run.money.units.per_currency)
    venue = _booked(entries[EntryKind.VENUE_LEDGER], entries[EntryKind.VENUE_PAYMENT], result)
    ours = _booked(entries[EntryKind.BELIEF_LEDGER], entries[EntryKind.BELIEF_PAYMENT], result)
    opening = {name: Fraction(held) for name, held in run.scenario.portfolio.balances.items()}
    for told in (venue, ours):
        books = _Books(terms, opening, unit)
        for entry in told:
            books.book(entry)
    for one, two in zip(venue, ours, strict=False):
        assert (one.words, one.number) == (two.words, two.number), (
            f"our books must repeat the venue's: entry {two.number} is {two.words}, "
            f"the venue's is {one.words}"
        )
    assert len(ours) <= len(venue), "our books hold what the venue's do not"
    if len(ours) == len(venue):
        apart = run.money.account.differences(run.engine.belief)
        assert not apart, f"all reports are in, and the books differ: {'; '.join(apart)}"


def _booked(fills: list[Entry], payments: list[Entry], result: RunResult) -> list[Entry]:
    """Return the entries of one account in the order in which the venue made their reports."""
    placed: list[tuple[int, Entry]] = []
    for entries, frame in ((fills, result.fills), (payments, result.payments)):
        in_order = sorted(entries, key=lambda entry: entry.number)
        placed += zip(frame["report"].to_list(), in_order, strict=False)
    return [entry for _, entry in sorted(placed, key=lambda item: item[0])]


class _Books:
    """Cash, positions and their cost, worked out from a list of bookings alone."""

    def __init__(
        self, terms: Sequence[Instrument], opening: dict[str, Fraction], unit: Fraction
    ) -> None:
        self.terms, self.unit = terms, unit
        self.cash: dict[str, Fraction] = defaultdict(Fraction, opening)
        self.lots: Counter[int] = Counter()
        self.cost: dict[int, Fraction] = defaultdict(Fraction)

    def book(self, entry: Entry) -> None:
        """Take an entry into account, and assert that it says what follows from it."""
        words = entry.words
        place = words["instrument"]
        currency = self._currency(place)
        if "amount" in words:
            self.cash[currency] += words["amount"] * self.unit
            expected = {"cash": self.cash[currency] / self.unit}
        else:
            realised = self._execute(place, words["lots"], words["ticks"])
            paid = words["fee"] * self.unit
            if self.terms[place].contract == "spot":
                paid += self._worth(place, words["lots"], words["ticks"])
            else:
                paid -= realised
            self.cash[currency] -= paid
            expected = {
                "realised": realised / self.unit,
                "cash": self.cash[currency] / self.unit,
                "position": Fraction(self.lots[place]),
                "basis": self.cost[place] / self._step(place),
            }
        for name, value in expected.items():
            assert words[name] == value, (
                f"`{name}` of booking {entry.number} ({entry.kind.name.lower()}) must be {value}: "
                f"got {words[name]}"
            )

    def _execute(self, place: int, lots: int, ticks: int) -> Fraction:
        """Close what a fill closes, open the rest, and return what was realised."""
        held, sign = self.lots[place], 1 if lots > 0 else -1
        closing = min(abs(held), abs(lots)) if held * lots < 0 else 0
        realised = Fraction(0)
        if closing:
            step = self._step(place)
            steps = abs(self.cost[place]) / step * closing / abs(held)
            released = int(steps) * step * (1 if self.cost[place] > 0 else -1)
            realised = self._basis(place, -sign * closing, ticks) - released
            self.cost[place] -= released
        self.cost[place] += self._basis(place, sign * (abs(lots) - closing), ticks)
        self.lots[place] += lots
        return realised

    def _basis(self, place: int, lots: int, ticks: int) -> Fraction:
        """Return what lots add to the basis: for an inverse contract less their worth."""
        worth = self._worth(place, lots, ticks)
        return -worth if self.terms[place].contract == "inverse" else worth

    def _worth(self, place: int, lots: int, ticks: int) -> Fraction:
        terms = self.terms[place]
        size = Fraction(terms.lot_size) * Fraction(terms.contract_size)
        if terms.contract == "inverse":
            exact = lots * size / (ticks * Fraction(terms.tick_size))
            return round(exact / self.unit) * self.unit
        return lots * ticks * size * Fraction(terms.tick_size)

    def _step(self, place: int) -> Fraction:
        terms = self.terms[place]
        if terms.contract == "inverse":
            return self.unit
        return Fraction(terms.tick_size * terms.lot_size * terms.contract_size)

    def _currency(self, place: int) -> str:
        terms = self.terms[place]
        return terms.base if terms.contract == "inverse" else terms.quote


def _request(number: int) -> str:
    return f"request {number & ((1 << 40) - 1)} of loop {number >> 40}"
