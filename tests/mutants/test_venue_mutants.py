"""The comparison with the naive venue fails on every defect planted for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.errors import OrderStateError
from clock.errors import CycleError
from tests.laws.examples import hunt
from tests.laws.test_venue_against_the_naive_one import check, check_express
from tests.mutants.express_rules import PLANTS as EXPRESS_PLANTS
from tests.mutants.planting import without_express
from tests.mutants.venue_rules import PLANTS

pytestmark = pytest.mark.slow

EXAMPLES = 150


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_comparison_fails_on(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    without_express(monkeypatch)
    plant(monkeypatch)
    assert_fails(check)


@pytest.mark.parametrize("plant", EXPRESS_PLANTS, ids=lambda plant: plant.__name__)
def test_the_comparison_of_the_express_lane_fails_on(
    plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert_fails(check_express)


def assert_fails(check: Any) -> None:
    """Assert that an example tells the venue from the naive one."""

    @hunt(EXAMPLES)
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        check(data)

    # the product's own assertions and its state machine may be the first to see it
    with pytest.raises((AssertionError, OrderStateError, CycleError)):
        compare()
