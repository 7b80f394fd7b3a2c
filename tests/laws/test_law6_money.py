"""Law 6, conservation of money: both books are what happened, to the last unit, at every step."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.laws.money_machine import MoneyMachine

pytestmark = pytest.mark.slow

SETTINGS = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),  # to make a failure of forty steps small takes minutes
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_the_books_are_what_happened() -> None:
    MoneyMachine.tally.clear()
    run_state_machine_as_test(MoneyMachine, settings=SETTINGS)
    tally = MoneyMachine.tally
    print(dict(tally))
    assert 2 * tally["filled"] >= tally["examples"]
    for what in ("funded", "liquidated", "insured"):
        assert tally[what] >= 5, f"too few examples were {what}: {tally}"
