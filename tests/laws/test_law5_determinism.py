"""Law 5, determinism: windows, mode and place change nothing; one bit of a prediction does."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtester.trace import EntryKind
from featurizer.catalog import Catalog
from tests.laws.examples import Tally, law
from tests.laws.harness import Played, catalog_of, play
from tests.laws.markets import cases, serving
from tests.reference.case import Case

pytestmark = pytest.mark.slow

WINDOWS = (1, 5, 17, 8192)


def assert_same_trace_however_it_is_run(case: Case, catalog: Catalog, rows: int) -> Played:
    """Assert that window size, mode and the catalog's folder leave no mark on the trace."""
    usual = play(case, catalog, window_rows=8192)
    for other in (play(case, catalog, window_rows=rows), play(case, catalog, mode="lockstep")):
        assert other.trace == usual.trace
        assert other.digest == usual.digest
    with catalog_of(case) as elsewhere:
        assert play(case, elsewhere, window_rows=rows).digest == usual.digest
    return usual


def assert_digest_tells_one_bit(case: Case, catalog: Catalog) -> bool:
    """Assert that two scenarios differing in one prediction's last bit differ in digest.

    Returns:
        Whether there was a prediction to change.
    """
    usual = play(case, catalog)
    values = [e.value for e in usual.entries[EntryKind.OUTCOME] if e.outcome == 0]
    if not values:
        return False
    chosen = values[len(values) // 2]

    def almost(row: list[float]) -> float:
        value = case.model(row)
        return math.nextafter(value, math.inf) if value == chosen else value

    assert play(case, catalog, model=almost).digest != usual.digest
    return True


def test_the_trace_depends_on_nothing_but_the_scenario() -> None:
    tally = Tally()

    @law(40)
    @given(cases(), st.sampled_from(WINDOWS))
    def check(case: Case, rows: int) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_same_trace_however_it_is_run(case, catalog, rows).fills))

    check()
    tally.assert_half_are_telling()


def test_deployments_of_any_kind_depend_on_nothing_else_either() -> None:
    tally = Tally()

    @law(30)
    @given(cases(loops=serving()), st.sampled_from(WINDOWS))
    def check(case: Case, rows: int) -> None:
        with catalog_of(case) as catalog:
            tally.note(filled=bool(assert_same_trace_however_it_is_run(case, catalog, rows).fills))

    check()
    tally.assert_half_are_telling()


def test_one_bit_of_one_prediction_changes_the_digest() -> None:
    told: list[bool] = []

    @law(30)
    @given(cases())
    def check(case: Case) -> None:
        with catalog_of(case) as catalog:
            told.append(assert_digest_tells_one_bit(case, catalog))

    check()
    assert 2 * sum(told) >= len(told)
