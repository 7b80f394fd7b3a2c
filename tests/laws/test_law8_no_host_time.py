"""Law 8, no host time: a run reads neither the host's clock nor any global randomness.

`tests/test_layers.py` reads the sources; here a profiler watches the calls that a run makes.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.catalog import Catalog
from tests.laws.examples import Tally, law
from tests.laws.harness import Played, catalog_of, play
from tests.laws.markets import cases
from tests.reference.case import Case

pytestmark = pytest.mark.slow

OURS = ("clock.", "featurizer.", "inference.", "backtester.")
ALLOWED = "clock.wall"
HOST_MODULES = {"time", "_random", "random", "secrets", "uuid"}
HOST_NAMES = {"now", "today", "utcnow", "urandom", "getrandom", "default_rng"}


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Collect the reads of the host's clock or entropy by our packages."""
    found: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            caller = frame
            owner = type(getattr(called, "__self__", None))
            module = getattr(called, "__module__", None) or owner.__module__
            name = called.__name__
        elif event == "call" and frame.f_back is not None:
            caller, name = frame.f_back, frame.f_code.co_name
            module = frame.f_globals.get("__name__", "")
        else:
            return
        where = caller.f_globals.get("__name__", "")
        if not where.startswith(OURS) or where == ALLOWED:
            return
        if module in HOST_MODULES or (name in HOST_NAMES and not module.startswith(OURS)):
            found.append(f"{where}, line {caller.f_lineno}: {module}.{name}")

    before, states = sys.getprofile(), global_states()
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(before)
        threading.setprofile(before)  # type: ignore[arg-type]
        # NumPy's global functions are compiled in a way that no profiler sees
        if global_states() != states:
            found.append("a global generator was drawn from")


def global_states() -> tuple[object, ...]:
    """Return the states of the generators that everybody shares."""
    state: Any = np.random.get_state()
    return random.getstate(), state[1].tobytes(), *state[2:]


def assert_no_host_time(case: Case, catalog: Catalog, *, mode: Any = "ahead") -> Played:
    """Assert law 8 on a case."""
    with host_reads() as found:
        played = play(case, catalog, mode=mode)
    assert found == []
    return played


def test_a_run_reads_neither_the_host_clock_nor_its_entropy() -> None:
    tally = Tally()

    @law(15)
    @given(cases(), st.sampled_from(["ahead", "lockstep"]))
    def check(case: Case, mode: Any) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_no_host_time(case, catalog, mode=mode).fills))

    check()
    tally.assert_half_are_telling()


@pytest.mark.parametrize(
    "statement",
    [
        "import time; time.time()",
        "import time; time.time_ns()",
        "from time import monotonic as f; f()",
        "from time import perf_counter; perf_counter()",
        "import datetime; datetime.datetime.now()",
        "import random; random.random()",
        "import random; random.randint(0, 3)",
        "import numpy as np; np.random.normal()",
        "import numpy as np; np.random.default_rng()",
        "import os; os.urandom(1)",
        "import uuid; uuid.uuid4()",
    ],
)
def test_the_watch_sees_every_way_to_the_host(statement: str) -> None:
    code = compile(statement, "planted", "exec")
    with host_reads() as found:
        exec(code, {"__name__": "backtester.planted"})
    assert found
