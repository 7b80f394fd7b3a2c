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
    catalog: Path, model: Path, settings: dict[str, str], *arguments: str
) -> dict[str, Any]:
    """Run once in a process of its own and return what it prints."""
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.laws.one_run", str(catalog), str(model), *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found.pop("hash_seed") == settings["PYTHONHASHSEED"]
    return found


def test_another_process_hash_seed_thread_count_and_folder_give_the_same_digest(
    given: tuple[Path, Path], tmp_path: Path
) -> None:
    catalog, model = given
    usual = in_a_process(catalog, model, ONE, "ahead", "8192")
    assert usual["fills"] > 20
    assert usual["answers"] > 1000
    elsewhere = shutil.copytree(catalog, tmp_path / "copied")
    assert in_a_process(elsewhere, model, OTHER, "ahead", "300") == usual
    assert in_a_process(catalog, model, OTHER, "lockstep", "8192") == usual


def test_ties_broken_by_hash_are_told_by_the_digest(given: tuple[Path, Path]) -> None:
    found = set()
    for seed in ("1", "2", "3", "4"):
        settings = {**ONE, "PYTHONHASHSEED": seed}
        run = in_a_process(*given, settings, "ahead", "8192", "--ties-by-hash")
        found.add(run["digest"])
        if len(found) == 2:
            return
    pytest.fail("ties broken by hash gave the same trace under four hash seeds")
