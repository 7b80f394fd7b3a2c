"""Plays an example of a law in the real engine, and reads what happened off the trace's bytes.

Everything is the product's own: a catalog in Parquet, windows of a few rows, the graph, the loops,
the venue. Only the model is a plain function, and the strategy a script that both sides share.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from backtester.result import RunResult, build_result
from backtester.run import Mode, Run
from backtester.scenario import Scenario
from backtester.trace import EntryKind
from featurizer.catalog import Catalog
from featurizer.market import KINDS, Instrument
from tests.laws.player import Call, EagerPlayer, Player
from tests.reference.case import Case
from tests.reference.features import FeatureRow

LOOP_SHIFT = 40
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where catalogs are written: a file system that has nothing to wait for, where there is one."""

# -- a case as the product takes it ----------------------------------------------------------------


class Formula:
    """A model that is a plain function of one row: the same bits in any batch."""

    batch_invariant, accepts_nan, digest, version, training = True, False, "formula", "", None

    def __init__(self, names: tuple[str, ...], function: Callable[[list[float]], float]) -> None:
        self.feature_names, self.function = names, function

    def predict(self, values: np.ndarray) -> np.ndarray:
        return np.array([self.function(row) for row in values.tolist()], np.float64).reshape(-1)


def write_catalog(case: Case, folder: Path) -> Catalog:
    """Write the records of a case as a catalog."""
    instruments = [Instrument.model_validate(terms.mapping()) for terms in case.terms]
    catalog = Catalog.create(folder, instruments)
    with catalog.transaction() as change:
        for (name, kind), rows in case.records.items():
            if rows:
                of = KINDS[kind]
                columns = {
                    column: np.array([row[column] for row in rows], of.dtype(column))
                    for column in of.all_columns
                }
                change.write(name, kind, columns)
    return catalog


@contextmanager
def catalog_of(case: Case) -> Iterator[Catalog]:
    """Return the catalog of a case for as long as it is needed."""
    with TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield write_catalog(case, Path(folder))


def scenario_of(case: Case, catalog: Catalog) -> Scenario:
    """Return the scenario of a case; its strategy is given to the run as an object."""
    data = {**case.mapping["data"], "catalog": str(catalog.root)}
    unused = {"class": "backtester.strategies.MLStrategy"}
    return Scenario.model_validate({**case.mapping, "data": data, "strategy": unused})


# -- what happened ---------------------------------------------------------------------------------

WORDS = {
    EntryKind.FEATURE_ROW: "emitted_at event_time tie instrument",
    EntryKind.REQUEST: "instrument emitted_at tie",
    EntryKind.OUTCOME: "outcome attempts replica sent_at arrived_at started_at completed_at "
    "superseded first_sent_at routed_at batched_at variant source fallback reason value",
    EntryKind.ORDER: "instrument side type lots limit_ticks sent_at time_in_force stop_ticks flags "
    "expires_at role group",
    EntryKind.VENUE_LEDGER: "instrument lots ticks fee realised cash position basis",
    EntryKind.REPORT: "order kind reason venue_time lots ticks fee",
    EntryKind.BELIEF_LEDGER: "instrument lots ticks fee realised cash position basis",
    EntryKind.ATTEMPT: "outcome reason variant replica sent_at arrived_at routed_at batched_at "
    "started_at completed_at visible_at execution batch_size fallback",
}
"""The words of each kind of entry after instant, rank, kind and number; a row's values follow."""


@dataclass(frozen=True)
class Entry:
    """One entry of the trace, as its bytes say."""

    instant: int
    rank: int
    number: int
    words: dict[str, Any]
    values: tuple[float, ...] = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.words[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def request(self) -> tuple[int, int]:
        """Loop and number of a request or an outcome."""
        return self.number >> LOOP_SHIFT, self.number & ((1 << LOOP_SHIFT) - 1)


def read_entry(data: bytes) -> tuple[EntryKind, Entry]:
    """Return an entry of the trace from its bytes."""
    words = struct.unpack(f"<{len(data) // 8}q", data)
    kind = EntryKind(words[2])
    names = WORDS[kind].split()
    named = dict(zip(names, words[4:], strict=False))
    values = as_floats(words[4 + len(names) :])
    if kind is EntryKind.OUTCOME:
        named["value"] = as_floats([named["value"]])[0]
    return kind, Entry(words[0], words[1], words[3], named, values)


def as_floats(words: Any) -> tuple[float, ...]:
    """Return 64-bit words as the floats of the same bits."""
    return struct.unpack(f"<{len(words)}d", struct.pack(f"<{len(words)}q", *words))


@dataclass
class Played:
    """A run of a case that has come to its end."""

    case: Case
    run: Run
    calls: list[Call]

    def __post_init__(self) -> None:
        self.trace = self.run.trace.entries
        self.digest = self.run.trace.digest()
        self.entries: dict[EntryKind, list[Entry]] = {kind: [] for kind in EntryKind}
        for _, data in self.trace:
            kind, entry = read_entry(data)
            self.entries[kind].append(entry)

    @cached_property
    def result(self) -> RunResult:
        """The frames and numbers, which few laws ask for."""
        return build_result(self.run)

    @property
    def fills(self) -> list[Entry]:
        """What the venue executed, as its books have it."""
        return self.entries[EntryKind.VENUE_LEDGER]

    @property
    def rows(self) -> list[FeatureRow]:
        """The feature rows that became visible, as the reference has them."""
        return [
            FeatureRow(
                entry.number,
                entry.emitted_at,
                entry.instant,
                entry.event_time,
                entry.tie,
                entry.instrument,
                entry.values,
            )
            for entry in self.entries[EntryKind.FEATURE_ROW]
        ]


def play(
    case: Case,
    catalog: Catalog,
    *,
    mode: Mode = "ahead",
    window_rows: int = 7,
    watch: bool = False,
    looks: tuple[int, ...] = (),
    eager: bool = True,
    model: Callable[[list[float]], float] | None = None,
) -> Played:
    """Run a case in the engine.

    Args:
        case: The example.
        catalog: Its records, written by `write_catalog`.
        mode: Ahead or in lockstep.
        window_rows: Quotes in a window; a few, so that a run has many windows.
        watch: Note at every callback what can be looked up.
        looks: Further timers, from which nothing is decided.
        eager: Subscribe to records and rows as well.
        model: What answers instead of the case's model.
    """
    scenario = scenario_of(case, catalog)
    strategy = (EagerPlayer if eager else Player)(case, watch=watch, looks=looks)
    decide = strategy.decide
    strategy.decide = lambda event, now, fields: (  # type: ignore[assignment]
        [] if fields.get("name") == "look" else decide(event, now, fields)
    )
    predictors: dict[str, Any] = {}
    for name, config in scenario.inference_config.items():
        formula = Formula(config.features or (), model or case.model)
        of_each = dict.fromkeys(config.variants, formula)
        predictors[name] = of_each or formula
    run = Run(scenario, strategy, catalog, predictors, mode=mode, keep_trace=True)
    run.complete(window_rows)
    return Played(case, run, strategy.calls)


def same_number(one: float, other: float, tolerance: float = 1e-9) -> bool:
    """Whether two values agree to a relative tolerance; NaN agrees with NaN alone."""
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-12)
