"""What is left when a process with a Ray of its own ends.

Each test starts a Ray of its own, and so must not hold one in this process beside it.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inference.errors import NoClusterError
from inference.ray_serve import ray_cluster
from inference.ray_serve.guard import living, processes
from tests.inference.real.conftest import family, rays_of_ours, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.real_serving]


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


def test_servers_that_miss_rays_own_limit_are_ended_and_others_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray._private import services

    def late(*given: Any) -> None:
        monkeypatch.undo()
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(services, "get_node", late)
    with ray_cluster(num_cpus=1):
        assert services.get_node is not late, "the first start did not fail"
        assert head() > 0
    del late
    gc.collect()  # a process that nobody waited for is told now, which fails the test
    me = os.getpid()
    left = [pid for pid, (parent, _, lives) in processes().items() if parent == me and not lives]
    assert left == []


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
