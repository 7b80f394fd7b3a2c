"""Every law fails on defects planted for it, within its examples: a law that cannot fail is none.

Each test plants one defect and runs a law's own assertion over its own examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import test_law1_known_at as law1
from tests.laws import test_law2_future_blindness as law2
from tests.laws import test_law3_chunking as law3
from tests.laws import test_law4_ahead_equals_lockstep as law4
from tests.laws import test_law5_determinism as law5
from tests.laws import test_law6_conservation as law6
from tests.laws import test_law7_order_of_time as law7
from tests.laws import test_law8_no_host_time as law8
from tests.laws import test_law9_zero_latency as law9
from tests.laws.examples import hunt
from tests.laws.harness import catalog_of
from tests.laws.markets import STEP, ZERO, cases
from tests.mutants import books_and_host, chunk_state, looking_ahead, order_of_time

pytestmark = pytest.mark.slow

Plant = Callable[[pytest.MonkeyPatch], None]
EXAMPLES = 60
anything = cases() | cases() | cases(latencies=ZERO)


def on_catalog(check: Callable[..., Any], case: Any, *args: Any) -> None:
    with catalog_of(case) as catalog:
        check(case, catalog, *args)


def known_at(data: st.DataObject) -> None:
    on_catalog(law1.assert_known_at, data.draw(anything))


def blind_to_events(data: st.DataObject) -> None:
    case, cut, other, _ = data.draw(law2.perturbed("event_time"))
    law2.assert_blind_to_what_has_not_happened(*law2.with_two_futures(case, other), cut)


def blind_to_receipts(data: st.DataObject) -> None:
    case, cut, other, _ = data.draw(law2.perturbed("receipt_time"))
    law2.assert_blind_to_what_has_not_reached_us(*law2.with_two_futures(case, other), cut)


def chunks_of_the_graph(data: st.DataObject) -> None:
    case = data.draw(law3.small)
    for cut in range(len(law3.records_in_order(case)) + 1):
        law3.assert_graph_does_not_see_a_cut(case, cut)


def chunks_of_the_loop(data: st.DataObject) -> None:
    case = data.draw(law3.small)
    for cut in range(0, len(law3.visible_rows(case).visible_at) + 1, 3):
        law3.assert_loop_does_not_see_a_cut(case, cut, 0)


def nothing_due_is_held_back(data: st.DataObject) -> None:
    case = data.draw(cases())
    law3.assert_graph_gives_what_is_due(case, case.scenario.start + 40 * STEP)


def ahead_equals_lockstep(data: st.DataObject) -> None:
    on_catalog(law4.assert_ahead_equals_lockstep, data.draw(anything))


def equals_the_reference(data: st.DataObject) -> None:
    case = data.draw(anything)
    with catalog_of(case) as catalog:
        law4.assert_equals_the_reference(law4.play(case, catalog))


def same_trace_in_any_windows(data: st.DataObject) -> None:
    on_catalog(law5.assert_same_trace_however_it_is_run, data.draw(cases()), 5)


def digest_tells_one_bit(data: st.DataObject) -> None:
    on_catalog(law5.assert_digest_tells_one_bit, data.draw(cases()))


def conservation(data: st.DataObject) -> None:
    on_catalog(law6.assert_conserved, data.draw(cases()))


def in_order_of_time(data: st.DataObject) -> None:
    on_catalog(law7.assert_time_is_in_order, data.draw(anything))


def no_host_time(data: st.DataObject) -> None:
    on_catalog(law8.assert_no_host_time, data.draw(cases()))


def zero_latency(data: st.DataObject) -> None:
    on_catalog(law9.assert_equals_a_synchronous_backtest, data.draw(law9.instant_cases))


MUTANTS: list[tuple[Callable[[st.DataObject], None], Plant]] = [
    (known_at, looking_ahead.venue_one_quote_ahead),
    (known_at, looking_ahead.records_before_their_receipt),
    (known_at, looking_ahead.features_one_step_ahead),
    (known_at, looking_ahead.rows_without_compute_latency),
    (known_at, looking_ahead.answers_one_leg_early),
    (known_at, looking_ahead.latest_one_rank_early),
    (known_at, looking_ahead.quotes_of_the_whole_window),
    (known_at, looking_ahead.latest_goes_back),
    (known_at, books_and_host.displayed_size_is_endless),
    (blind_to_events, looking_ahead.venue_one_quote_ahead),
    (blind_to_events, chunk_state.mid_less_the_mean_of_its_chunk),
    (blind_to_receipts, looking_ahead.records_before_their_receipt),
    (blind_to_receipts, looking_ahead.features_one_step_ahead),
    (blind_to_receipts, looking_ahead.quotes_of_the_whole_window),
    (chunks_of_the_graph, chunk_state.mid_less_the_mean_of_its_chunk),
    (chunks_of_the_graph, chunk_state.ties_counted_from_each_chunk),
    (nothing_due_is_held_back, chunk_state.rows_held_back),
    (chunks_of_the_loop, chunk_state.answers_overtake_between_pushes),
    (chunks_of_the_loop, chunk_state.round_robin_restarts),
    (ahead_equals_lockstep, order_of_time.polls_after_timers),
    (ahead_equals_lockstep, looking_ahead.latest_one_rank_early),
    (equals_the_reference, looking_ahead.answers_one_leg_early),
    (equals_the_reference, looking_ahead.latest_goes_back),
    (equals_the_reference, order_of_time.orders_overtake),
    (same_trace_in_any_windows, chunk_state.mid_less_the_mean_of_its_chunk),
    (same_trace_in_any_windows, chunk_state.latency_depends_on_the_window),
    (same_trace_in_any_windows, chunk_state.round_robin_restarts),
    (digest_tells_one_bit, books_and_host.digest_of_rounded_values),
    (conservation, books_and_host.fee_missing_from_our_books),
    (conservation, books_and_host.fee_rounded_down),
    (conservation, books_and_host.request_counted_twice),
    (in_order_of_time, order_of_time.orders_overtake),
    (in_order_of_time, chunk_state.answers_overtake_between_pushes),
    (in_order_of_time, order_of_time.ties_by_another_order),
    (no_host_time, books_and_host.helper_reads_the_host_clock),
    (zero_latency, order_of_time.messages_wait_for_the_next_event),
]


@pytest.mark.parametrize("law", dict.fromkeys(law for law, _ in MUTANTS))
def test_the_law_holds_without_a_defect(law: Callable[[st.DataObject], None]) -> None:
    @hunt(6)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        law(data)

    check()


@pytest.mark.parametrize(
    ("law", "plant"), MUTANTS, ids=[f"{law.__name__}-{plant.__name__}" for law, plant in MUTANTS]
)
def test_the_law_fails_on_the_defect(
    law: Callable[[st.DataObject], None], plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    @hunt(EXAMPLES)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        law(data)

    with pytest.raises(AssertionError):
        check()
