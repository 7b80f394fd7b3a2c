"""Errors of the featurizer.

SimulationError                 (clock.errors)
├── InputError                  (clock.errors)
│   ├── MarketDataError         records that break a rule of the market data
│   ├── CatalogError            a catalog that is missing, incomplete or ambiguous
│   └── FeatureError            a feature that is declared wrongly
│       └── UnknownFeatureError     (LookupError)
├── LookaheadError              something read a value before it was visible
└── BrokenPromiseError          (AssertionError) a feature failed `featurizer.checks`
"""

from __future__ import annotations

from clock.errors import InputError, SimulationError

__all__ = [
    "BrokenPromiseError",
    "CatalogError",
    "FeatureError",
    "LookaheadError",
    "MarketDataError",
    "UnknownFeatureError",
]


class MarketDataError(InputError):
    """Market records break a rule: the message names file, row, rule, value and flag."""


class CatalogError(InputError):
    """A catalog is missing, incomplete, changed while it was read, or was asked for too much."""


class FeatureError(InputError):
    """A feature is declared wrongly."""


class UnknownFeatureError(FeatureError, LookupError):
    """No feature, or no feature definition, has this name."""


class LookaheadError(SimulationError):
    """Something read a value before it was visible."""


class BrokenPromiseError(SimulationError, AssertionError):
    """A feature definition broke one of the promises of `featurizer.checks`."""
