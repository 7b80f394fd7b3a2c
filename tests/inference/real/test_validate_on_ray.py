"""A small validation on a real Ray Serve: that it runs, and that its accounting is right.

Whether the simulation is right on this machine at this moment is not asked: other tests run beside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backtester.measured.subject import deployed, sleeping_subject
from inference.config import InferenceConfig
from inference.measure.trial import Amounts, Load, measure_trial, read_trial
from inference.measure.verdicts import as_json, compare

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]

MS = 1_000_000
LOADS = (Load("poisson", 0.3), Load("bursts", 0.3))
AMOUNTS = Amounts(single=30, pause_ns=MS, queries=4, sizes=(2, 8), pairs=2, requests=30, warm_up=10)
CONFIG = {
    "model_uri": "none",
    "num_replicas": 2,
    "router": "power_of_two",
    "max_ongoing_requests": 64,
    "batching": {"kind": "ray", "max_batch_size": 1, "batch_wait_timeout": "0s"},
}


def test_a_small_validation_on_ray_serve_accounts_for_every_request(tmp_path: Path) -> None:
    config = InferenceConfig.model_validate(CONFIG)
    subject = sleeping_subject(config, "10ms", None, tmp_path / "model", 60)
    with deployed("ray_serve", [subject]) as (backend,):
        trial = measure_trial(
            backend,
            subject.config,
            subject.rows,
            None,
            tmp_path / "trial",
            name=subject.name,
            about=subject.about,
            loads=LOADS,
            amounts=AMOUNTS,
        )
    compared = compare(trial, tmp_path / "fit")
    assert compared.fit.bottleneck == "replicas"
    assert 0.3 * 200 < compared.fit.capacity < 200  # two replicas, 10 ms and what they take besides
    for load, pairs in zip(compared.loads, trial.runs.values(), strict=True):
        assert (load.requests, load.unanswered) == (2 * 2 * 30, 0)
        for log in (log for pair in pairs for log in pair):
            assert log.latency.min() > 10 * MS
            order = [log.submitted_at, log.sent_at, log.started_at, log.completed_at]
            for earlier, later in zip(order, [*order[1:], log.received_at], strict=True):
                assert (earlier <= later).all()
            assert (log.completed_at - log.started_at >= 10 * MS).all()
            assert len(np.unique(log.replica.astype(str))) == 2
            # one request at a time: on a replica, none starts before the one before it is done
            for replica in np.unique(log.replica.astype(str)):
                own = log.take(log.replica.astype(str) == replica)
                own = own.take(np.argsort(own.started_at))
                assert (own.started_at[1:] >= own.completed_at[:-1]).all()
    again = compare(read_trial(tmp_path / "trial"), tmp_path / "again")
    assert as_json(again) == as_json(compared)
