"""Imports go one way, and nothing but `clock/wall.py` reads the host's clock or its entropy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "clock": {"clock"},
    "featurizer": {"clock", "featurizer"},
    "inference": {"clock", "inference"},
    "backtester": {"clock", "featurizer", "inference", "backtester"},
}
HOST_MODULES = {"time", "uuid", "secrets", "random"}
HEAVY = {"mlflow", "ray", "xgboost", "matplotlib", "onnxruntime"}
HEAVY_AT_THE_TOP = {
    "inference/predictors/xgboost.py",
    "inference/ray_serve/routers.py",
    "backtester/causality/preload.py",
    "backtester/report/axes.py",
    "backtester/report/compare.py",
    "backtester/report/lineage_picture.py",
    "backtester/report/picture.py",
    "backtester/report/plan_picture.py",
    "backtester/report/position.py",
    "backtester/report/style.py",
}


def sources() -> list[Path]:
    return [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield node.module or "", node.lineno


def upward_imports(package: str, tree: ast.AST) -> list[str]:
    return [
        f"line {line}: {package} imports {name}"
        for name, line in imported(tree)
        if name.split(".")[0] in ALLOWED and name.split(".")[0] not in ALLOWED[package]
    ]


def host_reads(tree: ast.AST) -> list[str]:
    """Return reads of host time and of global randomness."""
    found = [
        f"line {line}: import of {name}"
        for name, line in imported(tree)
        if name.split(".")[0] in HOST_MODULES
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        text = ast.unparse(node)
        if node.attr in {"now", "today", "utcnow"} and text.split(".")[0] in {"datetime", "date"}:
            found.append(f"line {node.lineno}: {text}")
        if text.startswith(("np.random.", "numpy.random.")) and node.attr not in {
            "Generator",
            "Philox",
        }:
            found.append(f"line {node.lineno}: {text}")
        if text in {"os.urandom", "os.getrandom"}:
            found.append(f"line {node.lineno}: {text}")
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_packages_below_its_own(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert upward_imports(package, ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_wall_clock_reads_the_host(path: Path) -> None:
    found = host_reads(ast.parse(path.read_text()))
    if path == ROOT / "backtester/causality/acts.py":
        return  # it watches whether user code draws from generators that all code shares
    if path == ROOT / "clock/wall.py":
        assert found, "the wall clock no longer reads the host: the check has gone blind"
    else:
        assert found == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_where_they_are_used(path: Path) -> None:
    if str(path.relative_to(ROOT)) in HEAVY_AT_THE_TOP:
        return
    top = ast.Module(body=list(eager(ast.parse(path.read_text()))), type_ignores=[])
    assert [name for name, _ in imported(top) if name.split(".")[0] in HEAVY] == []


def eager(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported."""
    for statement in tree.body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield statement


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import time_ns",
        "import random",
        "from datetime import datetime\nnow = datetime.now",
        "import numpy as np\nnp.random.normal()",
        "import numpy as np\nrng = np.random.default_rng()",
    ],
)
def test_the_ban_on_host_time_and_entropy_sees_every_way_to_them(text: str) -> None:
    assert host_reads(ast.parse(text))


def test_an_upward_import_inside_a_function_is_seen() -> None:
    tree = ast.parse("def f():\n    from backtester.run import Run\n")
    assert upward_imports("featurizer", tree) == ["line 2: featurizer imports backtester.run"]
