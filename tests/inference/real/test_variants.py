"""Variants side by side on Ray Serve, each with what it says of itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from inference.config import InferenceConfig
from inference.ray_serve import RayCluster, deploy
from inference.ray_serve.status import statuses
from inference.schedule import Outcome
from tests.inference.real.conftest import answers, row, wait_for
from tests.inference.real.moody import PID, SLEEP, SUM, write_model

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]


# Ray would rather have it set for a whole cluster, whose every 10 s is long here
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
def test_variants_have_their_own_replicas_router_and_autoscaler(
    cluster: RayCluster, tmp_path: Path
) -> None:
    plain = {"predictor_class_name": "tests.inference.real.moody.Moody", "share": 0.5}
    steady = {
        "model_uri": write_model(tmp_path / "steady.json", 2.0),
        "num_replicas": 2,
        "router": "least_loaded",
        "max_ongoing_requests": 4,
    }
    scaling = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": 1,
        "look_back_period": "1s",
        "upscale_delay": "100ms",
        "metrics_interval": "200ms",
    }
    grows = {
        "model_uri": write_model(tmp_path / "grows.json", 3.0),
        "autoscaling_config": scaling,
        "max_ongoing_requests": 2,
    }
    variants = {"steady": plain | steady, "grows": plain | grows}
    config = InferenceConfig.model_validate(
        {"variants": variants, "routing": {"kind": "split"}, "graceful_shutdown_timeout": "2s"}
    )
    with ExitStack() as stack:
        found = deploy(cluster, config, name="two")
        stack.callback(found.delete)
        clients = {name: found.backend(name) for name in variants}
        for client in clients.values():
            stack.callback(client.close)

        def replicas(name: str) -> int:
            (one,) = [one for one in statuses() if one.name == f"two-{name}"]
            return one.replicas.get("RUNNING", 0)

        assert (replicas("steady"), replicas("grows")) == (2, 1)
        asked = {name: client.submit(row(SUM, 1.0)) for name, client in clients.items()}
        values = {name: future.result(30).value for name, future in asked.items()}
        assert values == {"steady": 2.0, "grows": 3.0}

        # least loaded: a replica that works on something gets less. Not nothing: Ray may take a
        # length that was true when a request came for the one after its answer, and so for a tie
        client = clients["steady"]
        answers([client.submit(row(PID)) for _ in range(8)])  # the router has met both
        held = client.submit(row(SLEEP, 2.0))
        others = [client.submit(row(PID)).result(30) for _ in range(13)][1:]
        assert not held.done(), "the machine was too slow for this test"
        busy = held.result(30).replica
        assert sum(one.replica == busy for one in others) < 6, "in turn it would be 6 of 12"

        # the autoscaler adds a replica while requests wait
        load = [clients["grows"].submit(row(SLEEP, 0.25)) for _ in range(40)]
        wait_for(lambda: replicas("grows") == 2, "the second replica")
        assert {reply.outcome for reply in answers(load)} == {Outcome.COMPLETED}
    for client in clients.values():
        assert client.counts.submitted == client.counts.ended
    assert not [one for one in statuses() if one.name.startswith("two-")]
