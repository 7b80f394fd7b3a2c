"""The state machine of money fails on every defect planted for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.laws.money_machine import MoneyMachine
from tests.laws.test_law6_money import SETTINGS
from tests.mutants.money import PLANTS

pytestmark = pytest.mark.slow

HUNT = settings(SETTINGS, report_multiple_bugs=False)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_law_of_money_fails_on(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(MoneyMachine, settings=HUNT)
