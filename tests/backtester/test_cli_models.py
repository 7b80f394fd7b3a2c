"""Training a model and running with it, at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from backtester.cli import main
from backtester.result import load_result
from clock.units import format_instant
from tests.backtester.worlds import ALPHA, Quote, at, content, make_catalog

pytestmark = pytest.mark.slow

FEATURIZER = {
    "sampling": {"input": "quotes"},
    "label_feature": "mid",
    "label_lookahead": "20ms",
    "feature_configs": [
        {"feature_definition": "price.MidPrice", "name": "mid"},
        {"feature_definition": "book.Imbalance", "name": "imbalance"},
        {"feature_definition": "spread.RelativeSpread", "name": "spread"},
    ],
}
LOOP = {
    "deployment_name": "small",
    "model_uri": "models:/small/1",
    "predictor_class_name": "XGBoostPredictor",
    "num_replicas": 2,
    "features": ["imbalance", "spread"],
    "polling": "on_feature",
    "service_time": "3ms",
}


def mapping(**settings: Any) -> dict[str, Any]:
    training = {
        "start": format_instant(at(0)),
        "until": format_instant(at(3000)),
        "model": "small",
        "rounds": 5,
    }
    params = {"buy_delta": 0.1, "sell_delta": 0.1, "quantity": 0.5}
    chosen = {
        "start": 3100,
        "until": 6000,
        "training": training,
        "featurizer": FEATURIZER,
        "inference": LOOP,
        "strategy": {"class": "backtester.strategies.MLStrategy", "params": params},
    }
    return content("market", [ALPHA], **(chosen | settings))


def write(**settings: Any) -> str:
    Path("small.yaml").write_text(yaml.safe_dump(mapping(**settings)))
    return "small.yaml"


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leave:
        main(list(arguments))
    assert isinstance(leave.value.code, int)
    return leave.value.code


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a market in which the imbalance foretells the next move."""
    folder = tmp_path_factory.mktemp("workshop")
    generator = np.random.default_rng(1)
    tilt = generator.integers(-1, 2, size=600)
    bid = 400 + np.cumsum(np.roll(tilt, 1))
    quotes = [
        Quote(n * 10, bid=bid[n] / 2, ask=bid[n] / 2 + 1, bid_quantity=5 + 3 * tilt[n])
        for n in range(600)
    ]
    make_catalog(folder / "market", {ALPHA: quotes})
    return folder


@pytest.fixture(autouse=True)
def here(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workshop)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return workshop


