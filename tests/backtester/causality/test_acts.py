"""What user code does beside the scenario is seen, with its line; what ours does is not."""

from __future__ import annotations

from pathlib import Path

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
