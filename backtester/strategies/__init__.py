"""Strategies that come with Lightcone, each small enough to read in a minute."""

from __future__ import annotations

from backtester.strategies.buy_and_hold import BuyAndHold
from backtester.strategies.grid import Grid
from backtester.strategies.imbalance import ImbalanceTaker
from backtester.strategies.market_making import MarketMaker
from backtester.strategies.mean_reversion import MeanReversion
from backtester.strategies.ml import MLStrategy
from backtester.strategies.pairs import Pairs
from backtester.strategies.twap import Twap

__all__ = [
    "BuyAndHold",
    "Grid",
    "ImbalanceTaker",
    "MLStrategy",
    "MarketMaker",
    "MeanReversion",
    "Pairs",
    "Twap",
]
