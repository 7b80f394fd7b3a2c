"""What each definition should give, from its formula, by plain loops over lists of records.

Nothing here is shared with the library. A `World` holds, for two instruments A and B, tuples in the
order of receipt: quotes (t, bid, bid quantity, ask, ask quantity), trades (t, price, quantity,
aggressor), and for A depth (t, sequence, side, price, quantity, is_snapshot).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from featurizer.definitions.rolling import Statistic
from tests.featurizer import oracle_records, oracle_series
from tests.featurizer.oracle_records import World

_OF_TWO = {"other": "SIM.B", "window": "12ms", "every": "3ms"}

ORACLES: dict[str, list[tuple[dict[str, Any], Callable[[World, int], float]]]] = {
    "bars.DollarBar": [
        (
            {"turnover": 700.0, "reset": "20ms", "field": "vwap"},
            lambda w, now: oracle_records.measured_bar(w, now, lambda p, q: p * q, 700.0, "vwap"),
        )
    ],
    "bars.TickBar": [
        (
            {"ticks": 3, "reset": "20ms", "field": field},
            lambda w, now, field=field: oracle_records.measured_bar(
                w, now, lambda p, q: 1.0, 3.0, field
            ),
        )
        for field in ("open", "high", "close")
    ],
    "bars.TimeBar": [
        (
            {"every": "5ms", "field": field},
            lambda w, now, field=field: oracle_records.time_bar(w, now, field),
        )
        for field in ("open", "high", "low", "close", "volume", "vwap")
    ],
    "bars.VolumeBar": [
        (
            {"volume": 8.0, "reset": "20ms", "field": "volume"},
            lambda w, now: oracle_records.measured_bar(w, now, lambda p, q: q, 8.0, "volume"),
        )
    ],
    "book.DepthImbalance": [({"levels": 3}, oracle_records.depth_imbalance)],
    "book.DepthWeightedMid": [({"levels": 3}, oracle_records.depth_weighted_mid)],
    "book.Liquidity": [({"bps": 260.0}, oracle_records.liquidity)],
    "book.OrderFlowImbalance": [({"window": "9ms"}, oracle_records.order_flow)],
    "calendar.DayOfWeek": [({"wave": "cosine"}, oracle_records.day_of_week)],
    "calendar.TimeOfDay": [({}, oracle_records.time_of_day)],
    "cross.LeadReturn": [({"other": "SIM.B", "window": "9ms"}, oracle_series.lead_return)],
    "cross.Ratio": [({"other": "SIM.B"}, oracle_series.two(lambda x, y: x / y))],
    "cross.RollingBeta": [(_OF_TWO, oracle_series.beta)],
    "cross.RollingCorrelation": [(_OF_TWO, oracle_series.correlation)],
    "cross.Spread": [
        ({"other": "SIM.B", "hedge": 1.5}, oracle_series.two(lambda x, y: x - 1.5 * y))
    ],
    "flow.KyleLambda": [({"window": "12ms", "every": "3ms"}, oracle_records.kyle_lambda)],
    "flow.SignedVolume": [({"window": "9ms"}, oracle_records.signed_volume)],
    "flow.TradeIntensity": [({"window": "9ms"}, oracle_records.intensity)],
    "flow.VwapDeviation": [({"window": "9ms"}, oracle_records.vwap_deviation)],
    "price.MicroPrice": [
        (
            {"tick_size": 0.5, "adjustments": [[-0.4, -0.1, 0.1, 0.4], [-1.0, -0.2, 0.2, 1.0]]},
            oracle_records.of_last_quote(oracle_records.micro_price),
        )
    ],
    "price.WeightedMid": [
        (
            {},
            oracle_records.of_last_quote(
                lambda b, bq, a, aq: a * (bq / (bq + aq)) + b * (aq / (bq + aq))
            ),
        )
    ],
    "rolling.Rolling": [
        (
            {"window": "9ms", "statistic": statistic, "quantile": 0.3},
            lambda w, now, statistic=statistic: oracle_series.rolling(w, now, statistic),
        )
        for statistic in get_args(Statistic)
    ],
    "spread.AbsoluteSpread": [({}, oracle_records.of_last_quote(lambda b, bq, a, aq: a - b))],
    "spread.EffectiveSpread": [({}, oracle_records.effective_spread)],
    "technical.Atr": [({"every": "4ms", "periods": 3}, oracle_series.atr)],
    "technical.Bollinger": [
        ({"every": "2ms", "periods": 6, "deviations": 1.5}, oracle_series.bollinger)
    ],
    "technical.Macd": [
        (
            {"every": "2ms", "fast": 3, "slow": 6, "signal": 4, "line": "histogram"},
            oracle_series.macd,
        )
    ],
    "technical.Rsi": [({"every": "2ms", "periods": 5}, oracle_series.rsi)],
    "volatility.ExponentialVolatility": [
        ({"every": "2ms", "decay": 0.9}, oracle_series.exponential_volatility)
    ],
}
"""By definition: parameters, and what they should give at an instant."""
