"""The frame `lineage`: the chain behind each order and each change, one row a link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtester.lineage.refs import Decision, HeardReport, ReadAnswer, ReadRecord, ReadRow, Ref
from clock.rank import Rank
from inference.rows import MISSING
from inference.schedule import Outcomes

if TYPE_CHECKING:
    from backtester.lineage.recorder import Lineage
    from backtester.lineage.rows import RowStamps
    from backtester.run import Run
    from inference.serving.numbers import LoopRecords

__all__ = ["STAMPS", "lineage_frame"]

STAMPS = (
    "event_time",
    "receipt_time",
    "emitted_at",
    "decided_at",
    "submitted_at",
    "sent_at",
    "arrived_at",
    "started_at",
    "completed_at",
    "visible_at",
)
"""Instants of a link, in the order in which they come; null where it has none of the name."""

_COLUMNS: dict[str, Any] = {
    "order": pl.Int64,
    "change": pl.Int64,
    "step": pl.Int64,
    "behind": pl.Int64,
    "link": pl.String,
    "how": pl.String,
    "name": pl.String,
    "instrument": pl.String,
    "number": pl.Int64,
    "rank": pl.String,
    "value": pl.Float64,
    "replica": pl.Int64,
    "attempt": pl.Int64,
    **dict.fromkeys(STAMPS, pl.Int64),
}
_BEFORE_EVERYTHING = -1
_OF_A_REQUEST = STAMPS[4:]


def lineage_frame(run: Run, lineage: Lineage, serving: Sequence[LoopRecords]) -> pl.DataFrame:
    """Return every chain of a run that has come to its end.

    Args:
        run: The run.
        lineage: What it noted.
        serving: What each of its loops recorded.

    Returns:
        By order, change and step. `behind` is the step that a link stands behind, null of the
        decision itself; `how` tells whether a thing woke the callback or was read in it. Instants
        are in ns, MISSING where a link has none of the name.
    """
    chains = _Chains(run, lineage, serving)
    for (order, change), decision in sorted(lineage.decisions.items()):
        chains.add(order, change, decision)
    return pl.DataFrame(chains.columns, schema=_COLUMNS)


class _Chains:
    """Writes chains down, link by link."""

    def __init__(self, run: Run, lineage: Lineage, serving: Sequence[LoopRecords]) -> None:
        self._names = run.names
        self._lineage = lineage
        self._loops = {
            loop.name: _Requests(kept.outcomes)
            for loop, kept in zip(run.planes.loops, serving, strict=True)
        }
        self._head = (0, 0)
        self._steps = 0
        self.columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}

    def add(self, order: int, change: int, decision: Decision) -> None:
        """Add the chain of an order, or of a change."""
        self._head, self._steps = (order, change), 0
        self._decision(decision, None, "")

    def _link(self, behind: int | None, link: str, how: str, **content: Any) -> int:
        step = self._steps
        order, change = self._head
        row = {"order": order, "change": change, "step": step, "behind": behind, "link": link}
        row |= {"how": how, **dict.fromkeys(STAMPS, MISSING), **content}
        for name, column in self.columns.items():
            column.append(row.get(name))
        self._steps += 1
        return step

    def _decision(self, decision: Decision, behind: int | None, how: str) -> None:
        before = decision.rank == _BEFORE_EVERYTHING
        step = self._link(
            behind,
            "decision",
            how,
            name=decision.callback,
            rank="first" if before else Rank(decision.rank).name.lower(),
            sent_at=decision.sent_at,
            decided_at=decision.now,
        )
        for ref, how_read in decision.behind:
            self._ref(ref, step, how_read)

    def _ref(self, ref: Ref, behind: int, how: str) -> None:
        if isinstance(ref, ReadAnswer):
            self._answer(ref, behind, how)
        elif isinstance(ref, ReadRow):
            self._row(self._lineage.rows.row(ref.number), behind, how)
        elif isinstance(ref, ReadRecord):
            self._record(ref, behind, how)
        elif isinstance(ref, HeardReport):
            self._link(
                behind,
                "report",
                how,
                name=ref.kind,
                instrument=ref.instrument,
                number=ref.number,
                event_time=ref.venue_time,
                visible_at=ref.heard_at,
            )
        else:
            self._link(behind, "timer", how, name=ref.name)

    def _answer(self, ref: ReadAnswer, behind: int, how: str) -> None:
        requests = self._loops[ref.loop]
        found = requests.of(ref.number)
        step = self._link(
            behind,
            "prediction",
            how,
            name=ref.loop,
            instrument=self._names[found["instrument"]],
            number=ref.number,
            value=requests.value_of(ref.number),
            event_time=found["event_time"],
            visible_at=found["visible_at"],
        )
        self._request(ref, found, step, "asked")

    def _request(self, ref: ReadAnswer, found: dict[str, int], behind: int, how: str) -> None:
        step = self._link(
            behind,
            "request",
            how,
            name=ref.loop,
            instrument=self._names[found["instrument"]],
            number=ref.number,
            replica=found["replica"],
            attempt=found["attempts"],
            **{name: found[name] for name in _OF_A_REQUEST},
        )
        own = self._lineage.requests.get(ref)
        if own is not None:
            self._decision(own, step, "asked")
        else:
            key = (found["emitted_at"], found["instrument"], found["tie"])
            row = self._lineage.rows.find(*key)
            assert row is not None, f"request {ref.number} of {ref.loop} has a row"
            self._row(row, step, "asked")
        if found["source"] >= 0:  # the cache gave the answer to another request again
            source = ReadAnswer(ref.loop, found["source"])
            self._request(source, self._loops[ref.loop].of(source.number), step, "cached")

    def _row(self, row: RowStamps, behind: int, how: str) -> None:
        step = self._link(
            behind,
            "row",
            how,
            name="features",
            instrument=self._names[row.instrument],
            number=row.number,
            event_time=row.event_time,
            emitted_at=row.emitted_at,
            visible_at=row.visible_at,
        )
        for record in row.records:
            self._record(record, step, "included")

    def _record(self, record: ReadRecord, behind: int, how: str) -> None:
        self._link(
            behind,
            "record",
            how,
            name=record.kind,
            instrument=record.instrument,
            number=record.sequence,
            event_time=record.event_time,
            receipt_time=record.receipt_time,
        )


class _Requests:
    """The requests of a loop by their number."""

    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._order = np.argsort(outcomes.number, kind="stable")
        self._numbers = outcomes.number[self._order]

    def _place(self, number: int) -> int:
        return int(self._order[self._numbers.searchsorted(number)])

    def of(self, number: int) -> dict[str, int]:
        """Return a request's stamps, and what tells whose it was."""
        place = self._place(number)
        others = ("emitted_at", "event_time", "instrument", "tie", "replica", "attempts", "source")
        return {name: int(getattr(self._outcomes, name)[place]) for name in _OF_A_REQUEST + others}

    def value_of(self, number: int) -> float:
        """Return the value of a request's answer."""
        return float(self._outcomes.value[self._place(number)])