@pytest.fixture
def trained(here: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Train the model; it is the same one however often this is done."""
    assert code("train", write(), "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command and returns its one message."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert code(*arguments) == 2, capsys.readouterr()
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        lines = [x for x in printed.err.splitlines() if not x.startswith("Compiling kernels")]
        assert all(line.startswith("lightcone: ") for line in lines), lines
        return "\n".join(line.removeprefix("lightcone: ") for line in lines)

    return run


def test_a_model_that_was_never_trained_names_the_command_that_makes_it(refused):
    scenario = write(inference=LOOP | {"model_uri": "models:/never/1"})
    text = refused("run", scenario)
    assert "models:/never/1" in text
    assert "Make it with `lightcone train small.yaml`." in text


@pytest.mark.parametrize("uri", ["models:/small/9", "models:/smal/1", "runs:/0f/model", "no/where"])
def test_a_uri_that_leads_to_nothing(refused, trained, uri):
    text = refused("run", write(inference=LOOP | {"model_uri": uri}))
    assert uri in text
    assert "`lightcone train small.yaml`" in text


def test_training_tells_what_it_made_and_the_same_training_makes_nothing_new(trained, capsys):
    assert trained["uri"] == "models:/small/1"
    assert trained["start"] == format_instant(at(0))
    assert trained["until"] == format_instant(at(3000))
    # the label of 2980 closes with the quote of 3000, which lies outside
    assert trained["last_label_visible_at"] == format_instant(at(2990))
    assert code("train", write(), "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["uri"] == trained["uri"]
    assert again["reused"]
    assert code("train", write()) == 0
    assert "models:/small/1" in capsys.readouterr().out


def test_a_run_with_a_model_counts_every_request(trained, here, capsys):
    assert code("run", write(), "--json", "--no-report") == 0
    summary = json.loads(capsys.readouterr().out)
    counts = summary["predictions"]
    assert counts["submitted"] == 290
    assert counts["submitted"] == sum(n for name, n in counts.items() if name != "submitted")
    assert summary["latency_ms"] == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    assert summary["orders"] > 10
    assert summary["digests"]["models"]["main"]["version"] == "1"
    frame = load_result(here / "runs" / "small").predictions
    assert frame["value"].null_count() == 0
    # the imbalance at n foretells the move from n to n + 1, which the label sees whole
    assert summary["information_coefficient"] > 0.3
    low, high = summary["information_coefficient_ci"]
    assert low < summary["information_coefficient"] < high


def test_the_coefficient_is_that_of_the_saved_predictions(trained, here, capsys):
    assert code("run", write(), "--json", "--no-report") == 0
    told = json.loads(capsys.readouterr().out)["information_coefficient"]
    frame = load_result(here / "runs" / "small").predictions
    change = (frame["label_after"] - frame["label_before"]).to_numpy()
    known = np.isfinite(change)
    expected = np.corrcoef(frame["value"].to_numpy()[known], change[known])[0, 1]
    assert told == pytest.approx(expected)


def test_the_label_is_measured_from_the_instant_the_answer_arrived(trained, here):
    assert code("run", write(), "--no-report", "--set", "inference_config.service_time=7ms") == 0
    frame = load_result(here / "runs" / "small").predictions
    bids = {}
    generator = np.random.default_rng(1)
    tilt = generator.integers(-1, 2, size=600)
    for n, bid in enumerate(400 + np.cumsum(np.roll(tilt, 1))):
        bids[n] = bid / 2 + 0.5
    visible = [(stamp - at(0)) // 10_000_000 for stamp in frame["visible_at"].to_physical()]
    assert frame["label_before"].to_list() == [bids[n] for n in visible]
    after = frame["label_after"].to_list()
    expected = [bids.get(n + 2, float("nan")) for n in visible]
    assert after[:-3] == expected[:-3]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["imbalance"], "the ones the model was trained on"),
        (["imbalance", "mid"], "the ones the model was trained on"),
        (["spread", "imbalance"], "in the model's order"),
        (None, "the ones the model was trained on"),
    ],
)
def test_a_model_that_expects_other_features_is_refused_with_both_lists(
    trained, refused, features, message
):
    text = refused("run", write(inference=LOOP | {"features": features}))
    assert message in text
    assert "the model reads ['imbalance', 'spread']" in text
    assert f"got {features or ['mid', 'imbalance', 'spread']}" in text


def test_a_feature_that_the_rows_do_not_hold_is_refused(trained, refused):
    config = FEATURIZER | {"feature_configs": FEATURIZER["feature_configs"][:2]}
    text = refused("run", write(featurizer=config))
    assert "must be columns of the feature rows" in text


@pytest.mark.parametrize("start", [0, 1000, 2980, 2990])
def test_a_model_trained_past_the_start_is_refused(trained, refused, start):
    text = refused("run", write(start=start))
    assert "`models:/small/1` was trained on must be visible before the run's start" in text
    assert f"visible at {format_instant(at(2990))}" in text


def test_a_run_may_start_one_nanosecond_after_the_last_label_was_known(trained):
    assert code("run", write(start=2990 + 1e-6), "--no-report") == 0


@pytest.mark.parametrize("name", ["XGBoostPredicter", "nowhere.Predictor", "pathlib.Path"])
def test_a_predictor_class_that_does_not_exist(trained, refused, name):
    text = refused("run", write(inference=LOOP | {"predictor_class_name": name}))
    assert "`predictor_class_name` must name" in text or "`predictor_class_name` must be" in text


def test_a_training_range_with_too_few_rows_is_refused(refused):
    training = mapping()["training"] | {"until": format_instant(at(300))}
    assert "must give at least 50 rows" in refused("train", write(training=training))


def test_a_training_range_with_no_data_is_refused(refused):
    training = {"start": "2030-01-01", "until": "2030-01-02", "model": "small"}
    assert "the range must hold records" in refused("train", write(training=training))


@pytest.mark.parametrize(
    ("params", "message"), [({"max_depht": 3}, "max_depht"), ({"eta": "fast"}, "fast")]
)
def test_parameters_that_xgboost_does_not_take_are_refused(refused, params, message):
    training = mapping()["training"] | {"params": params, "model": "other"}
    assert message in refused("train", write(training=training))


def test_modes_agree_about_a_run_with_a_model(trained, capsys):
    digests = set()
    for mode in ("ahead", "lockstep"):
        arguments = ("--json", "--no-report", "--mode", mode)
        assert code("run", write(entry="2ms", response="1ms"), *arguments) == 0
        digests.add(json.loads(capsys.readouterr().out)["trace_digest"])
    assert len(digests) == 1
