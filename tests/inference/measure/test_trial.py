"""The whole of a validation, against deployments of which the truth is known; and it can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference.config import InferenceConfig
from inference.errors import ModelFailedError
from inference.measure.log import read_log
from inference.measure.trial import Amounts, Load, Trial, measure_trial, read_trial
from inference.measure.verdicts import Compared, as_json, compare, counted
from tests.inference.measure.hand import MS, HandBackend, HandClock

ROWS = np.arange(4000.0).reshape(-1, 1)
LOADS = (Load("poisson", 0.3), Load("poisson", 0.7), Load("bursts", 0.5), Load("market", 0.5))
MARKET = np.sort(np.random.Generator(np.random.Philox(2)).integers(0, 60_000, 40_000)) * MS
AMOUNTS = Amounts(single=600, queries=30, sizes=(2, 16), pairs=5, requests=500)
BLOCK = 100
OF_FIT = 100 + BLOCK + 30 * 2 + 8 * 16
"""Requests before the first load: warm-up, single-stream, and the queries of the sweep."""
A_ROUND = len(LOADS) * 500
A_PAIR = 2 * A_ROUND + BLOCK


def round_of(number: int) -> int | None:
    """Return the round of the loads that a request belongs to, None of one for the fit."""
    pair, place = divmod(number - OF_FIT, A_PAIR)
    return None if number < OF_FIT or place >= 2 * A_ROUND else 2 * pair + place // A_ROUND


def measured(folder: Path, service: Callable[[int], int]) -> Trial:
    """Drive a deployment by hand: two replicas in turn, Lindley's recursion."""
    clock = HandClock()
    backend = HandBackend(clock, service, out=2 * MS)
    config = InferenceConfig.model_validate({"model_uri": "x", "num_replicas": 2})
    return measure_trial(
        backend,
        config,
        ROWS,
        MARKET,
        folder,
        name="by-hand",
        about="a queue written down by hand",
        loads=LOADS,
        amounts=AMOUNTS,
        seed=3,
        pacer=clock.pacer,
    )


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trial, Compared]:
    folder = tmp_path_factory.mktemp("honest")
    trial = measured(folder, lambda n: 10 * MS)
    return folder, trial, compare(trial, folder)


def errors(compared: Compared) -> np.ndarray:
    return np.array([cell.error for load in compared.loads for cell in load.cells])


@pytest.mark.slow
def test_a_deployment_that_is_what_the_simulation_says_has_no_error(
    honest: tuple[Path, Trial, Compared],
) -> None:
    _, _, compared = honest
    assert compared.fit.bottleneck == "replicas"
    # a constant service time: nothing is left to chance, and the bounds are 5, 10 and 15 %
    assert np.abs(errors(compared)).max() < 1e-3
    assert counted([compared]) == {"pass": 12, "fail": 0, "inconclusive": 0}
    assert all(load.requests == 5000 for load in compared.loads)
    for load in compared.loads:
        aimed = float(load.name.split()[1])
        assert load.utilisation["real"] == pytest.approx(load.utilisation["simulated"], rel=0.05)
        assert load.utilisation["real"] == pytest.approx(aimed, rel=0.15)


@pytest.mark.slow
def test_drawn_service_times_leave_no_more_error_than_their_draws(tmp_path: Path) -> None:
    drawn = np.random.Generator(np.random.Philox(1)).gamma(4.0, 2.5 * MS, 40_000).astype(int)
    compared = compare(measured(tmp_path, lambda n: int(drawn[n])), tmp_path)
    found = errors(compared).reshape(4, 3)
    # 5000 requests, half of them of the same arrivals: some per cent at p50, more in the tail
    assert (np.abs(found) < [0.05, 0.12, 0.2]).all()
    cells = [cell for load in compared.loads for cell in load.cells]
    held = [cell.interval.low <= 0 <= cell.interval.high for cell in cells]
    assert sum(held) >= len(cells) - 4
    assert all(cell.interval.low <= cell.error <= cell.interval.high for cell in cells)


