"""Strategies that come with Lightcone, each small enough to read in a minute."""

from __future__ import annotations

from backtester.strategies.buy_and_hold import BuyAndHold
from backtester.strategies.ml import MLStrategy

__all__ = ["BuyAndHold", "MLStrategy"]
