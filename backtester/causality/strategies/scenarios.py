"""Drawn whole scenarios: a market, features, inference loops, a venue and a strategy."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from backtester.causality.strategies.deployments import Block
from backtester.causality.strategies.example import Example, possible
from backtester.causality.strategies.features import feature_graphs
from backtester.causality.strategies.markets import Market, markets
from backtester.causality.strategies.models import linear_models
from backtester.causality.strategies.plans import plans
from backtester.causality.strategies.polling import LATENCIES, ZERO, inference_loops
from backtester.causality.strategies.serving import blocks, pressed
from backtester.causality.strategies.stamps import START, STEP
from backtester.causality.strategies.venues import executions, portfolios
from clock.units import format_instant
from featurizer.config import row_names

__all__ = ["scenarios"]

PREDICTOR = "backtester.causality.strategies.LinearPredictor"
TRADERS = ("DrawnTrader", "EagerTrader", "EagerTrader")


@st.composite
def scenarios(
    draw: st.DrawFn,
    *,
    market: st.SearchStrategy[Market] | None = None,
    most_loops: int = 2,
    steps: int = 100,
) -> Example:
    """Draw a whole scenario, with its records and its models.

    Args:
        draw: Hypothesis.
        market: Markets to draw from; by default any.
        most_loops: Most inference loops.
        steps: Length of the run in steps of 5 ms.
    """
    given = draw(markets(steps=steps) if market is None else market)
    kinds, names = given.kinds, given.names
    latencies = draw(st.sampled_from([LATENCIES, LATENCIES, LATENCIES, ZERO]))
    featurizer = draw(feature_graphs(kinds)) if draw(st.integers(0, 5)) else None
    loops, models = {}, {}
    counts = st.sampled_from([min(1, most_loops), *range(most_loops + 1), most_loops])
    if featurizer is not None:
        columns = tuple(one["name"] for one in featurizer["feature_configs"])
        for name in ("main", "second")[: draw(counts)]:
            loops[name], models[f"{name}.json"] = draw(
                _loops(name, columns, featurizer["rows"], names, latencies)
            )
    widths = {name: len(models[f"{name}.json"]["features"]) for name in loops}
    plan = draw(plans(kinds, widths, steps=steps))
    mapping: Block = {
        "name": "drawn",
        "seed": draw(st.integers(0, 3)),
        "data": {
            "catalog": "catalog",
            "instruments": names,
            "start": format_instant(START),
            "until": format_instant(START + steps * STEP),
        },
        **({} if featurizer is None else {"featurizer": featurizer}),
        **({"inference_config": loops} if loops else {}),
        "strategy": {
            "class": f"backtester.causality.strategies.{draw(st.sampled_from(TRADERS))}",
            "params": {"plan": plan},
        },
        "execution": draw(executions(kinds, latencies=latencies, decides=not plan["asks"])),
        "portfolio": draw(portfolios(given.terms)),
    }
    example = Example(given, mapping, models)
    assume(_has_records(given, steps) and possible(example))
    return example


@st.composite
def _loops(
    draw: st.DrawFn,
    name: str,
    columns: tuple[str, ...],
    rows: int,
    instruments: list[str],
    latencies: st.SearchStrategy[Any],
) -> tuple[Block, dict[str, Any]]:
    """Draw a loop, and the content of its model's file."""
    reads = st.lists(st.sampled_from(columns), min_size=1, max_size=3, unique=True)
    chosen = tuple(sorted(draw(reads), key=columns.index))
    nan = draw(st.integers(0, 7)) == 0
    policies = blocks(features=chosen, instruments=instruments, nan=nan)
    kind = draw(st.sampled_from(["plain", "policies", "policies", "pressed"]))
    loop = draw(
        inference_loops(latencies)
        if kind == "plain"
        else policies
        if kind == "policies"
        else pressed(features=chosen, instruments=instruments)
    )
    named = {"model_uri": f"{name}.json", "predictor_class_name": PREDICTOR}
    loop = {**loop, **named, "features": list(chosen)}
    if "variants" in loop:
        loop["variants"] = {key: {**one, **named} for key, one in loop["variants"].items()}
    return loop, draw(linear_models(row_names(chosen, rows)))


def _has_records(market: Market, steps: int) -> bool:
    """Whether something happens at the venue of each instrument within the run."""
    end = START + steps * STEP
    books: Set[str] = {"quotes", "depth", "bars"}
    return all(
        any(START <= row["event_time"] < end for row in rows)
        for (_, kind), rows in market.streams.items()
        if kind in books
    )
