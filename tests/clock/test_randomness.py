from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock.randomness import fold, stream_key, uniform

MASK = 2**64 - 1
uint64s = st.integers(0, MASK)
int64s = st.integers(-(2**63), 2**63 - 1)


def mixed(z: int) -> int:
    """The output function of splitmix64, in whole numbers of Python."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def folded(key: int, part: int) -> int:
    return mixed((key + (part + 1) * 0x9E3779B97F4A7C15) & MASK)


@settings(deadline=None)
@given(uint64s, int64s)
def test_folding_agrees_with_whole_numbers_of_python(key: int, part: int) -> None:
    assert int(fold(np.uint64(key), part)) == folded(key, part)


def test_folding_counts_through_the_published_outputs_of_splitmix64() -> None:
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [int(fold(np.uint64(1234567), n)) for n in range(5)] == published


@settings(deadline=None)
@given(uint64s)
def test_uniforms_agree_with_exact_fractions_and_lie_inside_zero_and_one(x: int) -> None:
    drawn = float(uniform(np.uint64(x)))
    numerator, denominator = drawn.as_integer_ratio()
    assert numerator * 2**53 == (2 * (x >> 12) + 1) * denominator
    assert 0.0 < drawn < 1.0


@settings(deadline=None)
@given(st.integers(-(2**70), 2**70), st.text())
def test_stream_keys_agree_with_whole_numbers_of_python(seed: int, name: str) -> None:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    assert int(stream_key(seed, name)) == folded(int.from_bytes(digest, "little"), seed)


def test_keys_of_other_seeds_streams_and_orders_of_parts_differ() -> None:
    keys = {int(stream_key(seed, name)) for seed in range(50) for name in ("a", "b", "order_entry")}
    assert len(keys) == 150
    key = stream_key(7, "a")
    assert fold(np.uint64(fold(key, 1)), 2) != fold(np.uint64(fold(key, 2)), 1)


@pytest.mark.parametrize("step", [1, 100, 100_000_000])
def test_uniforms_of_neighbouring_parts_are_even_and_uncorrelated(step: int) -> None:
    key = stream_key(7, "even")
    drawn = np.array([uniform(np.uint64(fold(key, n * step))) for n in range(20_000)])
    counts = np.bincount((drawn * 100).astype(int), minlength=100)
    # Chi-square with 99 degrees of freedom: 5 standard deviations are 99 + 5 * sqrt(198) = 169.
    assert ((counts - 200) ** 2 / 200).sum() < 169
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / np.sqrt(20_000)
