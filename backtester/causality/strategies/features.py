"""Drawn feature graphs: rows with every record, on a grid, or by one input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, ClassVar

from hypothesis import strategies as st

from featurizer.feature import Input, Market, Pointwise

__all__ = ["Newest", "feature", "feature_graphs", "quote_features"]

Config = dict[str, Any]


class Newest(Pointwise):
    """A column of the newest record received of any kind, the user's own included."""

    formula: ClassVar[str] = "the column of the newest record"
    unit: ClassVar[str] = "that of the column"
    warm_up: ClassVar[str] = "the first record"
    source: ClassVar[str] = "definition"

    kind: str = "signals"
    column: str = "value"

    def inputs(self) -> tuple[Input, ...]:
        """Return the one column."""
        return (Market(self.kind, (self.column,)),)

    def value(self, column: Any) -> Any:
        """Return it."""
        return column


def feature(definition: str, name: str, **params: Any) -> Config:
    """Return one feature as a scenario has it."""
    return {"feature_definition": definition, "name": name, "params": params}


@st.composite
def quote_features(draw: st.DrawFn, instruments: Sequence[str]) -> Config:
    """Draw a row stream of instruments with quotes and trades; `mid` and `imbalance` are in it."""
    window = draw(st.sampled_from(["10ms", "25ms", "50ms"]))
    other = instruments[-1]
    choices = [
        feature("spread.RelativeSpread", "spread"),
        feature("price.LogReturn", "return", window=window),
        feature("volatility.RealisedVolatility", "volatility", window=window),
        feature("flow.TradeVolumeImbalance", "flow", window=window, instrument=other),
        feature("smoothing.Ema", "ema", half_life=window, feature="imbalance"),
        feature("smoothing.Lag", "lag", lag=window, feature="imbalance"),
        feature("book.Imbalance", "imbalance_other", instrument=other),
    ]
    chosen = draw(st.lists(st.sampled_from(choices), max_size=4, unique_by=lambda c: c["name"]))
    sampling: Any = draw(
        st.sampled_from(
            [
                "raw",
                "5ms",
                "20ms",
                {"input": "quotes"},
                {"input": "trades", "instrument": other},
                {"input": "quotes", "instrument": other},
            ]
        )
    )
    return {
        "sampling": sampling,
        "compute_latency": draw(st.sampled_from([0, 0, "5ms"])),
        "feature_configs": [
            feature("price.MidPrice", "mid"),
            feature("book.Imbalance", "imbalance"),
            *chosen,
        ],
    }


def _by_kind(window: str, every: str) -> dict[str, list[Config]]:
    """Return features of one instrument by the kind of record that they read."""
    return {
        "quotes": [
            feature("price.MidPrice", "mid"),
            feature("book.Imbalance", "imbalance"),
            feature("price.WeightedMid", "weighted_mid"),
            feature("spread.RelativeSpread", "spread"),
            feature("price.LogReturn", "return", window=window),
            feature("volatility.RealisedVolatility", "volatility", window=window),
            feature("book.OrderFlowImbalance", "order_flow", window=window),
            feature("rolling.Rolling", "rolling_max", window=window, statistic="max"),
            feature("rolling.Rolling", "rolling_std", window=window, statistic="std"),
            feature("technical.Rsi", "rsi", every=every, periods=3),
        ],
        "trades": [
            feature("flow.TradeVolumeImbalance", "flow", window=window),
            feature("flow.SignedVolume", "signed", window=window),
            feature("flow.TradeIntensity", "intensity", window=window),
            feature("bars.TimeBar", "bar_close", every=every),
            feature("bars.TickBar", "tick_bar", ticks=3),
        ],
        "depth": [
            feature("book.DepthImbalance", "depth_imbalance", levels=2),
            feature("book.DepthWeightedMid", "depth_mid", levels=2),
            feature("book.Liquidity", "liquidity", bps=200.0),
        ],
        "bars": [feature(f"{__name__}.Newest", "close", kind="bars", column="close")],
        "signals": [feature(f"{__name__}.Newest", "signal")],
    }


@st.composite
def feature_graphs(draw: st.DrawFn, kinds: Mapping[str, Set[str]], *, most: int = 5) -> Config:
    """Draw a row stream of any market.

    Args:
        draw: Hypothesis.
        kinds: Kinds of records that each instrument has, in the order of the scenario.
        most: Most features beside the first.
    """
    window, every = (draw(st.sampled_from(["10ms", "25ms", "50ms"])) for _ in range(2))
    by_kind = _by_kind(window, every)
    common = set.intersection(*(set(held) for held in kinds.values())) & set(by_kind)
    each = len(kinds) > 1 and bool(common) and draw(st.booleans())
    choices: list[Config] = []
    if each:
        choices = [one for kind in sorted(common) for one in by_kind[kind]]
    else:
        for place, (name, held) in enumerate(kinds.items()):
            for kind in sorted(held & by_kind.keys()):
                for one in by_kind[kind]:
                    params = {**one["params"], "instrument": name}
                    choices.append({**one, "name": f"{one['name']}_{place}", "params": params})
    size = st.lists(
        st.sampled_from(choices), min_size=1, max_size=most, unique_by=lambda c: c["name"]
    )
    chosen = draw(size)
    first = chosen[0]["name"]
    derived = [
        feature("smoothing.Ema", "ema", half_life=window, feature=first),
        feature("smoothing.Lag", "lag", lag=window, feature=first),
        feature("rolling.Rolling", "mean", window=window, statistic="mean", feature=first),
    ]
    chosen += draw(st.lists(st.sampled_from(derived), max_size=2, unique_by=lambda c: c["name"]))
    return {
        "sampling": draw(_samplings(kinds, each=each, common=common)),
        "compute_latency": draw(st.sampled_from([0, 0, "5ms", "3ms"])),
        "per_instrument": each,
        "rows": draw(st.sampled_from([1, 1, 1, 2, 3])),
        "feature_configs": chosen,
    }


def _samplings(
    kinds: Mapping[str, Set[str]], *, each: bool, common: Set[str]
) -> st.SearchStrategy[Any]:
    inputs: list[Any] = [{"input": kind} for kind in sorted(common)] if each else []
    if not each:
        inputs = [
            {"input": kind, "instrument": name, "every": every}
            for name, held in kinds.items()
            for kind in sorted(held)
            for every in (1, 3)
        ]
    return st.sampled_from(["raw", "5ms", "20ms", "7ms", *inputs])
