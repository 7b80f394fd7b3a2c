"""What a swarm came to, as a table in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtester.causality.swarm import Totals, Trial

__all__ = ["swarm_table"]

_LINES = 12


def swarm_table(totals: Totals) -> Any:
    """Return a rich table of the totals, and of each failure."""
    from rich.table import Table
    from rich.text import Text

    failed = len(totals.failures)
    title = f"swarm: {'every law held' if not failed else f'{failed} FAILURES'}"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, told in _rows(totals):
        table.add_row(name, told)
    for trial in totals.failures:
        table.add_section()
        for name, told in _failure(trial):
            table.add_row(name, Text(told))
    return table


def _rows(totals: Totals) -> list[tuple[str, str]]:
    first, last = totals.first_seed, totals.first_seed + totals.seeds - 1
    rows = [
        (
            "examples",
            f"{totals.examples:,}, {totals.filled:,} of them with fills; {totals.refused:,} more "
            "were refused by their rules",
        ),
        ("runs of them", f"{totals.runs:,}, {totals.simulated_hours:.2f} simulated hours"),
        ("other futures", f"{totals.has_future:,}"),
        ("faults injected", f"{totals.faults:,}"),
        ("fills, answers", f"{totals.fills:,}, {totals.answers:,}"),
        ("failures", f"{len(totals.failures)}"),
    ]
    if totals.log:
        rows.append(("seeds", f"{totals.seeds}, from {first} to {last}; log: {totals.log}"))
    return rows


def _failure(trial: Trial) -> list[tuple[str, str]]:
    lines = trial.failure.rstrip().splitlines()
    shown = lines if len(lines) <= _LINES else ["…", *lines[-_LINES:]]
    which = f"--again {trial.seed}" if trial.seed >= 0 else ""
    rows = [("broken", "\n".join(shown))]
    if trial.kept:
        rows.append(("the scenario", f"{trial.kept}/scenario.yaml"))
        which = f"--again {trial.kept}"
        if trial.seed >= 0:
            rows.append(("by its seed", f"lightcone swarm --again {trial.seed}"))
    rows.append(("again", f"lightcone swarm {which}"))
    return rows
