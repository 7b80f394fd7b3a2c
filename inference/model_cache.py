"""Loaded models, the least recently used out: bounded by their number and by their bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from inference.predictors.base import Predictor

__all__ = ["ModelCache"]


class _Held(NamedTuple):
    predictor: Predictor
    size: int


class ModelCache:
    """Models by key; one load at a time for each key, and other keys need not wait for it.

    A model that was put out lives on where it is still used. Safe to use from several threads.

    Example:
        >>> cache = ModelCache(max_models=1)
        >>> cache.max_models, cache.keys
        (1, ())
    """

    def __init__(self, max_models: int = 8, max_bytes: int = 2 << 30) -> None:
        """Start empty.

        Args:
            max_models: Most models held, at least 1.
            max_bytes: Most bytes of their artifacts together; one that is larger alone is loaded
                and not held.
        """
        if max_models < 1:
            raise ValueError(f"`max_models` must be at least 1: got {max_models}.")
        self.max_models, self.max_bytes = max_models, max_bytes
        self.hits = self.misses = self.evictions = 0
        self._lock = Lock()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._loading: dict[str, tuple[Lock, int]] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the models held, the least recently used first."""
        with self._lock:
            return tuple(self._held)

    @property
    def size(self) -> int:
        """The bytes of the models held."""
        with self._lock:
            return sum(one.size for one in self._held.values())

    def get(self, key: str, size: int, load: Callable[[], Predictor]) -> Predictor:
        """Return the model of a key, loaded if it is not held; a failed load leaves nothing."""
        found = self._find(key)
        if found is not None:
            return found
        turn = self._join(key)
        try:
            with turn:
                found = self._find(key)  # another thread may have loaded it meanwhile
                if found is None:
                    found = load()
                    self._keep(key, _Held(found, size))
        finally:
            self._leave(key)
        return found

    def clear(self) -> None:
        """Let go of all models."""
        with self._lock:
            self._held.clear()

    def _find(self, key: str) -> Predictor | None:
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            self.hits += 1
            return held.predictor

    def _join(self, key: str) -> Lock:
        with self._lock:
            turn, waiting = self._loading.get(key, (Lock(), 0))
            self._loading[key] = turn, waiting + 1
            return turn

    def _leave(self, key: str) -> None:
        with self._lock:
            turn, waiting = self._loading.pop(key)
            if waiting > 1:
                self._loading[key] = turn, waiting - 1

    def _keep(self, key: str, held: _Held) -> None:
        with self._lock:
            self.misses += 1
            if held.size > self.max_bytes:
                return
            self._held[key] = held
            self._held.move_to_end(key)
            while (
                len(self._held) > self.max_models
                or sum(one.size for one in self._held.values()) > self.max_bytes
            ):
                self._held.popitem(last=False)
                self.evictions += 1
