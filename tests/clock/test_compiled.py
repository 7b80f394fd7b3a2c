from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from clock import compiled, draws
from clock.compiled import (
    CACHE_FOLDER,
    cache_folder,
    cache_root,
    kernel,
    kernel_folder,
    readonly,
)
from tests.clock.trees import write

ROOT = Path(__file__).resolve().parents[2]


def test_the_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTCONE_CACHE_DIR", str(tmp_path / "own"))
    assert cache_root() == tmp_path / "own"
    monkeypatch.delenv("LIGHTCONE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "lightcone"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "lightcone"


def test_the_cache_folder_is_made_and_named_by_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_folder(tmp_path)
    assert folder.is_dir()
    assert folder == cache_folder(tmp_path)
    monkeypatch.setattr(compiled, "_all_sources", lambda: "other sources")
    assert cache_folder(tmp_path) != folder


def test_old_cache_folders_are_forgotten_and_other_files_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "KEPT_CACHES", 2)
    for number in range(5):
        (tmp_path / f"{number:024x}").mkdir()
    (tmp_path / "mine").mkdir()
    folder = cache_folder(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert folder.is_dir()
    assert (tmp_path / "mine").is_dir()


def test_a_root_that_cannot_be_written_falls_back_to_a_private_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    folder = cache_folder(blocked)
    assert folder.is_dir()
    assert tmp_path not in folder.parents
    assert folder.stat().st_mode & 0o077 == 0


def test_a_kernel_of_a_file_that_is_not_ours_is_kept_by_all_our_sources() -> None:
    @kernel
    def same(a: float) -> float:
        return a

    place: Any = same
    assert CACHE_FOLDER in Path(place._cache.cache_path).parents


def test_a_kernel_of_ours_is_kept_by_what_its_file_is_made_of() -> None:
    place: Any = draws.uniform
    assert kernel_folder(Path(draws.__file__).with_name("randomness.py")) in (
        Path(place._cache.cache_path).parents
    )
    assert Path(numba.config.CACHE_DIR) == CACHE_FOLDER


PROBE = """
import json
from featurizer.apart import apart
from featurizer.probe import outer

answers = [outer(1.0), apart(1.0)]
print(json.dumps([*answers, *(sum(one.stats.cache_hits.values()) for one in (outer, apart))]))
"""
HELPER = "from clock.compiled import kernel\n\n@kernel\ndef inner(a):\n    return a + {}\n"


@pytest.mark.slow
def test_an_edit_reaches_every_kernel_that_holds_the_edited_one_and_no_other(
    tmp_path: Path,
) -> None:
    def answers() -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            cwd=tmp_path,
            env={**os.environ, "LIGHTCONE_CACHE_DIR": str(tmp_path / "kept")},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    shutil.copytree(ROOT / "clock", tmp_path / "clock")
    write(tmp_path, "featurizer/__init__.py", "")
    write(tmp_path, "featurizer/helper.py", HELPER.format(1))
    write(tmp_path, "featurizer/apart.py", HELPER.format(5).replace("inner", "apart"))
    imports = "from clock.compiled import kernel\nfrom featurizer.helper import inner\n\n"
    write(
        tmp_path, "featurizer/probe.py", f"{imports}@kernel\ndef outer(a):\n    return inner(a)\n"
    )
    assert answers() == [2.0, 6.0, 0, 0]
    assert answers() == [2.0, 6.0, 1, 1]
    write(tmp_path, "featurizer/helper.py", HELPER.format(2))
    assert answers() == [3.0, 6.0, 0, 1]


def test_settings_survive_that_numba_reads_its_variables_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = numba.config.CACHE_DIR
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    numba.core.config.reload_config()
    assert before == numba.config.CACHE_DIR
    assert numba.config.DISABLE_INTEL_SVML


def test_a_kernel_divides_like_numpy() -> None:
    @kernel
    def ratio(a: float, b: float) -> float:
        return a / b

    assert ratio(1.0, 0.0) == np.inf


def test_a_read_only_view_leaves_its_array_alone() -> None:
    array = np.arange(3)
    view = readonly(array)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    array[0] = 5
    assert view[0] == 5


@pytest.mark.slow
def test_importing_clock_imports_nothing_heavy() -> None:
    heavy = ("numba", "numpy", "pydantic", "pyarrow", "polars")
    code = f"import sys, clock; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_all_is_sorted_and_importable() -> None:
    import clock

    # ruff's order: constants, then classes, then functions.
    assert len(set(clock.__all__)) == len(clock.__all__)
    for name in clock.__all__:
        assert getattr(clock, name) is not None
