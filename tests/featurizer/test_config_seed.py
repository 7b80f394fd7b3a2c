"""The seed's FeaturizerConfig, as it is written there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from featurizer.config import FeaturizerConfig
from tests.featurizer.feature_markets import MS

SEED = """
start_date: '2023-02-01 10:00:00Z'
end_date: '2023-02-01 11:00:00Z'
label_feature_index: 0
label_lookahead: '5s'
features_to_store: [0, 1]
feature_configs:
  - feature_definition: price.MidPrice
    name: mid_price
    params:
      data_source: &id001
        - exchange: BINANCE
          instrument_type: spot
          symbol: BTC-USDT
      feature:
        1:
          sampling: 1s
  - feature_definition: volatility.RealisedVolatility
    params:
      data_source: *id001
      feature:
        window: 10s
        sampling: 1s
"""


def seed(**changes: Any) -> FeaturizerConfig:
    return FeaturizerConfig.model_validate(yaml.safe_load(SEED) | changes)


def test_the_seeds_config_means_the_same_as_ours() -> None:
    ours = FeaturizerConfig.model_validate(
        {
            "start_date": "2023-02-01T10:00:00Z",
            "end_date": "2023-02-01T11:00:00Z",
            "sampling": "1s",
            "label_feature": "mid_price",
            "label_lookahead": "5s",
            "features_to_store": ["mid_price", "RealisedVolatility"],
            "feature_configs": [
                {
                    "feature_definition": "price.MidPrice",
                    "name": "mid_price",
                    "params": {"instrument": "BINANCE.BTCUSDT"},
                },
                {
                    "feature_definition": "volatility.RealisedVolatility",
                    "params": {"instrument": "BINANCE.BTCUSDT", "window": "10s"},
                },
            ],
        }
    )
    made = seed()
    assert made.model_dump() == ours.model_dump()
    assert made.definitions() == ours.definitions()
    assert made.sampling == 1000 * MS
    assert FeaturizerConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("source", "instrument"),
    [
        ("SIM.ALPHA", "SIM.ALPHA"),
        ({"instrument": "SIM.ALPHA"}, "SIM.ALPHA"),
        (["SIM.ALPHA"], "SIM.ALPHA"),
        ([{"exchange": "binance", "symbol": "eth/usdt"}], "BINANCE.ETHUSDT"),
        (
            {"exchange": "BINANCE", "instrument_type": "perpetual", "symbol": "BTC-USDT"},
            "BINANCE.BTCUSDT-PERP",
        ),
    ],
)
def test_a_data_source_names_one_instrument(source: Any, instrument: str) -> None:
    feature = {"feature_definition": "price.MidPrice", "params": {"data_source": source}}
    made = FeaturizerConfig.model_validate({"feature_configs": [feature]})
    assert made.definitions()["MidPrice"].instrument == instrument


def test_a_feature_by_name_is_still_an_input_beside_a_data_source() -> None:
    feature = {
        "feature_definition": "smoothing.Ema",
        "params": {"feature": {"feature": "mid", "half_life": "1s"}},
    }
    mid = {"feature_definition": "price.MidPrice", "name": "mid"}
    made = FeaturizerConfig.model_validate({"feature_configs": [mid, feature]})
    assert made.feature_configs[1].params == {"feature": "mid", "half_life": "1s"}


def feature(**params: Any) -> list[dict[str, Any]]:
    return [{"feature_definition": "price.MidPrice", "params": params}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": "2s"}, "same for all features"),
        ({"label_feature_index": 2}, "from 0 to 1: got 2"),
        ({"label_feature_index": True}, "got True"),
        ({"label_feature_index": "mid_price"}, "must be a place"),
        ({"label_feature": "RealisedVolatility"}, "must mean the same feature"),
        ({"features_to_store": [-1]}, "features_to_store"),
        ({"start_date": "2023-02-01 10:00:00"}, "zone"),
        ({"feature_configs": feature(data_source=["A", "B"])}, "per_instrument"),
        ({"feature_configs": feature(data_source=7)}, "must be an instrument's id"),
        (
            {"feature_configs": feature(data_source={"exchange": "B", "symbol": "X", "type": 1})},
            "must be an instrument's id",
        ),
        (
            {
                "feature_configs": feature(
                    data_source={"exchange": "B", "symbol": "X", "instrument_type": "option"}
                )
            },
            "spot, perpetual",
        ),
        ({"feature_configs": feature(feature={1: {}, 2: {}})}, "2 parts"),
        (
            {"feature_configs": feature(data_source="SIM.A", instrument="SIM.B")},
            "must be given once",
        ),
        ({"feature_configs": feature(feature={"dep_schema": "x"})}, "dep_schema"),
    ],
)
def test_what_the_seed_leaves_open_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        seed(
            **{"label_feature_index": None, "label_lookahead": None, "features_to_store": None}
            | (
                {}
                if "feature_configs" in changes
                else {"label_lookahead": "5s", "label_feature_index": 0}
            )
            | changes
        )