@pytest.mark.slow
def test_a_deployment_that_got_a_fifth_slower_after_the_fit_fails(tmp_path: Path) -> None:
    slow = measured(tmp_path, lambda n: (10 if round_of(n) is None else 12) * MS)
    compared = compare(slow, tmp_path)
    found = errors(compared).reshape(4, 3)
    assert (found < -0.12).all()
    # a fifth more work at load 0.7 is load 0.84: there it waits twice as long
    assert np.abs(found[1]).max() > 0.3
    verdicts = [cell.verdict for load in compared.loads for cell in load.cells]
    assert verdicts.count("fail") >= 9
    assert [cell.verdict for load in compared.loads for cell in load.cells[:1]] == ["fail"] * 4


@pytest.mark.slow
def test_runs_that_differ_too_much_say_nothing(tmp_path: Path) -> None:
    def fickle(number: int) -> int:
        return (10 + 3 * ((round_of(number) or 0) % 2)) * MS  # each second round is slower

    compared = compare(measured(tmp_path, fickle), tmp_path)
    cells = [cell for load in compared.loads for cell in load.cells]
    assert {cell.verdict for cell in cells} == {"inconclusive"}
    assert all(cell.floor > cell.bound for cell in cells)


@pytest.mark.slow
def test_everything_is_computed_again_from_the_logs_alone(
    honest: tuple[Path, Trial, Compared], tmp_path: Path
) -> None:
    folder, trial, compared = honest
    again = read_trial(folder)
    assert again.about == json.loads(json.dumps(trial.about))
    for name, pairs in trial.runs.items():
        for one, other in zip(pairs, again.runs[name], strict=True):
            for first, second in zip(one, other, strict=True):
                for column, read in zip(first, second, strict=True):
                    np.testing.assert_array_equal(column, read)
    assert as_json(compare(again, tmp_path)) == as_json(compared)


@pytest.mark.slow
def test_what_goes_one_at_a_time_is_asked_before_the_loads_and_after_each_pair(
    tmp_path: Path,
) -> None:
    # the host gets slower all the time: a fit to its start alone would be off by a third
    def drifting(number: int) -> int:
        return 10 * MS + number * MS // 3000

    trial = measured(tmp_path, drifting)
    single = trial.fit_loads.single
    assert len(single.number) == 6 * BLOCK
    took = (single.completed_at - single.started_at).reshape(6, BLOCK).mean(axis=1)
    assert (np.diff(took) > A_PAIR * MS // 3100).all()
    for pairs in trial.runs.values():
        first, last = pairs[0][0], pairs[-1][1]
        assert single.scheduled_at[BLOCK - 1] < first.scheduled_at[0]
        assert last.scheduled_at[-1] < single.scheduled_at[-BLOCK]


@pytest.mark.slow
def test_both_runs_of_a_pair_have_the_same_trace_and_rows(
    honest: tuple[Path, Trial, Compared],
) -> None:
    for pairs in honest[1].runs.values():
        for first, second in pairs:
            offsets = [log.scheduled_at - log.scheduled_at[0] for log in (first, second)]
            np.testing.assert_array_equal(*offsets)
            np.testing.assert_array_equal(first.value, second.value)
        starts = [int(first.scheduled_at[1] - first.scheduled_at[0]) for first, _ in pairs]
        assert len(set(starts)) > 1


@pytest.mark.slow
def test_every_request_is_in_the_log_with_its_load_pair_and_run(
    honest: tuple[Path, Trial, Compared],
) -> None:
    log, more = read_log(honest[0] / "requests.parquet")
    assert len(log.number) == len(LOADS) * 5 * 2 * 500
    marks = np.stack([more["load"], more["pair"], more["run"]], axis=1)
    _, counts = np.unique(marks, axis=0, return_counts=True)
    assert counts.tolist() == [500] * (len(LOADS) * 10)


def test_a_folder_that_holds_no_trial_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ModelFailedError, match="must hold a kept trial"):
        read_trial(tmp_path)
