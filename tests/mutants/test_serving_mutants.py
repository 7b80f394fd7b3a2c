"""The comparison with the reference fails for a stack that follows a rule slightly differently."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.rows import Rows, no_rows
from tests.inference.serving_cases import COLUMNS, END, MS, Block, row_streams
from tests.inference.serving_oracle import Naive, assert_equal_runs, models_of, stack_of
from tests.laws.examples import hunt
from tests.mutants.serving_rules import LOST_STATES, RULES

pytestmark = pytest.mark.slow

USUAL = {"polling": "on_feature", "max_in_flight": 20, "service_time": "8ms"}
NOTHING = no_rows(len(COLUMNS))


def assert_equals_the_reference(block: Block, rows: Rows, cuts: list[int]) -> None:
    models = models_of(block)
    naive = Naive(block, models, rows)
    naive.agenda.run(END)
    loop = stack_of(block, models)
    outputs = [loop.push(rows, 0)]
    outputs += [loop.push(NOTHING, step * MS) for step in sorted(cuts)]
    outputs.append(loop.push(NOTHING, END))
    assert_equal_runs(outputs, loop, naive, END)


@pytest.mark.parametrize("name", [*RULES, *LOST_STATES])
def test_the_comparison_holds_for_the_stack_and_fails_for_the_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = (RULES | LOST_STATES)[name]
    cut_at = st.just([]) if name in RULES else st.lists(st.integers(0, 40), min_size=1, max_size=8)
    block: dict[str, Any] = {**USUAL, **rule.block}

    def check(rows: Rows, cuts: list[int]) -> None:
        assert_equals_the_reference(block, rows, cuts)

    hunt(20)(given(row_streams(), cut_at)(check))()
    rule.plant(monkeypatch)
    with pytest.raises(AssertionError):
        hunt(80)(given(row_streams(), cut_at)(check))()
