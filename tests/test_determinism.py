"""Law 5 across processes: the host leaves no mark on the trace.

Other laws vary windows and mode within one process; here the process itself is another one, with
another `PYTHONHASHSEED`, other thread counts, time zone, locale, folder and load.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurizer.synthetic import write_synthetic
from tests.laws.one_run import COLUMNS, MARKET

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ONE = {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "TZ": "UTC"}
OTHER = {
    "PYTHONHASHSEED": "4242",
    "OMP_NUM_THREADS": "4",
    "NUMBA_NUM_THREADS": "2",
    "POLARS_MAX_THREADS": "3",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A catalog, and a model trained on noise: what it predicts is of no importance here."""
    import xgboost

    folder = tmp_path_factory.mktemp("determinism")
    write_synthetic(MARKET, folder / "catalog")
    generator = np.random.Generator(np.random.Philox(5))
    features = generator.normal(size=(500, len(COLUMNS)))
    target = 0.01 * np.sign(features[:, 0]) + 0.001 * generator.normal(size=500)
    matrix = xgboost.DMatrix(features, target, feature_names=list(COLUMNS))
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, matrix, num_boost_round=10)
    booster.save_model(folder / "model.ubj")
    return folder / "catalog", folder / "model.ubj"


def in_a_process(
    catalog: Path,
    model: Path,
    settings: dict[str, str],
    *arguments: str,
    python: str = sys.executable,
) -> dict[str, Any]:
    """Run once in a process of its own and return what it prints."""
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    command = [python, "-m", "tests.laws.one_run", str(catalog), str(model), *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("hash_seed") == settings["PYTHONHASHSEED"]
    return found


@contextmanager
def every_core_busy() -> Iterator[None]:
    """Keep every core of the host busy while the block runs."""
    command = [sys.executable, "-c", "while True: pass"]
    burning = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
        assert all(process.poll() is None for process in burning)
    finally:
        for process in burning:
            process.kill()
            process.wait()


def test_another_process_hash_seed_thread_count_folder_and_load_give_the_same_digest(
    given: tuple[Path, Path], tmp_path: Path
) -> None:
    catalog, model = given
    usual = in_a_process(catalog, model, ONE, "ahead", "8192")
    assert usual["fills"] > 20
    assert usual["answers"] > 1000
    elsewhere = shutil.copytree(catalog, tmp_path / "copied")
    assert in_a_process(elsewhere, model, OTHER, "ahead", "300") == usual
    with every_core_busy():
        assert in_a_process(catalog, model, OTHER, "lockstep", "8192") == usual


@pytest.mark.skipif(
    "LIGHTCONE_OTHER_PYTHON" not in os.environ,
    reason="set LIGHTCONE_OTHER_PYTHON to an interpreter of another version with the same packages",
)
def test_another_version_of_python_gives_the_same_digest(given: tuple[Path, Path]) -> None:
    usual = in_a_process(*given, ONE, "ahead", "8192")
    other = os.environ["LIGHTCONE_OTHER_PYTHON"]
    assert in_a_process(*given, OTHER, "ahead", "300", python=other) == usual


def test_ties_broken_by_hash_are_told_by_the_digest(given: tuple[Path, Path]) -> None:
    found = set()
    for seed in ("1", "2", "3", "4"):
        settings = {**ONE, "PYTHONHASHSEED": seed}
        run = in_a_process(*given, settings, "ahead", "8192", "--ties-by-hash")
        found.add(run["digest"])
        if len(found) == 2:
            return
    pytest.fail("ties broken by hash gave the same trace under four hash seeds")
