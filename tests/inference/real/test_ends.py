"""What is left when a process with a Ray of its own ends, and what is left to it when the Ray does.

Each test starts a Ray of its own, and so must not hold one in this process beside it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inference.errors import NoClusterError, ServingError
from inference.ray_serve import deploy, ray_cluster
from inference.ray_serve.guard import living, processes
from inference.schedule import Outcome, Reason
from tests.inference.real.conftest import answers, family, moody, rays_of_ours, row, wait_for
from tests.inference.real.moody import SLEEP, SUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_serving,
    pytest.mark.usefixtures("alone"),
]


def driver(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.inference.real.driver", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def test_a_process_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    process = driver(tmp_path)
    all_of_them = family(process.pid)
    assert len(all_of_them) > 5
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    wait_for(lambda: not living(all_of_them), "every process to end")
    mine = [name for name in rays_of_ours() if name.startswith(f"lightcone-ray-{process.pid}-")]
    assert mine == []
    process.communicate()


def test_a_head_that_is_killed_ends_every_request_and_another_can_be_started(
    tmp_path: Path,
) -> None:
    config = moody(tmp_path / "model.json")
    with ray_cluster(num_cpus=2) as cluster:
        with pytest.raises(ServingError, match="connected already"), ray_cluster():
            pass
        client = deploy(cluster, config, name="first").backend()
        assert client.submit(row(SUM, 2.0)).result(30).value == 2.0
        waiting = [client.submit(row(SLEEP, 20.0)) for _ in range(5)]
        os.kill(head(), signal.SIGKILL)
        replies = answers(waiting)
        assert {reply.outcome for reply in replies} == {Outcome.FAILED}
        assert {reply.reason for reply in replies} == {Reason.CRASHED}
        for reply in replies:
            assert re.fullmatch(
                r"the Ray at .* is gone: its head at .* does not answer", reply.error
            )
            assert reply.received_at - reply.sent_at < 15_000_000_000
        late = client.submit(row(SUM)).result(1)
        assert (late.outcome, late.reason) == (Outcome.FAILED, Reason.CRASHED)
        assert client.counts.submitted == client.counts.ended == 7
        client.close()
    with ray_cluster(num_cpus=2) as cluster:
        client = deploy(cluster, config, name="second").backend()
        assert client.submit(row(SUM, 3.0)).result(30).value == 3.0
        client.close()


def test_an_address_without_a_ray_is_one_sentence() -> None:
    with pytest.raises(NoClusterError, match=r"got '127.0.0.1:9' \(nothing answers there\)"):
        ray_cluster("127.0.0.1:9").__enter__()
    with pytest.raises(NoClusterError, match=r"written `host:port`: got 'somewhere'"):
        ray_cluster("somewhere").__enter__()


def head() -> int:
    """Return the server of the Ray that this process started."""
    me = os.getpid()
    found = [
        child
        for child, (parent, _, lives) in processes().items()
        if parent == me and lives and b"gcs_server" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(found) == 1
    return found[0]
