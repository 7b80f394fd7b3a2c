from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from clock import compiled
from clock.compiled import cache_folder, cache_root, kernel, readonly, source_digest

ROOT = Path(__file__).resolve().parents[2]


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_the_digest_changes_with_any_source_and_not_with_the_place(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for root in (one, other):
        write(root, "clock/a.py", "a = 1")
        write(root, "featurizer/operators/b.py", "b = 1")
    same = source_digest(one)
    assert source_digest(other) == same
    write(other, "clock/notes.txt", "no source")
    assert source_digest(other) == same
    write(other, "featurizer/operators/b.py", "b = 2")
    assert source_digest(other) != same
    (one / "clock/a.py").rename(one / "clock/c.py")
    assert source_digest(one) != same


def test_a_line_moved_to_the_next_file_changes_the_digest(tmp_path: Path) -> None:
    write(tmp_path, "clock/a.py", "x = 1\n")
    write(tmp_path, "clock/b.py", "y = 1\n")
    before = source_digest(tmp_path)
    write(tmp_path, "clock/a.py", "")
    write(tmp_path, "clock/b.py", "x = 1\ny = 1\n")
    assert source_digest(tmp_path) != before


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
    monkeypatch.setattr(compiled, "source_digest", lambda root: "other sources")
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


def test_kernels_are_cached_in_that_folder(tmp_path: Path) -> None:
    assert Path(numba.config.CACHE_DIR).parent == cache_root() or not cache_root().is_dir()


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
