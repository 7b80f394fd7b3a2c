"""The state machine of money fails on every defect planted for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.laws.at_a_fill import CASES, FillingMachine
from tests.laws.money_machine import MoneyMachine
from tests.laws.test_law6_at_a_fill import FEWER, assert_closed_at_the_fill
from tests.laws.test_law6_money import SETTINGS
from tests.mutants.at_a_fill import (
    a_fill_is_not_looked_at,
    the_lane_keeps_the_danger_to_itself,
)
from tests.mutants.money import PLANTS
from tests.mutants.planting import without_express

pytestmark = pytest.mark.slow

# what is drawn depends on the modules that a process has loaded: a hunt must not be a near thing
HUNT = settings(SETTINGS, max_examples=1000, report_multiple_bugs=False)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_law_of_money_fails_on(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(MoneyMachine, settings=HUNT)


def test_the_machine_fails_where_a_fill_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    a_fill_is_not_looked_at(monkeypatch)
    with pytest.raises(AssertionError, match="is below its margin"):
        run_state_machine_as_test(FillingMachine, settings=FEWER)


@pytest.mark.parametrize("name", CASES)
def test_every_run_fails_where_a_fill_is_not_looked_at(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_express(monkeypatch)
    a_fill_is_not_looked_at(monkeypatch)
    with pytest.raises(AssertionError):
        assert_closed_at_the_fill(tmp_path, name, "another order")


@pytest.mark.parametrize("name", CASES)
def test_every_run_by_the_express_lane_fails_where_it_keeps_the_danger_to_itself(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_lane_keeps_the_danger_to_itself(monkeypatch)
    with pytest.raises(AssertionError):
        assert_closed_at_the_fill(tmp_path, name, "another order")
