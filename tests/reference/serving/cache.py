"""The client's cache of answers: a plain list, the least recently used first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.reference.serving.records import Request
from tests.reference.serving.settings import Cache

Cell = tuple[object, ...]


@dataclass(eq=False)
class Entry:
    """One answer kept; `source` is the request that was really answered."""

    cell: Cell
    source: Request
    written_at: int


class AnswerCache:
    """Answers by quantised features."""

    def __init__(self, settings: Cache) -> None:
        self.settings = settings
        self.entries: list[Entry] = []

    def cell_of(self, request: Request) -> Cell:
        """Return the key under which an answer to a request is kept."""
        cells = (
            _cell(value, step)
            for value, step in zip(request.values, self.settings.steps, strict=True)
        )
        return request.row.instrument, *cells

    def look_up(self, request: Request, now: int) -> Entry | None:
        """Return the valid entry for a request, now the most recently used, or None."""
        cell = self.cell_of(request)
        for entry in list(self.entries):
            if entry.cell == cell:
                self.entries.remove(entry)
                if now - entry.written_at < self.settings.ttl:
                    self.entries.append(entry)
                    return entry
        return None

    def write(self, request: Request, now: int) -> None:
        """Keep the answer of a request that has just become visible."""
        cell = self.cell_of(request)
        self.entries = [entry for entry in self.entries if entry.cell != cell]
        self.entries.append(Entry(cell, request, now))
        del self.entries[: -self.settings.max_entries]


def _cell(value: float, step: float) -> object:
    if math.isnan(value):
        return "nan"
    return math.floor(value / step + 0.5) if step > 0 else value.hex()
