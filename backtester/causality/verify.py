"""Whether a run repeats itself: elsewhere, with other hashes and threads, in other windows."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from backtester.causality.entries import Difference, first_difference
from backtester.causality.probe import Subject, trace_of
from backtester.errors import ScenarioError
from backtester.loading import open_catalog
from backtester.run import WINDOW_ROWS

__all__ = ["WAYS", "Rerun", "Way", "verify"]

_END_OF_TIME = 2**62


class Way(NamedTuple):
    """How a run is made again.

    Attributes:
        name: For people.
        hash_seed: `PYTHONHASHSEED` of its process.
        threads: `OMP_NUM_THREADS` and the like.
        window_rows: Rows of a window.
        mode: `ahead`, `lockstep`, or empty for the scenario's own.
    """

    name: str
    hash_seed: str
    threads: str
    window_rows: int
    mode: str


WAYS = (
    Way("another process, another PYTHONHASHSEED", "1", "1", WINDOW_ROWS, ""),
    Way("two threads, windows of 1009 rows", "2", "2", 1009, ""),
    Way("in lockstep, windows of 4099 rows", "3", "1", 4099, "lockstep"),
)


class Rerun(NamedTuple):
    """What one way came to.

    Attributes:
        way: How the run was made.
        difference: The first entry that differs from the first run's, None where none does.
    """

    way: Way
    difference: Difference | None


def verify(subject: Subject, progress: Callable[[int, int], None] | None = None) -> list[Rerun]:
    """Run a scenario once, then again in every way, and compare the traces byte by byte.

    Raises:
        InputError: If it cannot be run.
        StrategyError: If its strategy raises.
    """
    real = trace_of(subject, open_catalog(subject.scenario), WINDOW_ROWS)
    reruns = []
    with tempfile.TemporaryDirectory(prefix="lightcone-verify-") as folder:
        given = Path(folder) / "subject.pickle"
        given.write_bytes(pickle.dumps(subject))
        for done, way in enumerate(WAYS, start=1):
            answer = Path(folder) / f"{done}.pickle"
            _run_elsewhere(way, given, answer)
            entries = pickle.loads(answer.read_bytes())
            reruns.append(Rerun(way, first_difference(real, entries, _END_OF_TIME, "event_time")))
            if progress is not None:
                progress(done, len(WAYS))
    return reruns


def _run_elsewhere(way: Way, given: Path, answer: Path) -> None:
    names = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
    own = {"PYTHONHASHSEED": way.hash_seed, **dict.fromkeys(names, way.threads)}
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [
        sys.executable, "-m", "backtester.causality.verify",
        str(given), str(answer), str(way.window_rows), way.mode,
    ]  # fmt: skip
    made = subprocess.run(
        command, env={**os.environ, **own, "PYTHONPATH": path}, capture_output=True, text=True
    )
    if made.returncode:
        raise ScenarioError(
            f"the run must succeed again ({way.name}): it ended with {made.returncode}, saying "
            f"{made.stderr.strip().splitlines()[-1:]}. Run it alone to see more."
        )


def main(arguments: list[str]) -> None:
    """Run what `verify` hands over, and write its trace."""
    given, answer, rows, mode = arguments
    subject: Subject = pickle.loads(Path(given).read_bytes())
    entries = trace_of(
        subject,
        open_catalog(subject.scenario),
        int(rows),
        mode="lockstep" if mode == "lockstep" else None,
    )
    new = Path(f"{answer}.new")
    new.write_bytes(pickle.dumps(entries))
    new.rename(answer)


if __name__ == "__main__":
    main(sys.argv[1:])
