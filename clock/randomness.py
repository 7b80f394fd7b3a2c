"""Random numbers that depend on what they are for, not on when they are asked for.

A draw is a function of (seed, name of its stream, identity of the thing it is for). Two scenarios
that differ in one setting therefore share every other draw, and a draw taken alone has the bits of
the same draw taken in bulk. Everything up to the uniform is integer arithmetic.
"""

from __future__ import annotations

import hashlib

import numpy as np

from clock.compiled import inlined_kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)
_TWELVE = np.uint64(12)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_STEP = 2.0**-52


@inlined_kernel
def fold(key: np.uint64, part: int) -> np.uint64:
    """Return the key of one part of a key's space: output number *part* of splitmix64 from *key*.

    Folding is not commutative, so the order of an identity's parts counts. Outside kernels, hand
    over keys as `np.uint64`: numba takes a Python integer for an int64.
    """
    z = np.uint64(key) + (np.uint64(part) + _ONE) * _GOLDEN
    z = (z ^ (z >> _SHIFTS[0])) * _FIRST
    z = (z ^ (z >> _SHIFTS[1])) * _SECOND
    return z ^ (z >> _SHIFTS[2])


@inlined_kernel
def uniform(x: np.uint64) -> float:
    """Return the uniform number of a folded key, strictly between 0 and 1.

    It is `((x >> 12) + 0.5) * 2**-52`: exact, and symmetric about one half.
    """
    return (float(np.uint64(x) >> _TWELVE) + 0.5) * _STEP


def stream_key(seed: int, name: str) -> np.uint64:
    """Return the key of a named stream under a seed.

    Args:
        seed: The scenario's seed, taken modulo 2**64.
        name: The stream, for example `inference/main/service_time`.
    """
    text = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    mask = 0xFFFFFFFFFFFFFFFF
    z = (text + ((seed + 1) & mask) * int(_GOLDEN)) & mask
    z = ((z ^ (z >> 30)) * int(_FIRST)) & mask
    z = ((z ^ (z >> 27)) * int(_SECOND)) & mask
    return np.uint64(z ^ (z >> 31))
