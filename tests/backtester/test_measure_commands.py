"""`lightcone profile` and `lightcone validate`, with a deployment in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from backtester.measured.effect import laid_out, matched_orders
from backtester.scenario import load_scenario
from inference.measure.cross_section import CrossSectionPredictor, cross_sections
from inference.measure.log import Log, read_log
from tests.backtester.test_cli_models import LOOP, code, mapping, workshop
from tests.inference.measure.hand import MS

__all__ = ["workshop"]

pytestmark = pytest.mark.slow

QUICKLY = ("--pairs", "2", "--requests", "40", "--single", "30", "--sleep", "1ms")
MODELS = ("--heavy-rows", "4")


@pytest.fixture(scope="module")
def trained(workshop: Path) -> Path:
    """Train the small model, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workshop)
        write()
        assert code("train", "small.yaml") == 0
    return workshop


@pytest.fixture(autouse=True)
def _inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)


def write(**settings: Any) -> None:
    Path("small.yaml").write_text(yaml.safe_dump(mapping(**settings)))


@pytest.fixture(scope="module")
def validated(trained: Path) -> Path:
    """Validate all three models on threads of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        write()
        code("validate", "small.yaml", "--backend", "local", "--out", "v", *QUICKLY, *MODELS)
    return trained / "v"


def test_a_profile_is_written_and_can_be_run_from(capsys: pytest.CaptureFixture[str]) -> None:
    write()
    arguments = ("--backend", "local", "--requests", "60", "--out", "p", "--json")
    assert code("profile", "small.yaml", *arguments, "--write-scenario", "fitted.yaml") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(Path("p/profile.json").read_text())
    assert told["rows"] == "feature rows of the scenario's training range"
    assert told["machine"]["cores"] >= 1
    assert {name: one["answered"] for name, one in told["scenarios"].items()} == {
        "single_stream": 60,
        "single_stream_close": 60,
        "multi_stream": 8 * (2 + 4 + 8 + 16 + 32),
        "server": 60,
        "offline": 60,
    }
    log, more = read_log(Path("p/requests.parquet"))
    assert len(log.number) == 60 * 4 + 496
    known = log.answered
    assert (more["service_ns"][known] == (log.completed_at - log.started_at)[known]).all()
    fitted = yaml.safe_load(Path("fitted.yaml").read_text())["inference_config"]
    assert fitted["service_time"] == {"kind": "profile", "path": "p/service.parquet"}
    Path("both.yaml").write_text(yaml.safe_dump(mapping(inference=fitted)))
    assert code("run", "both.yaml", "--no-report", "--json") == 0
    latency = json.loads(capsys.readouterr().out)["latency_ms"]["p50"]
    alone = told["scenarios"]["single_stream"]["latency"]["p50"]
    assert latency == pytest.approx(alone, rel=0.5)


def test_rows_of_a_scenario_without_training_are_made_up_and_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(training=None)
    arguments = ("--backend", "local", "--requests", "20", "--out", "p2", "--json")
    assert code("profile", "small.yaml", *arguments) == 0
    assert "made up" in json.loads(capsys.readouterr().out)["rows"]


def test_a_validation_accounts_for_every_request(validated: Path) -> None:
    content = json.loads((validated / "validation.json").read_text())
    assert [trial["name"] for trial in content["trials"]] == ["sleeping", "heavy", "small"]
    for trial in content["trials"]:
        names = [load["load"] for load in trial["loads"]]
        assert names == ["poisson 0.3", "poisson 0.5", "poisson 0.7", "bursts 0.5", "market 0.5"]
        assert all(load["requests"] == 160 for load in trial["loads"])
        assert all(load["unanswered"] == 0 for load in trial["loads"])
    assert sum(content["counts"].values()) == 45
    assert "no model" in content["trials"][0]["about"]
    assert "400 trees, 4 rows a request" in content["trials"][1]["about"]
    assert (validated / "error-map.png").stat().st_size > 10_000


def test_a_validation_is_computed_again_from_its_logs_alone(
    validated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (validated / "validation.json").read_bytes()
    (validated / "validation.json").unlink()
    write()
    code("validate", "small.yaml", "--from", "v", "--json")
    assert (validated / "validation.json").read_bytes() == before
    assert json.loads(capsys.readouterr().out) == json.loads(before)


def test_the_exit_code_tells_whether_a_cell_failed(validated: Path) -> None:
    write()
    counts = json.loads((validated / "validation.json").read_text())["counts"]
    wanted = 1 if counts["fail"] else 3 if counts["inconclusive"] else 0
    assert code("validate", "small.yaml", "--from", "v", "--json") == wanted


def test_a_sleeping_model_sleeps_what_its_rows_say(validated: Path) -> None:
    log, _ = read_log(validated / "sleeping" / "requests.parquet")
    assert (log.value == MS).all()  # it answers how long it meant to sleep
    slept = log.completed_at - log.started_at
    assert (slept >= MS).all()


def test_the_heavy_model_answers_with_the_mean_of_what_xgboost_says(validated: Path) -> None:
    import xgboost

    folder = validated / "heavy" / "model"
    booster = xgboost.Booster(model_file=str(folder / "model.ubj"))
    predictor = CrossSectionPredictor.load(folder)
    rows = np.random.Generator(np.random.Philox(4)).normal(size=(9, len(booster.feature_names)))
    asked = cross_sections(rows, 4, range(7))
    assert asked.shape == (7, 4 * len(booster.feature_names))
    assert predictor.feature_names[-1] == f"{booster.feature_names[-1]}@3"
    each = booster.inplace_predict(rows).astype(np.float64)
    means = [np.mean([each[(place + i) % 9] for i in range(4)]) for place in range(7)]
    np.testing.assert_array_equal(predictor.predict(asked), means)
    assert predictor.predict(asked[3:4])[0] == predictor.predict(asked)[3]


def test_the_error_is_carried_through_to_the_strategy(validated: Path) -> None:
    strategy = json.loads((validated / "validation.json").read_text())["strategy"]
    assert list(strategy) == ["measured", "measured again", "simulated"]
    assert strategy["measured"]["orders"] > 0
    assert strategy["measured"]["matched"] is None
    assert 0 <= strategy["simulated"]["matched"] <= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--backend", "lokal"), "Did you mean 'local'?"),
        (("--models", "sleeping,scenari"), "Did you mean 'scenario'?"),
        (("--from", "nowhere"), "nowhere holds no trial"),
        (("--loop", "other"), "`--loop` must name a loop of the scenario: got 'other'"),
        (("--out", "."), "must be a folder of its own"),
        (("--sleep", "soon", "--backend", "local"), "`--sleep`"),
    ],
)
def test_bad_input_is_one_message(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    assert code("validate", "small.yaml", *arguments) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_a_folder_with_other_things_in_it_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    write()
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    for command in ("profile", "validate"):
        assert code(command, "small.yaml", "--backend", "local", "--out", "mine") == 2
        assert "thesis.txt" in capsys.readouterr().err
    assert Path("mine/thesis.txt").read_text() == "years of work"


def test_variants_are_measured_each_alone(capsys: pytest.CaptureFixture[str]) -> None:
    two = {name: {"share": 0.5} for name in ("a", "b")}
    write(inference={**LOOP, "variants": two, "routing": "split"})
    assert code("profile", "small.yaml", "--backend", "local") == 2
    assert "cannot be measured together" in capsys.readouterr().err


def logged(*requests: tuple[float, float]) -> Log:
    """Return a log of requests, each due at so many ms and answered after so many."""
    at = np.array([int(due * MS) for due, _ in requests])
    late = np.array([int(latency * MS) for _, latency in requests])
    zeros = np.zeros(len(at), np.int64)
    names = np.array([""] * len(at), object)
    return Log(zeros, zeros, at, at, at, at, at, at + late, zeros, zeros, zeros, names, zeros * 1.0)


def test_a_recording_is_laid_out_over_a_run_part_after_part_and_again() -> None:
    first, second = logged((5, 1), (7, 2), (7, 9)), logged((100, 3), (104, 4))
    at, late = laid_out([first, second], 1000 * MS, 1020 * MS)
    # 0, 2 | 3, 7 | then again from 3 + 4 + 4 = 11 on; of two at one instant the first counts
    assert ((at - 1000 * MS) / MS).tolist() == [0, 2, 3, 7, 11, 13, 14, 18]
    assert (late / MS).tolist() == [1, 2, 3, 4, 1, 2, 3, 4]


def test_orders_match_by_instrument_side_and_the_row_they_were_decided_on() -> None:
    class Frames:
        def __init__(self, answers: list[tuple[int, int]], orders: list[tuple[int, int]]) -> None:
            stamp = pl.Datetime("ns", "UTC")
            self.predictions = pl.DataFrame(
                {
                    "loop": ["main"] * len(answers),
                    "outcome": ["completed"] * len(answers),
                    "superseded": [False] * len(answers),
                    "instrument": ["A"] * len(answers),
                    "emitted_at": pl.Series([row for row, _ in answers]).cast(stamp),
                    "visible_at": pl.Series([at for _, at in answers]).cast(stamp),
                }
            )
            self.orders = pl.DataFrame(
                {
                    "instrument": ["A"] * len(orders),
                    "side": [side for side, _ in orders],
                    "decided_at": pl.Series([at for _, at in orders]).cast(stamp),
                }
            )

    one: Any = Frames([(1, 10), (2, 20), (3, 30)], [(1, 10), (-1, 20), (1, 30)])
    # the same rows later, and the last order on the other side
    other: Any = Frames([(1, 11), (2, 25), (3, 39)], [(1, 11), (-1, 25), (-1, 39)])
    assert matched_orders(one, other, "main") == pytest.approx(2 / 4)
    assert matched_orders(one, one, "main") == 1.0
    nothing: Any = Frames([(1, 10)], [])
    assert matched_orders(nothing, nothing, "main") is None


def test_the_shipped_scenario_holds_one_request_a_replica_at_a_time() -> None:
    path = Path(__file__).parents[2] / "scenarios" / "real-serving.yaml"
    (config,) = load_scenario(path).inference_config.values()
    assert config.router.kind == "power_of_two"
    assert config.batching is not None
    assert (config.batching.max_batch_size, config.batching.executions) == (1, 1)
    assert config.ongoing_limit >= 32
