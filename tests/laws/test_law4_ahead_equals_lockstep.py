"""Law 4, ahead equals lockstep, and both equal the reference simulator."""

from __future__ import annotations

import math
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurizer.catalog import Catalog
from tests.laws.examples import Tally, law
from tests.laws.harness import Played, catalog_of, play, same_number
from tests.laws.markets import START, STEP, ZERO, cases, serving
from tests.laws.player import Call
from tests.laws.reference_view import engine_entries, reference_entries, reference_of
from tests.reference.case import Case, Model, Terms
from tests.reference.simulator import ReferenceTrace, simulate
from tests.reference.strategies import Plan

pytestmark = pytest.mark.slow


def assert_ahead_equals_lockstep(
    case: Case, catalog: Catalog, window_rows: int = 7, *, eager: bool = True
) -> Played:
    """Assert that both modes hand over the same and write the same bytes."""
    ahead = play(case, catalog, window_rows=window_rows, watch=True, eager=eager)
    lockstep = play(
        case, catalog, mode="lockstep", window_rows=window_rows, watch=True, eager=eager
    )
    for one, two in zip_longest(ahead.calls, lockstep.calls):
        assert (one and one.told) == (two and two.told)
    assert ahead.trace == lockstep.trace
    assert ahead.digest == lockstep.digest
    return ahead


def assert_equals_the_reference(played: Played) -> ReferenceTrace:
    """Assert that features agree to 1e-9 and their stamps, and all behind them, exactly."""
    case = played.case
    naive = simulate(case.scenario, case.records, predict=case.model).rows
    for row, theirs in zip_longest(played.rows, naive):
        assert row is not None, f"a row is missing: {theirs}"
        assert theirs is not None, f"a row that nothing emits: {row}"
        stamps = (row.emitted_at, row.visible_at, row.event_time, row.tie, row.instrument)
        assert stamps == (
            theirs.emitted_at,
            theirs.visible_at,
            theirs.event_time,
            theirs.tie,
            theirs.instrument,
        )
        assert all(same_number(a, b) for a, b in zip(row.values, theirs.values, strict=True))
    trace = reference_of(played)
    mine, expected = engine_entries(played), reference_entries(played, trace)
    for kind, rows in expected.items():
        assert mine[kind] == rows, kind.name
    for call, other in zip_longest(played.calls, trace.calls):
        assert call is not None, f"never called: {other}"
        assert other is not None, f"called though nothing happened: {call}"
        assert comparable(call) == comparable(Call(other.event, other.now, other.fields))
    return trace


def comparable(call: Call) -> tuple[Any, ...]:
    """Return a call as text, less the reason of a report, which only the reference spells out."""
    fields = {name: value for name, value in call.fields.items() if name != "reason"}
    if call.event == "features":
        fields["values"] = ["nan" if math.isnan(v) else v for v in fields["values"]]
    return call.event, call.now, sorted(fields.items(), key=lambda item: item[0])


WINDOWS = st.sampled_from([2, 7, 7, 50])


def test_both_modes_and_the_reference_agree() -> None:
    tally = Tally()

    @law(50)
    @given(cases(), WINDOWS)
    def check(case: Case, window_rows: int) -> None:
        with catalog_of(case) as catalog:
            played = assert_ahead_equals_lockstep(case, catalog, window_rows)
            assert_ahead_equals_lockstep(case, catalog, window_rows, eager=False)
        assert_equals_the_reference(played)
        tally.note(filled=bool(played.fills))

    check()
    tally.assert_half_are_telling()


def test_they_agree_whatever_the_deployments_do() -> None:
    tally = Tally()

    @law(50)
    @given(cases(loops=serving()), WINDOWS)
    def check(case: Case, window_rows: int) -> None:
        with catalog_of(case) as catalog:
            played = assert_ahead_equals_lockstep(case, catalog, window_rows)
        assert_equals_the_reference(played)
        tally.note(filled=bool(played.fills))

    check()
    tally.assert_half_are_telling()


def test_they_agree_when_everything_happens_at_once() -> None:
    tally = Tally()

    @law(50)
    @given(cases(latencies=ZERO), WINDOWS)
    def check(case: Case, window_rows: int) -> None:
        with catalog_of(case) as catalog:
            played = assert_ahead_equals_lockstep(case, catalog, window_rows)
            assert_ahead_equals_lockstep(case, catalog, window_rows, eager=False)
        assert_equals_the_reference(played)
        tally.note(filled=bool(played.fills))

    check()
    tally.assert_half_are_telling()


def answers_that_queue_within_one_instant() -> Case:
    """Three rows at one instant and one slot: the loop's turn asks about the second and third."""
    quotes: list[dict[str, Any]] = [
        {
            "event_time": START + (STEP if place else 0),
            "receipt_time": START + (STEP if place else 0),
            "sequence": place,
            "bid_price": 100.0,
            "bid_quantity": 2.0 + place,
            "ask_price": 100.5,
            "ask_quantity": 1.0,
        }
        for place in range(4)
    ]
    trade = {"event_time": START, "receipt_time": START, "sequence": 1, "price": 100.0}
    trade |= {"quantity": 0.5, "aggressor": 1}
    name = "SIM.ALPHA"
    records = {(name, "quotes"): quotes, (name, "trades"): [trade]}
    features = [("price.MidPrice", "mid"), ("book.Imbalance", "imbalance")]
    mapping = {
        "name": "law",
        "data": {"instruments": [name], "start": START, "until": START + 4 * STEP},
        "featurizer": {
            "sampling": "raw",
            "feature_configs": [{"feature_definition": d, "name": n} for d, n in features],
        },
        "inference_config": {
            "model_uri": "models:/law/1",
            "features": ["imbalance"],
            "polling": {"kind": "on_feature"},
            "on_new": "queue",
        },
        "portfolio": {"quote": "USD", "balances": {"USD": 100000}},
    }
    plan = Plan(threshold=0.0, most=20)
    return Case((Terms(name, "linear"),), records, mapping, Model((1.0,)), plan)


def test_a_report_sees_no_answer_that_is_still_to_come_in_its_instant() -> None:
    case = answers_that_queue_within_one_instant()
    with catalog_of(case) as catalog:
        assert_ahead_equals_lockstep(case, catalog)
        assert_ahead_equals_lockstep(case, catalog, eager=False)
