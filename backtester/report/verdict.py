"""The verdict of a check, as a table in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtester.causality.verdict import Counterexample, Verdict

__all__ = ["reruns_table", "verdict_table"]

_SAID = {
    "leak": "LEAK",
    "none found": "no leak found",
    "unproven": "unproven: could not decide",
}


def verdict_table(verdict: Verdict, name: str) -> Any:
    """Return a rich table."""
    from rich.table import Table

    table = Table(title=f"{name}: {_SAID[verdict.kind]}", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for leak in verdict.leaks:
        table.add_row("leak", leak)
    if verdict.counterexample is not None:
        for row in _example(verdict.counterexample):
            table.add_row(*row)
    for doubt in verdict.doubts:
        table.add_row("not proven", doubt)
    for row in _looked(verdict):
        table.add_row(*row)
    return table


def reruns_table(told: Sequence[tuple[str, str]], name: str) -> Any:
    """Return a rich table of the ways in which a run was made again, and what differed."""
    from rich.table import Table

    same = not any(what for _, what in told)
    title = f"{name}: {'the same trace, byte for byte' if same else 'DOES NOT REPEAT ITSELF'}"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for way, what in told:
        table.add_row(way, what or "the same")
    return table


def _example(example: Counterexample) -> list[tuple[str, str]]:
    rows = [
        ("what changed", example.what),
        *(
            (column, f"{real} in the real run, {other} in the other")
            for column, real, other in example.columns
        ),
        ("reached by", example.record),
        ("law", f"{example.law}: the futures are the same up to {example.cut}"),
        ("again", example.replay),
    ]
    return rows


def _looked(verdict: Verdict) -> list[tuple[str, str]]:
    seen = verdict.coverage
    if not seen.futures:
        return [("looked for", f"{verdict.seconds:.1f} s")]
    failed = f"; {seen.failed} could not be run" if seen.failed else ""
    return [
        ("record by record", _of(seen.decisions_walked, seen.decisions)),
        ("cuts", f"{seen.cuts}, at {_of(seen.decisions_cut, seen.decisions)}"),
        ("other futures", f"{seen.futures}, {seen.records:,} records changed{failed}"),
        ("looked for", f"{verdict.seconds:.1f} s"),
    ]


def _of(part: int, decisions: int) -> str:
    """Return how many of the decisions it were."""
    return f"{part} of {decisions} decisions" + (f" ({part / decisions:.1%})" if decisions else "")
