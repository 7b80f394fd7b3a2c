"""Answers that a live client gives again."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from inference.live.records import Request
from inference.serving.policies.cache import Cache

__all__ = ["Answer", "AnswerCache"]

_LIMIT = 2.0**62


class Answer(NamedTuple):
    """What a request was answered."""

    number: int
    value: float


class AnswerCache:
    """Answers by instrument and the cells of the features, the least recently used first."""

    def __init__(self, policy: Cache, features: Sequence[str]) -> None:
        """Begin empty."""
        self._policy, self._steps = policy, policy.steps(features)
        self._entries: OrderedDict[tuple[object, ...], tuple[Answer, int]] = OrderedDict()

    def look_up(self, request: Request, now: int) -> Answer | None:
        """Return the answer that may be given again, None where there is none or it is too old."""
        cell = self._cell_of(request)
        found = self._entries.get(cell)
        if found is None:
            return None
        answer, written_at = found
        if now - written_at >= self._policy.ttl:
            del self._entries[cell]
            return None
        self._entries.move_to_end(cell)
        return answer

    def remember(self, request: Request, now: int) -> None:
        """Keep a request's answer; the least recently used one goes where there is no room."""
        cell = self._cell_of(request)
        self._entries[cell] = (Answer(request.number, request.value), now)
        self._entries.move_to_end(cell)
        while len(self._entries) > self._policy.max_entries:
            self._entries.popitem(last=False)

    def _cell_of(self, request: Request) -> tuple[object, ...]:
        pairs = zip(request.values.tolist(), self._steps, strict=True)
        return (request.instrument, *(_cell(value, step) for value, step in pairs))


def _cell(value: float, step: float) -> object:
    """Return the cell of a feature: NaN has its own; a step of zero tells all bits apart."""
    if math.isnan(value):
        return None
    if step > 0.0 and -_LIMIT < (scaled := value / step + 0.5) < _LIMIT:
        return math.floor(scaled)
    return value.hex()
