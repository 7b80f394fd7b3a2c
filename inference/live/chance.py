"""The draws of a live client: those that the simulated one makes for the same thing."""

from __future__ import annotations

import numpy as np

from clock.randomness import fold, stream_key, uniform

__all__ = ["Chance"]


class Chance:
    """A named stream of uniform numbers, one for each identity.

    >>> chance = Chance(7, "inference/main/split")
    >>> chance.of(0, 5) == chance.of(0, 5), 0 < chance.of(1, 5) < 1
    (True, True)
    """

    def __init__(self, seed: int, stream: str) -> None:
        self._key = stream_key(seed, stream)

    def of(self, *identity: int) -> float:
        """Return the number of an identity, strictly between 0 and 1."""
        key = self._key
        for part in (*identity, 0):
            key = np.uint64(fold(key, part))
        return float(uniform(key))
