"""One seed of the swarm: a few drawn scenarios, and the laws asserted on each."""

from __future__ import annotations

import contextlib
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.internal.conjecture import providers

from backtester.causality.strategies import Example, scenarios
from backtester.causality.swarm.battery import Tried, assert_laws
from clock.errors import InputError
from clock.wall import host_ns

__all__ = ["EXAMPLES", "Trial", "try_folder", "try_seed"]

EXAMPLES = 5
"""Scenarios of one seed. Hypothesis tries the simplest one first, whatever the seed: that one is
passed over."""


MAKING_SMALL_NS = 60_000_000_000
"""How long a scenario that broke a law is made smaller, about."""

_LINES = 30


@dataclass
class Trial:
    """What came of one seed.

    Attributes:
        seed: The seed.
        examples: Scenarios on which all laws were asserted.
        refused: Scenarios that could not be run, by their own rules.
        why_refused: The message of the first of these.
        seconds: How long it took.
        failure: What broke a law, with its traceback; empty where nothing did.
        kept: Folder of the scenario that did, where it was made small and kept.
        runs, simulated_ns, faults, filled, fills, answers, has_future: Sums of those of `Tried`.
    """

    seed: int
    examples: int = 0
    refused: int = 0
    why_refused: str = ""
    seconds: float = 0.0
    failure: str = ""
    kept: str = ""
    runs: int = 0
    simulated_ns: int = 0
    faults: int = 0
    filled: int = 0
    fills: int = 0
    answers: int = 0
    has_future: int = 0

    def add(self, tried: Tried) -> None:
        """Count a scenario on which all laws hold."""
        self.examples += 1
        for one in fields(tried):
            setattr(self, one.name, getattr(self, one.name) + getattr(tried, one.name))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def try_seed(number: int, keep: Path | None = None) -> Trial:
    """Draw the scenarios of a seed and assert the laws on them; to be called in a fresh process.

    Args:
        number: The seed.
        keep: Where to keep a scenario that breaks a law, made small first; None to only tell.
    """
    began = host_ns()
    asked = _Asked(Trial(number), began + MAKING_SMALL_NS)
    trial = asked.trial
    test = settings(
        max_examples=EXAMPLES,
        phases=(Phase.generate,) if keep is None else (Phase.generate, Phase.shrink),
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(given(scenarios())(asked.check))
    try:
        with _seed_alone():
            seed(number)(test)()
    except Exception as error:
        trial.failure = asked.failure or _told(error)
        if asked.broken is not None and keep is not None:
            trial.kept = str(_keep(asked.broken, keep, trial.failure))
    trial.seconds = (host_ns() - began) / 1e9
    return trial


class _Asked:
    """What Hypothesis has asked about so far."""

    def __init__(self, trial: Trial, until: int) -> None:
        self.trial, self.until = trial, until
        self.broken: Example | None = None
        self.failure = ""
        self.simplest: Example | None = None
        self.failing: set[str] = set()

    def check(self, example: Example) -> None:
        """Assert the laws on a scenario."""
        if self.simplest is None:
            self.simplest = example  # the same for every seed
            return
        digest = example.digest()
        if self.failing and digest not in self.failing and host_ns() > self.until:
            return  # small enough: making it smaller still may take minutes
        try:
            with example.written(kept=False) as file:
                tried = assert_laws(file)
        except InputError as error:
            self.trial.refused += 1
            self.trial.why_refused = self.trial.why_refused or str(error)
        except Exception as error:
            self.failing.add(digest)
            self.broken, self.failure = example, _told(error)
            raise
        else:
            if not self.failing:
                self.trial.add(tried)


def _told(error: Exception) -> str:
    """Return the last lines of a traceback."""
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "\n".join(lines[-_LINES:])


def _keep(example: Example, root: Path, failure: str) -> Path:
    folder = example.kept_in(root)
    if not folder.exists():
        new = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        example.write(new)
        (new / "failure.txt").write_text(f"{failure}\n\n{example!r}")
        new.rename(folder)
    return folder


@contextlib.contextmanager
def _seed_alone() -> Iterator[None]:
    """Draw from the seed alone: Hypothesis also tries numbers that stand in our source files.

    Those change with every edit, and a seed that failed would draw something else once the failure
    is mended.
    """
    own = vars(providers)
    with contextlib.ExitStack() as stack:
        if {"_get_local_constants", "Constants", "CONSTANTS_CACHE"} <= own.keys():
            stack.enter_context(patch.dict(own, _get_local_constants=own["Constants"]))
            # what was drawn before with such numbers, or is drawn so now, stays apart
            own["CONSTANTS_CACHE"].cache.clear()
            stack.callback(own["CONSTANTS_CACHE"].cache.clear)
        yield


def try_folder(folder: Path) -> Trial:
    """Assert the laws on a scenario that was kept, in the folder that holds it."""
    trial, began = Trial(-1), host_ns()
    with contextlib.chdir(folder):
        try:
            trial.add(assert_laws("scenario.yaml"))
        except InputError:
            raise
        except Exception as error:
            trial.failure, trial.kept = _told(error), str(folder)
    trial.seconds = (host_ns() - began) / 1e9
    return trial
