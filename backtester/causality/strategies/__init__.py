"""Hypothesis strategies for markets, features, serving, venues, strategies and whole scenarios.

Everything that is drawn is plain data, as YAML and catalogs have it. Instants lie on a grid of
5 ms, so that records, rows, answers, orders and reports keep meeting at one instant.

Example:
    >>> from hypothesis import given, settings
    >>> from backtester.causality import assert_conserves, strategies
    >>> @given(strategies.scenarios(steps=20))
    ... @settings(max_examples=1, database=None)
    ... def test_nothing_is_lost(example):
    ...     with example.written() as scenario:
    ...         assert_conserves(scenario)
    >>> test_nothing_is_lost()
"""

from __future__ import annotations

from backtester.causality.strategies.deployments import deployments, faults
from backtester.causality.strategies.example import Example
from backtester.causality.strategies.features import Newest, feature_graphs, quote_features
from backtester.causality.strategies.markets import Market, markets, quotes_and_trades
from backtester.causality.strategies.models import LinearPredictor, linear_models
from backtester.causality.strategies.plans import plans
from backtester.causality.strategies.polling import LATENCIES, ZERO, inference_loops
from backtester.causality.strategies.records import bars, depth, fundings, signals
from backtester.causality.strategies.scenarios import scenarios
from backtester.causality.strategies.serving import blocks, pressed
from backtester.causality.strategies.stamps import START, STEP
from backtester.causality.strategies.trader import DrawnTrader, EagerTrader
from backtester.causality.strategies.venues import contracts, executions, portfolios

__all__ = [
    "LATENCIES",
    "START",
    "STEP",
    "ZERO",
    "DrawnTrader",
    "EagerTrader",
    "Example",
    "LinearPredictor",
    "Market",
    "Newest",
    "bars",
    "blocks",
    "contracts",
    "deployments",
    "depth",
    "executions",
    "faults",
    "feature_graphs",
    "fundings",
    "inference_loops",
    "linear_models",
    "markets",
    "plans",
    "portfolios",
    "pressed",
    "quote_features",
    "quotes_and_trades",
    "scenarios",
    "signals",
]
