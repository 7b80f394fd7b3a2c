"""What the commands print: tables and progress for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["note", "print_json", "print_table", "progress", "tell_if_compiling"]

Progress = Callable[[int, int], None]


def print_json(content: Any) -> None:
    """Print JSON, and nothing else, on standard output."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def print_table(table: Any) -> None:
    """Print a rich table on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 140  # a pipe has no width: do not fold tables
    console.print(table)


def note(text: str) -> None:
    """Tell a person something, on standard error."""
    print(text, file=sys.stderr)


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Progress | None]:
    """Show a progress bar on standard error while something long goes on.

    Yields:
        A function of (done, total), or None when nobody watches.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def tell_if_compiling(*, quiet: bool = False) -> None:
    """Say so when the first kernel is compiled: once for each version of the sources behind it."""
    if quiet:
        return
    from numba.core import event

    class Teller(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            if not told:
                told.append(True)
                note("Compiling kernels: some seconds, the first time only.")

        def on_end(self, event: Any) -> None: ...

    told: list[bool] = []
    event.register("numba:compile", Teller())
