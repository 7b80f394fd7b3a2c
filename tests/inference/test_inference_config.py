from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import inference
from inference.config import InferenceConfig

SEED = """
deployment_name: 'btc-mid'
model_uri: 'models:/btc-mid/1'
predictor_class_name: 'XGBoostPredictor'
num_replicas: 2
"""


def test_the_seeds_block_is_taken_word_for_word() -> None:
    config = InferenceConfig.model_validate(yaml.safe_load(SEED))
    assert config.deployment_name == "btc-mid"
    assert config.in_flight_limit == config.num_replicas == 2
    assert config.polling.kind == "continuous"
    assert config.on_new == "replace"


@pytest.mark.parametrize(
    ("written", "kind", "period"),
    [
        ("on_feature", "on_feature", None),
        ({"kind": "on_feature"}, "on_feature", None),
        ({"every": "50ms"}, "every", 50_000_000),
        ({"kind": "every", "period": "50ms"}, "every", 50_000_000),
    ],
)
def test_polling_has_short_forms(written: Any, kind: str, period: int | None) -> None:
    config = InferenceConfig.model_validate({"model_uri": "m", "polling": written})
    assert (config.polling.kind, config.polling.period) == (kind, period)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_replica": 2}, "num_replica"),
        ({"num_replicas": 0}, "num_replicas"),
        ({"model_uri": ""}, "model_uri"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"polling": "sometimes"}, "continuous"),
        ({"polling": "every"}, "period"),
        ({"polling": {"every": "0ms"}}, "period"),
        ({"polling": {"kind": "on_feature", "period": "1s"}}, "Remove it"),
        ({"on_new": "drop"}, "on_new"),
        ({"features": []}, "at least one"),
        ({"features": ["a", "a"]}, "each once"),
        ({"latency": 5}, "unit"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=message):
        InferenceConfig.model_validate({"model_uri": "m", **given})


def test_a_config_round_trips_through_json() -> None:
    config = InferenceConfig.model_validate(
        {**yaml.safe_load(SEED), "polling": {"every": "50ms"}, "latency": "20ms"}
    )
    assert InferenceConfig.model_validate_json(config.model_dump_json()) == config


def test_every_public_name_can_be_had() -> None:
    assert sorted(inference.__all__) == inference.__all__
    assert set(inference.__all__) == set(inference._HOMES)
    for name in inference.__all__:
        assert getattr(inference, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = inference.Nothing


@pytest.mark.slow
def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'numba', 'xgboost', 'mlflow', 'numpy', 'pydantic'}"
    code = f"import sys, inference; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
