from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.ingest.calibration import fit_clock

START = 1_723_161_255_000_000_000
SECOND = 1_000_000_000


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400 * SECOND), st.integers(-10**8, 10**8)), min_size=1,
             max_size=80),
    st.integers(0, 10**7), st.integers(-(10**10), 10**10),
)  # fmt: skip
def test_no_record_is_faster_than_the_stated_minimum(
    rows: list[tuple[int, int]], minimum: int, offset: int
) -> None:
    receipt = START + np.sort(np.array([row[0] for row in rows], np.int64))
    event = receipt + offset + np.array([row[1] for row in rows], np.int64)
    moved = fit_clock(event, receipt, minimum).apply(receipt)
    assert (moved - event >= minimum).all()
    assert (np.diff(moved) >= 0).all()


def test_a_drifting_clock_is_found_and_latency_restored() -> None:
    rng = np.random.default_rng(3)
    event = START + np.sort(rng.integers(0, 600 * SECOND, 60_000))
    latency = 1_000_000 + rng.gamma(2.0, 2_000_000, 60_000).astype(np.int64)
    true = np.maximum.accumulate(event + latency)
    seconds = (true - START) / SECOND
    error = -1_270_000_000 + np.rint(-6_000 * seconds + 200_000 * np.sin(seconds / 100)).astype(int)
    fit = fit_clock(event, true + error, 1_000_000)
    found = fit.apply(true + error)
    assert abs(fit.drift_ppm - 6) < 1
    # far below the 4 ms of median latency, and the order of arrival stays
    assert np.abs(found - true).max() < 300_000
    assert (np.diff(found) >= 0).all()
    assert fit.as_dict()["min_feed_latency_ns"] == 1_000_000
