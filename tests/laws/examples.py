"""How many examples a law is tried on, and how many of them could have told."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings

Test = Callable[..., None]


SEEDS = 5
"""Runs of Hypothesis behind one law: one run alone clings to what its first examples were like."""


def law(examples: int, **others: Any) -> Callable[[Test], Test]:
    """Try a law on so many examples, the same ones in every run.

    `LIGHTCONE_LAW_EXAMPLES=5` tries five times as many, other ones each time.

    Args:
        examples: How many in all.
        others: Further settings of Hypothesis.
    """
    factor = int(os.environ.get("LIGHTCONE_LAW_EXAMPLES", "1"))
    first = 0 if factor == 1 else int.from_bytes(os.urandom(4), "little")

    def decorate(test: Test) -> Test:
        tuned = settings(
            max_examples=-(-examples // SEEDS),
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            **others,
        )(test)

        def run() -> None:
            for number in range(SEEDS * factor):
                seed(first + number)(tuned)()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


def hunt(examples: int) -> Callable[[Test], Test]:
    """Look for one example on which a law fails; it need not be shrunk."""
    return law(examples, phases=(Phase.generate,), report_multiple_bugs=False)


@dataclass
class Tally:
    """How many examples of a law could have shown that it is broken.

    Attributes:
        examples: All of them.
        filled: Those with a fill before the cut.
        telling: Those in which also the trace after the cut is changed by the perturbation.
    """

    examples: int = 0
    filled: int = 0
    telling: int = 0

    def note(self, *, filled: bool, changed: bool = True) -> None:
        """Count one example."""
        self.examples += 1
        self.filled += filled
        self.telling += filled and changed

    def assert_half_are_telling(self) -> None:
        """Assert what the design asks of a law's examples, and print the count."""
        print(f"{self.examples} examples, {self.filled} with fills, {self.telling} telling")
        assert self.examples > 0
        assert 2 * self.telling >= self.examples, f"too few examples can fail: {self}"
