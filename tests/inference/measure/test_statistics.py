"""Numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference.measure.statistics import (
    bootstrap_errors,
    noise_floor,
    quantile,
    signed_error,
    verdict,
)


def ms(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def test_a_quantile_is_the_smallest_latency_that_so_many_do_not_exceed() -> None:
    hundred = np.arange(1.0, 101.0)[::-1]
    assert [quantile(hundred, q) for q in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert quantile(ms(7), 0.99) == 7.0
    assert math.isinf(quantile(ms(1, 2, np.inf), 0.95))


def test_an_error_is_a_share_of_the_real_number_and_keeps_its_sign() -> None:
    assert signed_error(12.0, 10.0) == pytest.approx(0.2)
    assert signed_error(8.0, 10.0) == pytest.approx(-0.2)
    assert signed_error(math.inf, 10.0) == math.inf
    assert signed_error(10.0, math.inf) == -1.0
    assert signed_error(math.inf, math.inf) == 0.0


def test_the_floor_is_the_median_over_pairs_of_how_far_two_real_runs_lie_apart() -> None:
    # medians 10 and 12: 2 / 11 apart; 10 and 10: 0; 10 and 11: 1 / 10.5
    pairs = [(ms(10, 20), ms(12, 20)), (ms(10, 20), ms(10, 30)), (ms(10, 20), ms(11, 20))]
    assert noise_floor(pairs, 0.5) == pytest.approx(1 / 10.5)
    assert noise_floor([], 0.5) == math.inf


def test_a_cell_passes_only_by_its_bound_and_says_nothing_where_the_floor_is_above() -> None:
    assert verdict(0.049, 0.01, 0.05) == "pass"
    assert verdict(-0.05, 0.01, 0.05) == "pass"
    assert verdict(-0.051, 0.01, 0.05) == "fail"
    assert verdict(0.0, 0.051, 0.05) == "inconclusive"  # not even if it happens to be right
    assert verdict(0.0, math.inf, 0.05) == "inconclusive"
    assert verdict(0.0, math.nan, 0.05) == "inconclusive"
    assert verdict(math.inf, 0.0, 0.05) == "fail"


def test_an_interval_holds_nothing_but_the_error_where_all_requests_are_alike() -> None:
    traces = [([ms(*[10.0] * 200)] * 2, [ms(*[11.0] * 200)] * 3)]
    assert bootstrap_errors(traces, 0.5, resamples=50) == pytest.approx((0.1, 0.1))


def test_pairing_takes_what_the_arrivals_did_out_of_the_interval() -> None:
    calm, busy = np.full(1000, 10.0), np.full(1000, 50.0)
    real = np.concatenate([calm, busy, calm, busy])
    # the simulation is 10 % slower in both; block by block the mix is the same on both sides
    low, high = bootstrap_errors([([real], [real * 1.1])], 0.5, resamples=200)
    assert (low, high) == pytest.approx((0.1, 0.1))


def test_an_interval_is_about_as_wide_as_theory_says_and_the_same_each_time() -> None:
    draw = np.random.Generator(np.random.Philox(5))
    real, simulated = draw.exponential(10.0, 4000), draw.exponential(10.0, 4000)
    low, high = bootstrap_errors([([real], [simulated])], 0.5, block=1)
    assert (low, high) == bootstrap_errors([([real], [simulated])], 0.5, block=1)
    # the median of n exponential draws has a relative deviation of 1 / (ln 2 sqrt(n)): 2.28 %
    # each, 3.23 % of both, and 95 % lie within 1.96 of it
    assert (high - low) / 2 == pytest.approx(1.96 * 0.0323, rel=0.25)
    centre = signed_error(quantile(simulated, 0.5), quantile(real, 0.5))
    assert low < centre < high


def test_blocks_of_neighbours_make_an_interval_wider_where_neighbours_are_alike() -> None:
    draw = np.random.Generator(np.random.Philox(6))
    level = np.repeat(draw.exponential(10.0, 40), 50)
    traces = [([level], [np.repeat(draw.exponential(10.0, 40), 50)])]
    alone = bootstrap_errors(traces, 0.5, block=1)
    together = bootstrap_errors(traces, 0.5, block=50)
    assert together.high - together.low > 2 * (alone.high - alone.low)
