"""The nodes of a graph in two threads: those that read nothing of one another, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from featurizer.graph_chunk import Chunk
from featurizer.graph_plan import Plan

__all__ = ["WORTH_IT", "Halves", "halved"]

Array: TypeAlias = NDArray[Any]

WORTH_IT: Final = 4_096
"""Records of a push from which on a second thread takes less time than it costs."""


def halved(plans: Sequence[Plan]) -> tuple[list[Plan], list[Plan]]:
    """Return two parts of a graph that read nothing of each other, about as many nodes in each.

    Nodes that are worked out together stay together. The second part is empty where all are. Each
    part keeps the order of the graph.
    """
    groups: list[set[int]] = []
    for place, plan in enumerate(plans):
        needs: set[object] = {source for source in plan.node.inputs if isinstance(source, int)}
        if plan.node.definition.shares() is not None:
            needs |= {
                other
                for other in range(place)
                if plans[other].node.inputs == plan.node.inputs
                and plans[other].node.definition.shares() is not None
            }
        group = {place}.union(*(own for own in groups if not own.isdisjoint(needs)))
        groups = [own for own in groups if own.isdisjoint(needs)] + [group]
    first: set[int] = set()
    second: set[int] = set()
    for group in sorted(groups, key=lambda own: (-len(own), min(own))):
        (second if len(second) < len(first) else first).update(group)
    return [plans[place] for place in sorted(first)], [plans[place] for place in sorted(second)]


class Halves:
    """Pushes chunks through two parts of a graph at once: the values are those of one thread.

    Compiled scans, and NumPy's passes over a whole column, leave the interpreter's lock alone.

    Args:
        plans: The nodes of the graph, started.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = plans
        self._first, self._second = halved(plans)
        self._thread = ThreadPoolExecutor(1)

    def push(self, chunk: Chunk, rows: Array) -> None:
        """Work out all nodes: their updates if wanted, and their columns of the rows."""
        if not self._second or sum(map(len, filter(None, chunk.records))) < WORTH_IT:
            self._push(self._plans, chunk, rows)
            return
        for plan in self._plans:
            chunk.timeline(plan.track)  # made at the first asking: not by two at once
        other = self._thread.submit(self._push, self._second, chunk, rows)
        try:
            self._push(self._first, chunk, rows)
        finally:
            failed = other.exception()  # waits: nobody writes to the rows from here on
        if failed is not None:
            raise failed

    def close(self) -> None:
        """End the second thread."""
        self._thread.shutdown()

    def _push(self, plans: Sequence[Plan], chunk: Chunk, rows: Array) -> None:
        with np.errstate(all="ignore"):  # of this thread
            for plan in plans:
                plan.push(chunk, self._plans, rows)
