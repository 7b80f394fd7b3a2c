"""Law 6 at a fill: what leaves too little is closed at that instant, not at the next quote."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from backtester.engine import Engine
from tests.backtester.test_money_runs import rows
from tests.backtester.worlds import since
from tests.laws.at_a_fill import AFTERWARDS, CASES, FillingMachine, play_case
from tests.laws.test_law6_money import SETTINGS
from tests.mutants.planting import without_express

FEWER = settings(SETTINGS, max_examples=40, stateful_step_count=20)


@pytest.mark.slow
def test_a_fill_that_leaves_too_little_is_noticed_at_once() -> None:
    FillingMachine.tally.clear()
    run_state_machine_as_test(FillingMachine, settings=FEWER)
    assert FillingMachine.tally["closed at a fill"] >= 5, FillingMachine.tally


def assert_closed_at_the_fill(folder: Path, name: str, afterwards: str) -> None:
    """Assert that a run's position was closed at the instant that opened it."""
    case = CASES[name]
    result = play_case(folder, case, afterwards)
    assert rows(result, "fills", "order", "venue_time", "side", "quantity", "price") == [
        (1, case.filled, 1, 9.0, case.prices[0]),
        (-1, case.filled, -1, 9.0, case.prices[1]),
    ]
    assert result.summary["liquidations"] == 1
    assert result.summary["profit"] == pytest.approx(case.profit, abs=1e-9)
    assert result.summary["insurance"] == pytest.approx(case.insurance, abs=1e-9)


@pytest.mark.parametrize("afterwards", AFTERWARDS)
@pytest.mark.parametrize("name", CASES)
def test_the_venue_in_python_closes_at_the_fill(
    name: str, afterwards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_express(monkeypatch)
    assert_closed_at_the_fill(tmp_path, name, afterwards)


@pytest.mark.parametrize("afterwards", AFTERWARDS)
@pytest.mark.parametrize("name", CASES)
def test_the_express_lane_is_left_at_the_fill(
    name: str, afterwards: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[tuple[float, bool]] = []
    real = Engine.hand_over

    def hand_over(self: Engine, *, in_danger: bool = False) -> None:
        if self.express is not None:
            left.append((since(self.clock.now), in_danger))
        real(self, in_danger=in_danger)

    monkeypatch.setattr(Engine, "hand_over", hand_over)
    assert_closed_at_the_fill(tmp_path, name, afterwards)
    assert left == [(CASES[name].filled, True)]
