"""What user code does beside the scenario is seen, with its line; what ours does is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backtester.causality.acts import watched

KINDS = {
    "files": [
        "with open(path) as file: file.read()",
        "import pathlib; pathlib.Path(path).read_text()",
        "import polars as pl; pl.read_csv(path)",
        "import numpy as np; np.loadtxt(path, delimiter=',')",
        "import os; os.listdir('.')",
    ],
    "network": [
        "import socket; socket.socket().close()",
        "import socket; socket.gethostbyname('localhost')",
    ],
    "host_time": [
        "import time; time.time()",
        "from time import perf_counter as f; f()",
        "import datetime; datetime.datetime.now()",
    ],
    "randomness": [
        "import random; random.random()",
        "import numpy as np; np.random.normal()",
        "import numpy as np; np.random.default_rng()",
        "import os; os.urandom(4)",
        "import uuid; uuid.uuid4()",
    ],
}


@pytest.mark.parametrize(
    ("kind", "statement"), [(kind, code) for kind, codes in KINDS.items() for code in codes]
)
def test_an_act_of_user_code_is_seen(kind: str, statement: str, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1,2\n3,4\n")
    code = compile(statement, str(tmp_path / "mine.py"), "exec")
    with watched() as acts:
        exec(code, {"__name__": "mine", "path": str(data)})
    assert getattr(acts, kind)
    assert any(
        "mine.py, line 1" in sentence or "user code" in sentence for sentence in acts.sentences()
    )


def test_arithmetic_is_no_act(tmp_path: Path) -> None:
    code = compile(
        "import math, numpy as np; x = np.sum([math.sin(1)])", str(tmp_path / "m.py"), "exec"
    )
    with watched() as acts:
        exec(code, {"__name__": "m"})
    assert acts.sentences() == []


MODEL = """
import json
import numpy as np
import polars as pl
from pathlib import Path
from typing import Any

def as_text(path, other):
    return Path(path).read_text()

def as_json(path, other):
    with open(path) as file:
        return json.load(file)

def as_array(path, other):
    return np.loadtxt(path, delimiter=",")

def as_table(path, other):
    return pl.read_csv(path)

def another(path, other):
    return other.read_text()

def another_table(path, other):
    return pl.read_csv(other)

def the_folder(path, other):
    import os
    return os.listdir(Path(path).parent)
"""


def loader(folder: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(MODEL, str(folder / "mine.py"), "exec"), names)
    return names


@pytest.mark.parametrize("name", ["as_text", "as_json", "as_array", "as_table"])
def test_a_model_may_read_its_own_artifact_while_it_is_loaded(name: str, tmp_path: Path) -> None:
    artifact = tmp_path / "model" / "weights"
    artifact.parent.mkdir()
    artifact.write_text("[1]\n" if name == "as_json" else "1,2\n3,4\n")
    load = loader(tmp_path)[name]
    with watched() as acts, acts.loading([artifact]):
        load(artifact, None)
    assert acts.sentences() == []
    with watched(acts):
        load(artifact, None)
    assert acts.files, "once loaded, it is a file like any other"


@pytest.mark.parametrize("name", ["another", "another_table", "the_folder"])
def test_a_model_that_reads_more_than_its_artifact_is_named(name: str, tmp_path: Path) -> None:
    artifact, other = tmp_path / "weights", tmp_path / "other"
    artifact.write_text("1,2\n")
    other.write_text("1,2\n3,4\n")
    load = loader(tmp_path)[name]
    with watched() as acts, acts.loading([artifact]):
        load(artifact, other)
    assert any("mine.py, line" in sentence for sentence in acts.sentences())
