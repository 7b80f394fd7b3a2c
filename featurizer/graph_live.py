"""The shortest way through the graph for one record: what a live feed pushes.

It calls the same definitions and operators with batches of one, and differs from the way for many
in one thing: what is known beforehand of a single record is worked out beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.emission import EMPTY, frozen
from featurizer.feature import Batch
from featurizer.graph_chunk import NO_VALUES
from featurizer.graph_plan import Plan, wrong_length
from featurizer.market import Records

__all__ = ["LivePath", "one"]

Array: TypeAlias = NDArray[Any]


def one(value: float) -> Array:
    """Return a read-only array of one value: `int64` or `float64`, as the value is."""
    array = np.array((value,))
    array.flags.writeable = False
    return array


def _ints(*values: int) -> Array:
    array = np.array(values, np.int64)
    array.flags.writeable = False
    return array


_READS = (_ints(0), _ints(1))
_PICKS = (_ints(-1, 0), _ints(0, 0))
"""By whether the row includes the update."""
_NO_PICKS = _ints(-1, -1)
_LAST = _ints(0)
_NO_BATCH = Batch(EMPTY, (), EMPTY, EMPTY, _LAST, False)
_FLOAT64 = np.dtype(np.float64)
_batch = partial(tuple.__new__, Batch)  # half of what naming the fields costs


class _Source(NamedTuple):
    """An input of a node, for a record of one stream."""

    column: str
    """Its column, or nothing where it is a node."""
    node: Plan | None
    new: bool
    """Whether the record updates it."""
    carried: int
    """Its place among the values carried from push to push, -1 where it is not."""


class _Step(NamedTuple):
    """What a node does about a record of one stream."""

    plan: Plan
    push: Callable[[Any, Batch], Any]
    updates: bool
    direct: Callable[[Mapping[str, Array]], tuple[Array, ...]] | None
    """Picks its inputs' columns, where all are columns of this record."""
    nodes: tuple[Plan, ...] | None
    """Its inputs' nodes, where all are updated by this record."""
    sources: tuple[_Source, ...]
    outputs: tuple[int, ...]
    wanted: bool
    like: int
    """An earlier step that is pushed the very same batch, -1 where there is none."""


class LivePath:
    """The steps of a graph for a single record, by the stream that it is of.

    Args:
        plans: The nodes at work, each after those that it reads.
        streams: How many streams there are.

    Attributes:
        columns: What the nodes read of a record, by the stream that it is of.
    """

    def __init__(self, plans: Sequence[Plan], streams: int) -> None:
        self._steps = [_steps(plans, place) for place in range(streams)]
        self.columns = [
            tuple(
                sorted(
                    {source.column for step in steps for source in step.sources if source.new}
                    - {""}
                )
            )
            for steps in self._steps
        ]

    def columns_of(self, place: int, records: Records) -> dict[str, Array]:
        """Return what the nodes read of a record, as `push` takes it."""
        return {name: _column(records, name) for name in self.columns[place]}

    def push(
        self,
        place: int,
        times: Array,
        columns: Mapping[str, Array],
        row_at: Array,
        included: int,
        row: Array,
    ) -> None:
        """Work out what one record changes, and one row if there is one.

        Args:
            place: The record's stream.
            times: Its receipt. Shape (1,).
            columns: What the nodes read of it. Each: `float64`, shape (1,), read-only.
            row_at: Instant of the row. Shape (1,), or (0,) where there is none.
            included: Whether the row includes the record.
            row: Takes the row's values. Shape (features,), or (0,).
        """
        reading = len(row_at)
        made: list[Batch] = []
        for plan, push, updates, direct, nodes, sources, outputs, wanted, like in self._steps[
            place
        ]:
            reads = reading if outputs else 0
            if like >= 0:
                values: tuple[Array, ...] = ()
            elif direct is not None:
                values = direct(columns)
            elif nodes is not None:
                values = tuple([node.updates for node in nodes])
            else:
                values = tuple([_value(source, plan, columns, updates) for source in sources])
            if like >= 0:
                batch = made[like]
            elif updates:
                if reads:
                    batch = _batch(
                        (
                            times,
                            values,
                            row_at,
                            _READS[included],
                            _PICKS[included],
                            wanted,
                            False,
                            None,
                        )
                    )
                else:
                    batch = _batch((times, values, EMPTY, EMPTY, _LAST, wanted, False, None))
            elif reads:
                batch = _batch((EMPTY, values, row_at, _READS[0], _NO_PICKS, wanted, False, None))
            else:  # an as-of input alone: it is carried
                batch = _NO_BATCH
            made.append(batch)
            if batch is _NO_BATCH:
                continue
            found, after = push(plan.state, batch)
            if len(found) != reads or (wanted and len(after) != updates):
                raise wrong_length(plan.node, reads, int(updates), found, after)
            if reads:
                value = found[0]
                row[outputs[0]] = value
                for output in outputs[1:]:
                    row[output] = value
            if wanted and updates:
                if after.dtype is not _FLOAT64:
                    after = after.astype(np.float64)
                plan.updates = frozen(after)


def _value(source: _Source, plan: Plan, columns: Mapping[str, Array], updates: bool) -> Array:
    """Return one input's column of the batch."""
    name, node, new, carried = source
    if not new:
        return one(plan.before[carried]) if updates else NO_VALUES
    value = node.updates if node is not None else columns[name]
    if carried >= 0:
        plan.before[carried] = float(value[0])
    return value if updates else NO_VALUES


def _column(records: Records, name: str) -> Array:
    column = records.columns[name]
    if column.dtype != np.float64:
        column = column.astype(np.float64)
    return frozen(column)


def _picking(names: Sequence[str]) -> Callable[[Mapping[str, Array]], tuple[Array, ...]]:
    if len(names) == 1:
        name = names[0]
        return lambda columns: (columns[name],)
    return itemgetter(*names)


def _steps(plans: Sequence[Plan], place: int) -> list[_Step]:
    """Return what is done about a record of a stream."""
    steps: list[_Step] = []
    known: dict[object, int] = {}
    for plan in plans:
        step = _step(plan, plans, place)
        if step is None:
            continue
        plain = step.direct is not None or step.nodes is not None
        key = (step.sources, step.updates, bool(step.outputs), step.wanted)
        if plain and key in known:
            step = step._replace(like=known[key])
        elif plain:
            known[key] = len(steps)
        steps.append(step)
    return steps


def _step(plan: Plan, plans: Sequence[Plan], place: int) -> _Step | None:
    updates = place in plan.track
    sources = []
    for i, (where, name, own) in enumerate(plan.inputs):
        carried = -1 if own == plan.track else i
        node = None if name else plans[where]
        sources.append(_Source(name, node, place in own, carried))
    if not updates and not plan.node.outputs and not any(source.new for source in sources):
        return None
    plain = updates and all(source.new and source.carried < 0 for source in sources)
    nodes = tuple(source.node for source in sources if source.node is not None)
    return _Step(
        plan,
        plan.work,
        updates,
        _picking([source.column for source in sources]) if plain and not nodes else None,
        nodes if plain and len(nodes) == len(sources) else None,
        tuple(sources),
        tuple(plan.node.outputs),
        plan.node.wanted,
        -1,
    )
