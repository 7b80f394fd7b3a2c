"""Arrivals are decided beforehand, by draws that are the same in every run."""

from __future__ import annotations

import numpy as np
import pytest

from clock.errors import InputError
from inference.measure.loads import Bursts, bursts, poisson, thinned

SECOND = 1_000_000_000


def test_a_poisson_process_has_its_rate_and_gaps_as_spread_as_exponential_ones() -> None:
    found = poisson(200.0, 20_000, 1, "a")
    gaps = np.diff(found.at)
    assert found.observed_rate == pytest.approx(200.0, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)
    assert (gaps > 0).all()


def test_arrivals_are_the_same_for_the_same_seed_and_stream_and_no_other() -> None:
    first = poisson(50.0, 100, 7, "a").at
    assert first.tolist() == poisson(50.0, 100, 7, "a").at.tolist()
    assert first.tolist() != poisson(50.0, 100, 7, "b").at.tolist()
    assert first.tolist() != poisson(50.0, 100, 8, "a").at.tolist()


def test_bursts_bring_their_share_of_the_requests_at_their_rate() -> None:
    shape = Bursts(on_ns=SECOND // 4, off_ns=3 * SECOND // 4, factor=2.0)
    found = bursts(100.0, 20_000, 3, "b", shape)
    on = found.at % SECOND < SECOND // 4
    assert found.observed_rate == pytest.approx(100.0, rel=0.03)
    # a quarter of the time at twice the rate: half of the requests; 200 and 66.7 a second
    assert on.mean() == pytest.approx(0.5, abs=0.02)
    assert (np.diff(found.at) >= 0).all()


def test_all_requests_may_lie_in_bursts() -> None:
    found = bursts(100.0, 5_000, 3, "b", Bursts(SECOND // 2, SECOND // 2, 2.0))
    assert (found.at % SECOND <= SECOND // 2).all()


def test_bursts_that_would_hold_more_than_everything_are_refused() -> None:
    with pytest.raises(InputError, match="would hold 150%"):
        bursts(100.0, 100, 3, "b", Bursts(SECOND // 2, SECOND // 2, 3.0))


def test_thinning_keeps_the_rate_asked_for_and_instants_that_were_recorded() -> None:
    recorded = np.cumsum(np.tile([0, 0, 30_000_000], 10_000))  # ties, as real captures have them
    found = thinned(recorded, 20.0, 2_000, 5, "c")
    assert found.observed_rate == pytest.approx(20.0, rel=0.1)
    assert set(found.at.tolist()) <= set((recorded - recorded[0]).tolist()) | {
        int(instant - first) for first in recorded[:50] for instant in recorded[:6000:3]
    }
    assert (np.diff(found.at) == 0).any()


def test_a_recording_that_is_too_slow_is_played_faster() -> None:
    recorded = np.arange(1000) * 20_000_000  # 50 a second
    found = thinned(recorded, 200.0, 500, 5, "c")
    assert np.diff(found.at) == pytest.approx([5_000_000] * 499, rel=0.01)


def test_parts_of_one_recording_do_not_overlap() -> None:
    recorded = np.arange(10_000) * 1_000_000
    whole = thinned(recorded, 100.0, 400, 5, "c").at
    second = thinned(recorded, 100.0, 200, 5, "c", first=200).at
    assert second.tolist() == (whole[200:] - whole[200]).tolist()


def test_a_recording_with_too_few_requests_is_refused_with_what_it_has() -> None:
    with pytest.raises(InputError, match="must hold 5000 requests at 100 a second: got"):
        thinned(np.arange(20_000) * 1_000_000, 100.0, 5000, 5, "c")
