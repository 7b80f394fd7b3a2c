from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from featurizer.config import FeatureConfig, FeaturizerConfig
from featurizer.definitions.lookup import all_definitions
from featurizer.definitions.price import LogReturn, MidPrice
from featurizer.emission import Emission
from tests.featurizer.feature_markets import MS, A, config

MID = {"feature_definition": "price.MidPrice"}


def test_a_feature_is_named_after_its_definition_unless_it_has_a_name() -> None:
    assert FeatureConfig.model_validate(MID).name == "MidPrice"
    assert FeatureConfig.model_validate({**MID, "name": "mid"}).name == "mid"


def test_a_definition_is_found_by_our_name_for_it_or_by_its_dotted_path() -> None:
    for path in ("price.MidPrice", "featurizer.definitions.price.MidPrice"):
        definition = FeatureConfig(feature_definition=path).definition()
        assert definition == MidPrice()


def test_parameters_are_read_as_the_definition_declares_them() -> None:
    feature = FeatureConfig(
        feature_definition="price.LogReturn", params={"window": "1.5s", "source": "x"}
    )
    assert feature.definition() == LogReturn.model_construct(window=1_500_000_000, feature="x")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ({"feature_definition": "price.MidPrise"}, "Did you mean 'price.MidPrice'"),
        ({"feature_definition": "nowhere.at.All"}, "nowhere.at.All"),
        ({"feature_definition": "clock.units.parse_duration"}, "must be a FeatureDefinition"),
        ({"feature_definition": "featurizer.feature.Pointwise"}, "must be a FeatureDefinition"),
        ({"feature_definition": "price.LogReturn"}, "parameter `window` is missing"),
        (
            {"feature_definition": "price.LogReturn", "params": {"window": "1s", "windw": 1}},
            "unknown parameter `windw`. Did you mean 'window'",
        ),
        (
            {"feature_definition": "price.LogReturn", "params": {"window": 5}},
            "a duration needs a unit: got 5",
        ),
        (
            {"feature_definition": "price.LogReturn", "params": {"window": "0s"}},
            "must be longer than zero: got '0s'",
        ),
        (
            {
                "feature_definition": "smoothing.Lag",
                "params": {"lag": "1s", "feature": "a", "instrument": "b"},
            },
            "must not both be given",
        ),
    ],
)
def test_a_feature_that_cannot_be_is_refused(feature: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureConfig.model_validate(feature)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"feature_configs": [MID, MID]}, "'MidPrice' twice"),
        ({"feature_configs": []}, "at least 1 item"),
        ({"label_feature": "mid", "label_lookahead": "1s"}, "Did you mean 'MidPrice'"),
        ({"label_feature": "MidPrice"}, "needs `label_lookahead`"),
        ({"label_lookahead": "1s"}, "needs `label_feature`"),
        ({"label_feature": "MidPrice", "label_lookahead": "0s"}, "longer than zero"),
        ({"label": "slope"}, "difference"),
        ({"features_to_store": ["x"]}, "features_to_store"),
        ({"sampling": "0ms"}, "longer than zero"),
        ({"sampling": "rwa"}, "got 'rwa'"),
        ({"sampling": {"input": "quotes", "evry": 2}}, "evry"),
        ({"samplng": "raw"}, "samplng"),
    ],
)
def test_a_config_that_cannot_be_is_refused(others: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeaturizerConfig.model_validate({"feature_configs": [MID], **others})


@pytest.mark.parametrize(
    ("sampling", "emission"),
    [
        ("raw", Emission.raw()),
        ("100ms", Emission.grid(100 * MS)),
        ({"input": "trades"}, Emission.of_input(A, "trades")),
        ({"input": "quotes", "instrument": "B", "every": 9}, Emission.of_input("B", "quotes", 9)),
    ],
)
def test_sampling_says_when_rows_are_emitted_and_survives_json(
    sampling: Any, emission: Emission
) -> None:
    made = config("price.MidPrice", sampling=sampling)
    assert made.emission(A) == emission
    assert FeaturizerConfig.model_validate_json(made.model_dump_json()) == made


def test_a_label_can_be_a_feature_declared_after_others_and_keeps_their_order() -> None:
    made = config(
        "book.Imbalance", "price.MidPrice", label_feature="MidPrice", label_lookahead="1s"
    )
    assert list(made.definitions()) == ["Imbalance", "MidPrice"]
    assert made.label_lookahead == 1_000_000_000


def test_every_definition_of_ours_is_found_by_inspection_and_documented() -> None:
    found = all_definitions()
    assert {"price.MidPrice", "flow.TradeVolumeImbalance", "smoothing.Ema"} <= set(found)
    assert not any(name.endswith("FeatureOfFeature") for name in found)
    for name, definition in found.items():
        assert definition.__doc__, name


@pytest.mark.slow
def test_reading_a_config_compiles_nothing_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from featurizer.config import FeatureConfig; "
        "from featurizer.graph import FeatureGraph; import featurizer.dataset, featurizer.checks; "
        "FeatureConfig(feature_definition='price.LogReturn', params={'window': '1s'}); "
        "print(sorted({'numba', 'polars', 'xgboost', 'matplotlib'} & set(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"
