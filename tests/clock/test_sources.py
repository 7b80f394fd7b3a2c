"""A source's digest changes with all that it imports, and with nothing else."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from numba.core.registry import CPUDispatcher

from clock.sources import PACKAGES, Sources, source_digest
from tests.clock.trees import write

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize(
    "line",
    [
        "from clock.b import x",
        "from clock import b",
        "from clock import a as _, b as c",
        "from clock import (  # of these (two)\n    a,\n    b,\n)",
        "from clock import a, \\\n    b",
        "import clock.b",
        "import os, clock.b as b",
        "def f():\n    from clock.b import x",
        "from inference.passes_on import x",
        "import inference",
    ],
)
def test_every_way_to_import_is_followed(line: str, tmp_path: Path) -> None:
    write(tmp_path, "clock/a.py", "")
    b = write(tmp_path, "clock/b.py", "x = 1")
    write(tmp_path, "inference/passes_on.py", "from clock.b import x")
    write(tmp_path, "inference/__init__.py", "from clock.b import x")
    importer = write(tmp_path, "featurizer/c.py", line)
    before = Sources(tmp_path).digest(importer)
    assert b in (Sources(tmp_path).closure(importer) or ())
    b.write_text("x = 2")
    assert Sources(tmp_path).digest(importer) != before


def test_a_circle_of_imports_ends(tmp_path: Path) -> None:
    one = write(tmp_path, "clock/a.py", "import clock.b")
    other = write(tmp_path, "clock/b.py", "import clock.a")
    assert Sources(tmp_path).closure(one) == {one, other}


def test_an_import_by_a_name_made_at_run_time_may_be_of_anything(tmp_path: Path) -> None:
    write(tmp_path, "clock/a.py", "")
    loader = write(tmp_path, "clock/b.py", "from importlib import import_module")
    importer = write(tmp_path, "featurizer/c.py", "from clock.b import import_module")
    for source in (loader, importer, write(tmp_path, "users_own.py", "")):
        assert Sources(tmp_path).closure(source) is None
        assert Sources(tmp_path).digest(source) == source_digest(tmp_path)


def kernel_files(root: Path) -> list[Path]:
    marks = ("\n@kernel", "\n@inlined_kernel", "\n@step")
    found = [
        path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if any(mark in path.read_text() for mark in marks)
    ]
    assert len(found) > 40
    return found


def test_an_edit_changes_the_digests_of_the_kernels_above_it_alone(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    kernels = kernel_files(tmp_path)

    def changed_by(name: str) -> set[str]:
        before, path = Sources(tmp_path), tmp_path / name
        digests = {kernel: before.digest(kernel) for kernel in kernels}
        text = path.read_text()
        path.write_text(text + "\n")
        after = Sources(tmp_path)
        changed = {kernel for kernel in kernels if after.digest(kernel) != digests[kernel]}
        path.write_text(text)
        return {kernel.relative_to(tmp_path).as_posix() for kernel in changed}

    everything = {path.relative_to(tmp_path).as_posix() for path in kernels}
    assert changed_by("clock/compiled.py") == everything
    assert changed_by("backtester/commands/run.py") == set()
    assert changed_by("backtester/run.py") == set()
    of_serving = changed_by("inference/serving/memory.py")
    assert "inference/serving/stack.py" in of_serving
    assert all(name.startswith("inference/serving/") for name in of_serving)
    of_features = changed_by("featurizer/feature.py")
    assert "featurizer/operators/windows.py" in of_features
    assert all(name.startswith("featurizer/") for name in of_features)


def reached(kernel: Any) -> Iterator[Any]:
    """Yield what a kernel's code names of its module, and of modules that this one imports."""
    code, known = kernel.py_func.__code__, kernel.py_func.__globals__
    for name in code.co_names:
        value = known.get(name)
        if isinstance(value, ModuleType):
            yield value
            yield from (getattr(value, more, None) for more in code.co_names)
        else:
            yield value


def test_all_that_a_kernel_calls_lies_in_a_file_that_its_digest_covers() -> None:
    sources, calls = Sources(ROOT), 0
    for path in kernel_files(ROOT):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        covered = {str(file) for file in sources.closure(path) or ()}
        assert covered, path
        own = [one for one in vars(module).values() if isinstance(one, CPUDispatcher)]
        for kernel in own:
            if kernel.py_func.__code__.co_filename != str(path):
                continue
            for value in reached(kernel):
                if isinstance(value, CPUDispatcher):
                    calls += 1
                    assert value.py_func.__code__.co_filename in covered, (path, value)
                elif isinstance(value, ModuleType) and value.__name__.split(".")[0] in PACKAGES:
                    assert value.__file__ in covered, (path, value)
    assert calls > 200
