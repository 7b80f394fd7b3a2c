"""The promises that every feature keeps, checked on any definition: ours, or a user's.

    from featurizer.checks import check_feature
    check_feature(MyFeature, {"window": "1s"})

Each promise is one function below; `PROMISES` lists them.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from clock.errors import InputError
from clock.units import format_instant
from featurizer.checks_case import (
    GRID_NS,
    START,
    Case,
    Probe,
    altered,
    chained,
    first_rows,
    joined,
    label,
    same,
    until,
)
from featurizer.checks_market import cut_market, merged_times, shifted
from featurizer.definitions.lookup import build_definition
from featurizer.emission import Emission
from featurizer.errors import BrokenPromiseError
from featurizer.feature import FeatureDefinition
from featurizer.graph import FeatureRows
from featurizer.market import KINDS, Kind

__all__ = ["PROMISES", "Case", "Probe", "check_feature"]


def check_feature(
    definition: type[FeatureDefinition] | FeatureDefinition,
    params: Mapping[str, Any] | None = None,
    *,
    others: Mapping[str, FeatureDefinition] | None = None,
    instruments: Sequence[str] = ("CHECK.A", "CHECK.B"),
    kinds: Mapping[str, Kind] = KINDS,
    length_ns: int = 20_000_000_000,
    count: int = 600,
    seed: int = 0,
) -> None:
    """Check every promise of a feature on a generated market.

    Args:
        definition: The class, or a definition with its parameters.
        params: Parameters of the class, as in a scenario.
        others: Features that it reads by name.
        instruments: Ids to choose from; the first is the default.
        kinds: The kinds of records, with the user's own.
        length_ns: How long the market lasts: several times the feature's longest window, and for
            one that fades, longer than its `settling_ns`.
        count: Records of each stream.
        seed: Of the market and of where it is cut.

    Raises:
        BrokenPromiseError: If a promise is broken; the message says which, where and how.
        InputError: If the market is too short to tell: the feature has no value in it.
    """
    if isinstance(definition, type):
        definition = build_definition(definition, params or {}, definition.__name__)
    case = Case(definition, others or {}, instruments, kinds, length_ns, count, seed)
    try:
        if np.isnan(case.run([case.market()]).values).all():
            raise InputError(
                f"{label(case)}: `length_ns` must be long enough for a value: got {length_ns}, in "
                "which every value is NaN. Give more, or shorter windows."
            )
        for promise in PROMISES:
            promise(case)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise BrokenPromiseError(
            f"{label(case)} must not change what it is given: {error}. Copy it first."
        ) from error


def keeps_inputs(case: Case) -> None:
    """Nothing handed in is changed: neither the records nor the parameters."""
    market = case.market()
    before = pickle.dumps([records.columns for records in market.values()])
    params = case.definition.model_dump()
    case.run([market])
    if case.definition.model_dump() != params:
        raise BrokenPromiseError(
            f"{label(case)} must not change its parameters: got {case.definition}. "
            "Keep what changes in the state."
        )
    if pickle.dumps([records.columns for records in market.values()]) != before:
        raise BrokenPromiseError(f"{label(case)} must not change the records that it is given.")


def shares_no_state(case: Case) -> None:
    """Two graphs do not know of one another, and a new one knows of none before it."""
    market, other = case.market(), case.market(seed=1)
    alone = case.run([market])
    same(case, alone, case.run([market]), "give the same values in a second graph", "its state")
    graph, neighbour = case.graph(), case.graph()
    cuts = [case.count // 3, case.count // 2]
    alone = case.run(cut_market(market, cuts))
    parts = []
    for piece, foreign in zip(cut_market(market, cuts), cut_market(other, cuts), strict=True):
        parts.append(graph.push(piece, until(piece, graph)))
        neighbour.push(foreign, until(foreign, neighbour))
    same(case, alone, joined(parts), "not share state with another graph", "its state")


def ignores_chunks(case: Case) -> None:
    """However the records are cut into pushes, the rows have the same bits."""
    market = case.market()
    n = len(merged_times(market))
    draw = np.random.Generator(np.random.Philox(case.seed))
    cuttings: list[tuple[list[int], bool]] = [
        (sorted(draw.integers(0, n + 1, 12).tolist()), True),
        (list(range(1, n)), False),
    ]
    for emission in (Emission.raw(), Emission.grid(GRID_NS)):
        whole = case.run([market], emission)
        for cuts, empty in cuttings:
            rows = case.run(cut_market(market, cuts), emission, empty)
            same(case, whole, rows, "not depend on how records are cut into pushes", "a chunk")


def ignores_the_future(case: Case) -> None:
    """What comes later, removed or changed, leaves what was emitted before as it was."""
    market = case.market()
    times = merged_times(market)
    for share in (0.3, 0.55, 0.8):
        cut = int(share * len(times))
        past, future = cut_market(market, [cut])
        changed = {key: chained(past[key], altered(future[key])) for key in market}
        for emission, upto in (
            (Emission.raw(), cut),
            (Emission.grid(GRID_NS), int(-(-times[cut] // GRID_NS) - -(-START // GRID_NS))),
        ):
            whole = first_rows(case.run([market], emission), upto)
            for other in (past, changed):
                rows = first_rows(case.run([other], emission), upto)
                same(case, whole, rows, "not depend on later records", "a look ahead")


def ignores_other_reads(case: Case) -> None:
    """Reading a value at more instants, or after every update, changes none of them."""
    market = case.market()
    sparse = case.run([market], Emission.grid(5 * GRID_NS))
    dense = case.run([market], Emission.grid(GRID_NS))
    rows = np.isin(dense.emitted_at, sparse.emitted_at)
    common = FeatureRows(*(column[rows] for column in dense))
    same(case, sparse, common, "not depend on what else is read", "reading changes the state")
    raw = case.run([market])
    probed = case.run([market], probe=True)
    for place, what in enumerate(("its reads", "its updates")):
        rows_probed = probed._replace(values=probed.values[:, place : place + 1])
        same(case, raw, rows_probed, "be the same as a read and as an update", what)


def pickles(case: Case) -> None:
    """A graph that is pickled and loaded halfway goes on as if nothing had happened."""
    market = case.market()
    n = len(merged_times(market))
    graph, parts = case.graph(), []
    for piece in cut_market(market, [n // 5, n // 2]):
        parts.append(graph.push(piece, until(piece, graph)))
        try:
            graph = pickle.loads(pickle.dumps(graph))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise BrokenPromiseError(f"{label(case)} must pickle: {error}.") from error
    same(case, case.run([market]), joined(parts), "survive pickling", "its state")


def bounds_memory(case: Case) -> None:
    """The state does not grow with the number of records."""
    graph, market = case.graph(), case.market()
    sizes = []
    for turn in range(8):
        by = turn * case.length_ns
        graph.push(shifted(market, by), case.end + by)
        sizes.append(len(pickle.dumps(graph)))
    if sizes[7] > 1.25 * sizes[1] + 512:
        raise BrokenPromiseError(
            f"{label(case)} must keep its state bounded: got {sizes[1]} bytes after "
            f"{2 * case.count} records of each stream and {sizes[7]} after {8 * case.count}. "
            "Drop what no window reaches (or give a `length_ns` beyond its longest window)."
        )


def forgets_the_start(case: Case) -> None:
    """Once it has a value (and has settled), it does not depend on where the run started."""
    market = case.market()
    times = merged_times(market)
    cut = int(times.searchsorted(times[len(times) // 3]))  # a run starts at an instant
    late = case.run(cut_market(market, [cut])[1:])
    whole = case.run([market])
    full, mine = whole.values[cut:, 0], late.values[:, 0]
    known = ~np.isnan(mine)
    if known.any():
        first = late.emitted_at[known.argmax()]
        known &= late.emitted_at >= first + case.definition.settling_ns
    if not known.any():
        raise InputError(
            f"{label(case)}: `length_ns` must be long enough to settle: got {case.length_ns}. "
            "Give more, or shorter windows."
        )
    tolerance = case.definition.tolerance
    wrong = known & ~(np.abs(full - mine) <= tolerance * np.abs(full))
    if wrong.any():
        row = int(wrong.argmax())
        raise BrokenPromiseError(
            f"{label(case)} must not depend on the run's start once it has settled: got "
            f"{float(full[row])!r} and, started later, {float(mine[row])!r} at "
            f"{format_instant(int(late.emitted_at[row]))}. Stay NaN until the window is full, or "
            "declare `settling_ns` and `tolerance`."
        )


PROMISES: Final[tuple[Callable[[Case], None], ...]] = (
    keeps_inputs,
    shares_no_state,
    ignores_the_future,
    ignores_chunks,
    ignores_other_reads,
    pickles,
    bounds_memory,
    forgets_the_start,
)
"""What `check_feature` checks, in this order."""
