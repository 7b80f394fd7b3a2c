"""The package's venue and the naive one report the same of generated markets and order flows.

Every order type, queue model, rule for own orders in the way, and window size; cancels and changes
race fills, and several own orders wait at one price.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.examples import Tally, law
from tests.laws.flow_play import END, catalog_of, play
from tests.laws.flows import Flow, flows, plain_flows, queue_flows
from tests.reference.exchange import Exchange
from tests.reference.exchange_orders import Event
from tests.reference.exchange_run import run

pytestmark = pytest.mark.slow

WINDOWS = (1, 2, 3, 5, 17, 8192)


def expected(flow: Flow) -> list[Event]:
    """Return what the naive venue reports."""
    quotes_only = flow.book == "quotes"
    exchange = Exchange(flow.names, flow.queue, flow.self_trade, quotes_only=quotes_only)
    return run(exchange, flow.records, flow.script, flow.latencies, END)


def assert_venue_is_the_naive_one(flow: Flow, *window_rows: int) -> bool:
    """Assert that both report the same; return whether a resting order filled."""
    wanted = expected(flow)
    with catalog_of(flow) as catalog:
        for rows in window_rows:
            got = play(flow, catalog, rows)
            same = next(
                (n for n, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b),
                min(len(got), len(wanted)),
            )
            assert got == wanted, _difference(got, wanted, same, rows)
    return any(event.maker for event in wanted)


def _difference(got: list[Event], wanted: list[Event], place: int, rows: int) -> str:
    def shown(events: list[Event]) -> str:
        return "\n".join(f"  {event}" for event in events[max(place - 3, 0) : place + 4])

    return f"windows of {rows}: event {place}\ngot\n{shown(got)}\nwanted\n{shown(wanted)}"


windows = st.lists(st.sampled_from(WINDOWS), min_size=2, max_size=2, unique=True)


@pytest.mark.parametrize(
    ("drawn", "book"),
    [
        pytest.param(drawn, book, id=f"{name}-{book}")
        for name, drawn in (("any", flows), ("queues", queue_flows), ("plain", plain_flows))
        for book in ("quotes", "depth")
        if drawn is not plain_flows or book == "quotes"
    ],
)
def test_the_venue_reports_what_the_naive_venue_reports(drawn: Any, book: str) -> None:
    tally = Tally()

    @law(100)
    @given(flow=drawn(book=book), rows=windows)
    def compare(flow: Flow, rows: list[int]) -> None:
        tally.note(filled=assert_venue_is_the_naive_one(flow, *rows))

    compare()
    tally.assert_half_are_telling()


def check(data: Any) -> None:
    """One example, for the mutants."""
    flow = data.draw(flows() | queue_flows())
    assert_venue_is_the_naive_one(flow, *data.draw(windows))


def check_express(data: Any) -> None:
    """One example, for the mutants of the express lane."""
    flow = data.draw(plain_flows(book="quotes") | queue_flows(book="quotes") | flows(book="quotes"))
    assert_venue_is_the_naive_one(flow, *data.draw(windows))
