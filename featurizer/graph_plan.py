"""A node of the graph at work: its state, and where its inputs come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.emission import EMPTY, frozen
from featurizer.errors import FeatureError
from featurizer.feature import Batch, FeatureDefinition, Output
from featurizer.graph_chunk import NO_VALUES, Chunk, Track
from featurizer.graph_nodes import Column, Node
from featurizer.market import StreamKey

__all__ = ["Plan", "start_plans", "wrong_length"]

Array: TypeAlias = NDArray[Any]


class Plan:
    """A node with its state, and where its inputs come from.

    Attributes:
        node: What it works out.
        track: The streams that update it.
        state: The definition's, from the first push on.
        updates: Its values after the last push's updates, where another node reads them.
        work: The definition's `push`, or this node's share of what several are worked out by.
        inputs: Of each input: the stream's place and the column, or the node's place and nothing;
            and the streams that update it.
        before: The inputs' values before the last push, where they are aligned.
    """

    __slots__ = ("before", "inputs", "node", "state", "track", "updates", "work")

    def __init__(self, node: Node, nodes: Sequence[Node], streams: Sequence[StreamKey]) -> None:
        self.node = node
        self.track = _track(node, streams)
        self.state: Any = None
        self.work: Callable[[Any, Batch], Output] = node.definition.push
        self.updates = NO_VALUES
        self.inputs: list[tuple[int, str, Track]] = []
        for source in node.inputs:
            if isinstance(source, Column):
                place = streams.index(source.stream)
                self.inputs.append((place, source.name, (place,)))
            else:
                self.inputs.append((source, "", _track(nodes[source], streams)))
        self.before = [np.nan] * len(self.inputs)

    def push(self, chunk: Chunk, plans: Sequence[Plan], rows: Array) -> None:
        """Work the node out: its updates if wanted, and its column of the rows."""
        node = self.node
        timeline = chunk.timeline(self.track)
        reading = bool(node.outputs)
        n, m = len(timeline.times), len(rows) if reading else 0
        if n == 0 and m == 0 and not node.definition.joined:
            self.updates = NO_VALUES
            return
        columns = tuple(self._columns(chunk, plans))
        batch = Batch(
            timeline.times,
            columns,
            chunk.read_times if reading else EMPTY,
            timeline.read_counts if reading else EMPTY,
            timeline.picks if reading else timeline.picks[-1:],
            node.wanted,
            reading and timeline.each,
            _room(rows, node.outputs),
        )
        reads, updates = self.work(self.state, batch)
        if len(reads) != m or (node.wanted and len(updates) != n):
            raise wrong_length(node, m, n, reads, updates)
        for output in node.outputs[int(reads is batch.room) :]:
            rows[:, output] = reads
        if node.wanted:
            self.updates = frozen(np.ascontiguousarray(updates, np.float64))

    def _columns(self, chunk: Chunk, plans: Sequence[Plan]) -> list[Array]:
        columns = []
        for i, (place, name, own) in enumerate(self.inputs):
            values = chunk.column(place, name) if name else plans[place].updates
            if own == self.track:
                columns.append(values)
                continue
            columns.append(chunk.aligned(values, own, self.track, self.before[i]))
            if len(values):
                self.before[i] = float(values[-1])
        return columns


def _room(rows: Array, outputs: Sequence[int]) -> Array | None:
    """Return the first column of the rows that a node fills, where it lies in one piece."""
    return rows[:, outputs[0]] if outputs and rows.flags.f_contiguous and len(rows) > 1 else None


def start_plans(plans: Sequence[Plan]) -> None:
    """Give each node a state: those that read the same of the same share one."""
    groups: dict[object, list[Plan]] = {}
    for plan in plans:
        node, shared = plan.node, plan.node.definition.shares()
        if shared is None:
            plan.state = node.definition.start()
            continue
        # one batch must do for all
        key = (shared, node.inputs, bool(node.outputs), node.wanted)
        groups.setdefault(key, []).append(plan)
    for members in groups.values():
        if len(members) == 1:
            members[0].state = members[0].node.definition.start()
            continue
        together = _Together([member.node.definition for member in members])
        for place, member in enumerate(members):
            member.work = partial(together.push, place)


class _Together:
    """Several features that are worked out at once, when the first of them is pushed."""

    __slots__ = ("_class", "_found", "_state")

    def __init__(self, features: Sequence[FeatureDefinition]) -> None:
        self._class = type(features[0])
        self._state = self._class.start_together(features)
        self._found: Sequence[Output] = ()

    def push(self, place: int, _: None, batch: Batch) -> Output:
        if place == 0:
            self._found = self._class.push_together(self._state, batch)
        return self._found[place]


def wrong_length(node: Node, m: int, n: int, reads: Array, updates: Array) -> FeatureError:
    """Return the error for a `push` that gave too few values, or too many."""
    return FeatureError(
        f"feature {node.label!r}: `push` must return {m} reads and {n} updates: got "
        f"{len(reads)} and {len(updates)}."
    )


def _track(node: Node, streams: Sequence[StreamKey]) -> Track:
    return tuple(place for place, stream in enumerate(streams) if stream in node.updating)
