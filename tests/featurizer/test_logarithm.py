"""Logarithms of ratios: right to the last bit but one, and each by itself alone."""

from __future__ import annotations

import math
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pytest

from featurizer.operators.logarithm import take_logs

HOSTILE = [
    1.0, np.nextafter(1.0, 0.0), np.nextafter(1.0, 2.0), 0.9375, np.nextafter(0.9375, 0.0),
    float.fromhex("0x1.109p0"), np.nextafter(float.fromhex("0x1.109p0"), 0.0),
    0.5, 2.0, 5e-324, 1.7e308,
]  # fmt: skip


def ratios(count: int) -> np.ndarray[Any, Any]:
    """Ratios near one by every order of magnitude, and others."""
    draw = np.random.Generator(np.random.Philox(5))
    near = 1.0 + draw.uniform(-0.12, 0.12, count) * 10.0 ** -draw.integers(0, 13, count)
    return np.concatenate([HOSTILE, near, draw.uniform(0.01, 100.0, count // 10)])


def logs(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    found = values.copy()
    take_logs(found)
    return found


def test_a_logarithm_is_the_nearest_number_or_the_one_beside_it() -> None:
    exact = Context(prec=60)
    for x, found in zip(values := ratios(1500), logs(values), strict=True):
        true = exact.ln(Decimal(float(x)))
        room = Decimal(math.ulp(float(true))) * Decimal("0.53")
        assert abs(Decimal(float(found)) - true) <= room, x


def test_a_logarithm_does_not_depend_on_its_neighbours() -> None:
    values = ratios(3000)
    alone = np.concatenate([logs(values[i : i + 1]) for i in range(len(values))])
    together = [logs(values), np.concatenate([logs(values[:7]), logs(values[7:])])]
    near = values[(values > 0.94) & (values < 1.06)]
    assert all(found.tobytes() == alone.tobytes() for found in together)
    assert logs(near).tobytes() == alone[(values > 0.94) & (values < 1.06)].tobytes()


@pytest.mark.parametrize(("x", "wanted"), [(0.0, -np.inf), (np.inf, np.inf), (1.0, 0.0)])
def test_edges_have_their_logarithms(x: float, wanted: float) -> None:
    assert logs(np.array([x, 1.5]))[0] == wanted
    assert math.copysign(1.0, logs(np.array([1.0]))[0]) == 1.0


def test_nothing_known_has_no_logarithm() -> None:
    assert np.isnan(logs(np.array([np.nan, -1.0, 1.0]))).tolist() == [True, True, False]
