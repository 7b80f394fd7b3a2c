"""Records into the parts of a catalog: validated, cut by UTC day, all of them or none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from clock.units import format_instant
from featurizer.catalog_columns import to_columns
from featurizer.catalog_commit import Staging, carry_out, commit, locked
from featurizer.catalog_folder import CatalogFolder
from featurizer.catalog_parts import Part, Summary, write_part
from featurizer.errors import CatalogError
from featurizer.ingest.refusal import Origin, refuse_if
from featurizer.ingest.validation import DEFAULT_MAX_LATENESS_NS, check_records
from featurizer.market import Array, StreamKey

__all__ = ["Transaction"]

_DAY_NS: Final = 86_400_000_000_000


class _Staged(NamedTuple):
    path: Path
    day: str
    summary: Summary
    source: str


class Transaction:
    """Records that become part of a catalog together, or not at all.

    Nothing is seen before `commit`, and what is committed is seen as a whole. Others may commit
    meanwhile: whether records lie apart is decided when it is this one's turn.

    Args:
        store: The catalog.
        replace: Replace the days that the records touch. Otherwise records must not lie among
            those that are there already.
    """

    def __init__(self, store: CatalogFolder, *, replace: bool = False) -> None:
        self._store, self._replace = store, replace
        self._staged: dict[StreamKey, list[_Staged]] = {}
        self._notes: dict[StreamKey, list[dict[str, Any]]] = {}
        self._staging = Staging(store.root)
        self.replaced: dict[StreamKey, int] = {}

    def write(
        self,
        instrument: str,
        kind: str,
        data: Any,
        *,
        max_lateness_ns: int = DEFAULT_MAX_LATENESS_NS,
        origin: Origin | None = None,
    ) -> int:
        """Validate records and stage them; see `Catalog.write`.

        Records of one stream are written in order of time: later calls hold later records.
        """
        store, key = self._store, (instrument, kind)
        definitions, spec = store.definitions_of(instrument), store.kind(kind)
        where = origin or Origin(f"{instrument} {kind}")
        columns = to_columns(data, spec, where)
        check_records(columns, spec, definitions, where, max_lateness_ns)
        _check_revisions(columns, store.key_of(kind), where)
        parts = self._staged.setdefault(key, [])
        for day, own in _by_day(columns):
            path = self._staging.file()
            staged = _Staged(path, day, write_part(path, own, spec), where.file)
            _check_apart(staged, [(part.path, part.summary) for part in parts])
            parts.append(staged)
        return len(columns["event_time"])

    def note(self, instrument: str, kind: str, entry: dict[str, Any]) -> None:
        """Record with a stream what was done to the stamps of a `file`."""
        self._notes.setdefault((instrument, kind), []).append(entry)

    def commit(self) -> None:
        """Make the records part of the catalog.

        Raises:
            CatalogError: If records lie among those that are there.
        """
        root = self._store.root
        moves: dict[Path, Path] = {}
        removals: list[Path] = []
        with locked(root, exclusive=True):
            carry_out(root)
            for key, staged in self._staged.items():
                self._plan(key, staged, moves, removals)
            for key, entries in self._notes.items():
                target = self._store.folder(*key) / "calibration.json"
                path = self._staging.file()
                path.write_text(_merged_notes(target, entries), encoding="utf-8")
                moves[path] = target
            if moves:
                commit(root, moves, removals)

    def close(self) -> None:
        """Forget what was not committed."""
        self._staging.close()

    def _plan(
        self, key: StreamKey, staged: list[_Staged], moves: dict[Path, Path], removals: list[Path]
    ) -> None:
        present = self._store.listed(*key)
        days = {part.day for part in staged}
        gone = [p for p in present if self._replace and _day_of(p.home) in days]
        kept = [part for part in present if part not in gone]
        for new in staged:
            _check_apart(new, [(part.path, part.summary) for part in kept])
        numbers = {day: _next_number(kept, day) for day in days}
        targets = set()
        for new in staged:
            target = f"date={new.day}/part-{numbers[new.day]:05d}.parquet"
            numbers[new.day] += 1
            moves[new.path] = self._store.folder(*key) / target
            targets.add(moves[new.path])
        removals += [part.home for part in gone if part.home not in targets]
        if gone:
            self.replaced[key] = sum(part.summary.rows for part in gone)


def _day_of(path: Path) -> str:
    return path.parent.name.removeprefix("date=")


def _next_number(parts: Sequence[Part], day: str) -> int:
    stems = [part.home.stem for part in parts if _day_of(part.home) == day]
    tails = [stem.removeprefix("part-") for stem in stems]
    return max((int(tail) + 1 for tail in tails if tail.isdigit()), default=0)


def _merged_notes(path: Path, entries: list[dict[str, Any]]) -> str:
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    files = {entry["file"] for entry in entries}
    kept = [entry for entry in known if entry["file"] not in files]
    return json.dumps([*kept, *entries], indent=1) + "\n"


def _by_day(columns: Mapping[str, Array]) -> Iterator[tuple[str, dict[str, Array]]]:
    event = columns["event_time"]
    first, last = int(event[0]) // _DAY_NS, int(event[-1]) // _DAY_NS
    days = np.unique(event // _DAY_NS) if last - first > len(event) else range(first, last + 1)
    for day in map(int, days):
        start, stop = np.searchsorted(event, [day * _DAY_NS, (day + 1) * _DAY_NS])
        if stop > start:
            name = str(np.datetime64(day, "D"))
            yield name, {column: values[start:stop] for column, values in columns.items()}


def _check_apart(new: _Staged, present: Sequence[tuple[Path, Summary]]) -> None:
    first, last = new.summary.first, new.summary.last
    for path, summary in present:
        if first <= summary.last and last >= summary.first:
            raise CatalogError(
                f"{new.source}: records must not lie among those of the catalog: got "
                f"{format_instant(first[0])} to {format_instant(last[0])}, while {path} has "
                f"{format_instant(summary.first[0])} to "
                f"{format_instant(summary.last[0])}. Accept it with `--replace`, which "
                f"replaces the days that the records touch."
            )


def _check_revisions(columns: Mapping[str, Array], key: tuple[str, ...], origin: Origin) -> None:
    """Refuse two records of one key that reach us together: neither revises the other."""
    if not key:
        return
    names = [*key, "receipt_time"]
    order = np.lexsort([columns[name] for name in reversed(names)])
    equal = np.ones(len(order) - 1, np.bool_)
    for name in names:
        values = columns[name][order]
        equal &= values[1:] == values[:-1]
    twice = np.zeros(len(order), np.bool_)
    twice[order[1:][equal]] = True
    text: Callable[[int], str] = lambda i: format_instant(int(columns["receipt_time"][i]))  # noqa: E731
    refuse_if(
        twice,
        origin,
        f"`receipt_time` of a revision (same {', '.join(f'`{k}`' for k in key)}) must be after "
        f"that of the record it revises",
        lambda i: f"{text(i)} twice",
        "Remove one of the records, or say when the later one was received.",
    )
