"""Our logarithm, exponential and normal quantile against the standard library's."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clock.elementary import exp, log, normal_quantile, normal_quantile_alone

LEAST = 2.0**-53


@settings(deadline=None)
@given(st.floats(1e-300, 1e300))
@example(1.0)
@example(math.sqrt(0.5))
@example(1.0 - LEAST)
@example(LEAST)
def test_log_agrees_with_the_standard_library(x: float) -> None:
    assert log(x) == pytest.approx(math.log(x), rel=1e-15, abs=0)


@settings(deadline=None)
@given(st.floats(-700, 700))
@example(0.0)
def test_exp_agrees_with_the_standard_library(x: float) -> None:
    assert exp(x) == pytest.approx(math.exp(x), rel=1e-15, abs=0)


def test_exp_of_very_negative_numbers_is_next_to_nothing() -> None:
    assert 0.0 <= exp(-1e300) < 1e-300


@settings(deadline=None)
@given(st.floats(LEAST, 1.0 - LEAST))
@example(0.5)
@example(0.075)
@example(0.0751)
@example(1e-12)
@example(LEAST)
@example(1.0 - LEAST)
def test_normal_quantile_agrees_with_the_standard_library(p: float) -> None:
    expected = NormalDist().inv_cdf(p)
    assert normal_quantile(p) == pytest.approx(expected, rel=1e-13, abs=1e-15)


@settings(deadline=None)
@given(st.integers(0, 2**51 - 1))
def test_normal_quantile_is_symmetric_to_the_bit(n: int) -> None:
    p = (n + 0.5) * 2.0**-52
    assert normal_quantile(p) == -normal_quantile(1.0 - p)


@settings(deadline=None)
@given(st.integers(0, 2**52 - 1))
@example(0)
@example(2**52 - 1)
@example(2**40)
def test_both_normal_quantiles_agree_to_the_bit(n: int) -> None:
    p = (n + 0.5) * 2.0**-52
    assert normal_quantile_alone(p) == normal_quantile(p)
