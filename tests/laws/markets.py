"""Small markets, scenarios and strategies for the laws, full of ties.

Markets, features and deployments are those that `backtester.causality.strategies` ships; what the
reference simulator must understand as well, its model and its script, is drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from backtester.causality.strategies import (
    LATENCIES,
    START,
    STEP,
    ZERO,
    blocks,
    inference_loops,
    quote_features,
    quotes_and_trades,
)
from tests.reference.case import Case, Model, Records, Terms
from tests.reference.scenario import Row
from tests.reference.strategies import Plan

__all__ = ["START", "STEP", "ZERO", "cases", "cuts", "other_futures", "plans", "serving"]

INSTRUMENTS = ("SIM.ALPHA", "SIM.BETA")

# -- scenarios -------------------------------------------------------------------------------------


def inference_configs(
    latencies: st.SearchStrategy[Any] = LATENCIES,
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a loop of any polling, and a deployment of one to three replicas."""
    named = {"model_uri": "models:/law/1", "features": ["imbalance"]}
    return inference_loops(latencies).map(lambda loop: {**named, **loop})


def serving() -> st.SearchStrategy[dict[str, Any]]:
    """Draw a loop and deployments with any policies, as the tests of the stack do."""
    # priorities may name only instruments of the run, and a case has one or two
    return blocks(instruments=INSTRUMENTS[:1]).map(_reading_anything)


def _reading_anything(block: dict[str, Any]) -> dict[str, Any]:
    if isinstance(block.get("cache", {}).get("step"), dict):
        block = {**block, "cache": {**block["cache"], "step": 1.0}}  # of whatever the model reads
    return {"model_uri": "models:/law/1", **block}


@st.composite
def models(draw: st.DrawFn, names: Sequence[str]) -> tuple[list[str], Model]:
    """Draw the columns that a model reads, the imbalance always, and its weights."""
    others = [name for name in names if name != "imbalance"]
    chosen = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
    columns = ["imbalance", *(name for name in names if name in chosen)]
    return columns, Model((1.0, *(draw(st.sampled_from([-0.5, 0.001, 2.0])) for _ in columns[1:])))


# -- strategies ------------------------------------------------------------------------------------

EAGER = {"quote": 1, "trade": 1, "features": 3}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a strategy that trades on predictions, records and timers, and answers reports."""
    events = draw(st.sets(st.sampled_from(sorted(EAGER)), max_size=2))
    timers = draw(st.lists(st.integers(0, 40), max_size=3))
    threshold = draw(st.sampled_from([0.0, 0.0, 0.25, None]))
    if not events and threshold is None:
        events = {"quote"}
    return Plan(
        lots=draw(st.sampled_from([1, 2, 5, 12])),  # a quote shows 1 to 8 lots
        every={event: EAGER[event] for event in sorted(events)},
        threshold=threshold,
        most=draw(st.sampled_from([2, 5, 20])),
        timers=tuple(after * STEP for after in timers),
        again=draw(st.sampled_from([None, 0, STEP, 4 * STEP])),
        limit_offset=draw(st.sampled_from([None, None, 0, 1, -1])),
        chase=draw(st.integers(0, 3)),
        unwind=draw(st.integers(0, 3)),
    )


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    latencies: st.SearchStrategy[Any] = LATENCIES,
    loops: st.SearchStrategy[dict[str, Any]] | None = None,
    most_instruments: int = 2,
    quotes: int = 30,
    trades: int = 15,
    steps: int = 60,
) -> Case:
    """Draw a whole example; `latencies=ZERO` makes it one without any latency but the feed's.

    Args:
        draw: Hypothesis.
        latencies: Of the loop, of the way to the deployment and back, of orders and reports.
        loops: The loop and its deployment; by default plain ones.
        most_instruments: One or two.
        quotes: Most quotes an instrument.
        trades: Most trades an instrument.
        steps: Length of the run in steps of 5 ms; records may lie after it.
    """
    count = draw(st.integers(1, most_instruments))
    contracts = st.sampled_from(["linear", "linear", "spot"])
    terms = tuple(Terms(name, draw(contracts)) for name in INSTRUMENTS[:count])
    ids = [term.id for term in terms]
    records = draw(quotes_and_trades(ids, quotes=quotes, trades=trades))
    featurizer = draw(quote_features(ids))
    inference = draw(inference_configs(latencies) if loops is None else loops)
    inference["features"], model = draw(
        models([config["name"] for config in featurizer["feature_configs"]])
    )
    if latencies is ZERO:
        featurizer["compute_latency"] = 0
    mapping = {
        "name": "law",
        "seed": draw(st.integers(0, 3)),
        "data": {"instruments": ids, "start": START, "until": START + steps * STEP},
        "featurizer": featurizer,
        "inference_config": inference,
        "execution": {"entry_latency": draw(latencies), "response_latency": draw(latencies)},
        # The smaller balance runs into refusals for want of funds and margin.
        "portfolio": {
            "quote": "USD",
            "balances": {"USD": draw(st.sampled_from([100000, 100000, 400]))},
        },
    }
    return Case(terms, records, mapping, model, draw(plans()))


# -- another future --------------------------------------------------------------------------------


@st.composite
def cuts(draw: st.DrawFn, case: Case, filled_at: Sequence[int]) -> int:
    """Draw an instant to cut at: not before the first fill, and with records left to change.

    Args:
        draw: Hypothesis.
        case: The example.
        filled_at: Instants at which the venue filled orders in it; may be empty.
    """
    begin = min(filled_at, default=START)
    happened = [row["event_time"] for rows in case.records.values() for row in rows]
    end = max(begin, min(case.until, max(happened)) - STEP)
    anywhere = st.integers(0, (end - begin) // STEP).map(lambda steps: begin + steps * STEP)
    # just after a match is where a venue that looks ahead gives itself away
    matches = sorted({instant for instant in filled_at if instant <= end})
    return draw(st.sampled_from(matches) | anywhere if matches else anywhere)


@st.composite
def other_futures(draw: st.DrawFn, records: Records, cut: int, stamp: str) -> Records:
    """Draw a market that differs from another only in what comes after an instant.

    Args:
        draw: Hypothesis.
        records: The market.
        cut: Whatever differs lies after it, before and after the change.
        stamp: What "after" means: `event_time` (it happens later) or `receipt_time` (it becomes
            visible to us later).
    """
    changed: Records = {}
    for stream, rows in records.items():
        kept = [row for row in rows if row[stamp] <= cut]
        future = [dict(row) for row in rows if row[stamp] > cut]
        for place, row in enumerate(future):
            what = draw(st.sampled_from(["change", "delay", "repeat", "delete", "keep"]))
            if place == 0 and what in ("delete", "keep"):
                what = "change"  # a run never lacks records, and what comes next is never the same
            if what == "change":
                _change(row, draw(st.integers(-3, 3)))
            elif what == "delay":
                row["receipt_time"] += draw(st.integers(1, 6)) * STEP
            elif what == "repeat":
                again = dict(row, sequence=row["sequence"] + 1)
                _change(again, draw(st.integers(-3, 3)))
                kept.append(again)
            if what != "delete":
                kept.append(row)
        changed[stream] = sorted(kept, key=lambda row: (row["event_time"], row["sequence"]))
    return changed


def _change(row: Row, ticks: int) -> None:
    for column in ("bid_price", "ask_price", "price"):
        if column in row:
            row[column] += ticks * 0.5
    for column in ("bid_quantity", "ask_quantity", "quantity"):
        if column in row:
            row[column] += 0.5
