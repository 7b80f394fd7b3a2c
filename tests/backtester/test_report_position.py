"""The position in a report's picture is that of the fills."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.report.position import position_bands, position_steps
from tests.backtester.test_engine_orders import Script
from tests.backtester.worlds import ALPHA, Quote, at, play


def test_a_position_begins_at_nothing_and_steps_at_each_fill(tmp_path: Any) -> None:
    result = play(tmp_path, Script({10.0: (3,), 20.0: (-5,)}), [Quote(0)], until=100)
    times, held = position_steps(result, ALPHA)
    assert [int(t) for t in times.astype(np.int64)] == [at(ms) for ms in (0, 10, 20, 100)]
    assert held.tolist() == pytest.approx([0.0, 0.3, -0.2, -0.2])


CHANGES = st.dictionaries(st.integers(1, 99), st.integers(-5, 5), max_size=30)


@given(CHANGES.map(lambda changes: sorted(changes.items())), st.sampled_from([1, 2, 5, 10, 20]))
def test_bands_are_what_a_count_of_every_nanosecond_gives(steps, slots):
    steps = [(0, 0), *steps]
    times = np.array([*(t for t, _ in steps), 100]).astype("datetime64[ns]")
    held = np.array([*(float(h) for _, h in steps), float(steps[-1][1])])
    each = np.zeros(100)
    for instant, position in steps:
        each[instant:] = position
    parts = each.reshape(slots, -1)
    _, mean, low, high = position_bands(times, held, slots)
    assert mean == pytest.approx(parts.mean(axis=1))
    assert low.tolist() == parts.min(axis=1).tolist()
    assert high.tolist() == parts.max(axis=1).tolist()
