"""`lightcone paper` on the real clock, for a second or less of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from backtester.cli import main
from backtester.commands.paper import INTERRUPTED
from backtester.result import load_result
from tests.backtester.worlds import ALPHA, MIDS, Quote, content, make_catalog

MODEL = """
import numpy as np

class Leans:
    feature_names, batch_invariant, accepts_nan = ("mid", "imbalance"), True, False
    digest, version, training = "0" * 64, "1", None

    @classmethod
    def load(cls, path, version):
        return cls()

    def predict(self, values):
        if (values[:, 0] > {breaks_above}).any():
            raise ZeroDivisionError("too high")
        return values[:, 1]
"""
STOPS = """
import signal
from backtester.strategies import MLStrategy

class Stops(MLStrategy):
    def on_prediction(self, ctx, prediction):
        super().on_prediction(ctx, prediction)
        self.heard = getattr(self, "heard", 0) + 1
        if self.heard == 3 and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)
"""

FAILS = """
from backtester.strategies import MLStrategy

class Fails(MLStrategy):
    heard = 0

    def __init__(self, where):
        super().__init__(buy_delta=0.0, sell_delta=0.0, quantity=0.1)
        self.where = where

    def on_prediction(self, ctx, prediction):
        super().on_prediction(ctx, prediction)
        self.heard += 1
        if self.heard == 5 and self.where == "on_prediction":
            self.heard / 0

    def on_stop(self, ctx):
        assert self.where == "on_stop", "one that has failed is called no more"
        1 / 0
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run commands from a folder of their own, with a market, a model and a strategy in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "model.txt").write_text("leans")
    quotes = [
        Quote(n * 7.0, bid=90 + n % 5, ask=92 + n % 5, bid_quantity=5 + 10 * (n // 9 % 2))
        for n in range(220)
    ]
    make_catalog(tmp_path / "market", {ALPHA: quotes})
    return tmp_path


def write(name: str, *, breaks_above: float = 1e9, **settings: Any) -> str:
    """Write a scenario, and a model in a module of its own, as modules are loaded once."""
    Path(f"answers_{name}.py").write_text(MODEL.format(breaks_above=breaks_above))
    loop = {
        "model_uri": "model.txt",
        "predictor_class_name": f"answers_{name}.Leans",
        "polling": "on_feature",
        "max_in_flight": 100,
        **settings.pop("loop", {}),
    }
    params = {"buy_delta": 0.0, "sell_delta": 0.0, "quantity": 0.1}
    strategy = {"class": "backtester.strategies.MLStrategy", "params": params}
    chosen = {"until": 1500, "featurizer": {**MIDS, "sampling": "10ms"}, "strategy": strategy}
    mapping = content("market", [ALPHA], **{**chosen, **settings, "inference": loop})
    Path("small.yaml").write_text(yaml.safe_dump({**mapping, "name": name}))
    return "small.yaml"


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leave:
        main(list(arguments))
    assert isinstance(leave.value.code, int)
    return leave.value.code


@pytest.mark.slow
def test_a_paper_run_takes_its_time_and_is_compared_with_its_backtest(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("timed")
    assert code("run", file, "--no-report") == 0
    capsys.readouterr()
    assert code("paper", file, "--against", "runs/timed", "--no-report", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["kind"] == "paper"
    paper = summary["paper"]
    assert (paper["backend"], paper["speed"], paper["stopped"]) == ("local", 1.0, None)
    counts = summary["predictions"]
    assert counts["completed"] + counts["in_flight"] == counts["submitted"] == 150
    assert paper["lag"]["events"] > 150
    assert summary["orders"] > 0
    assert summary["paired"]["orders"]["backtest"] > 5
    saved = load_result(here / "runs" / "timed-paper")
    assert saved.summary == summary
    assert saved.measured is not None
    assert (saved.measured["service_time"].dt.total_nanoseconds() > 0).all()
    setting = "{kind: profile, path: runs/timed-paper/measured.parquet}"
    again = ("run", file, "--no-report", "--set", f"inference_config.service_time={setting}")
    assert code(*again, "--out", "runs/fitted") == 0


@pytest.mark.slow
def test_a_paper_run_is_held_against_a_profile_that_was_measured_before_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("profiled", start=300, until=900)
    measure = ("profile", file, "--backend", "local", "--requests", "40", "--out", "runs/measured")
    assert code(*measure, "--flow", "200ms", "--write-scenario", "fitted.yaml") == 0
    flow = pl.read_parquet("runs/measured/flow.parquet")["lag"].dt.total_nanoseconds()
    assert len(flow) == 19, "a row every 10 ms of the 200 before the start, but for the first"
    assert 0 < flow.min() < 50_000_000
    told = json.loads(Path("runs/measured/profile.json").read_text())["flow"]
    assert told["count"] == 19
    assert told["p50"] == pytest.approx(flow.median() / 1e6)
    before = {path: path.read_bytes() for path in here.glob("runs/measured/*")}
    capsys.readouterr()
    assert code("paper", file, "--against", "fitted.yaml", "--no-report") == 0
    printed = capsys.readouterr()
    assert "Backtested with fitted.yaml; saved to runs/profiled-paper-backtest." in printed.err
    assert "backtested" in printed.out
    result = load_result(here / "runs" / "profiled-paper")
    paired = result.summary["paired"]
    assert paired["against"] == "fitted.yaml"
    backtest = load_result(here / "runs" / "profiled-paper-backtest")
    assert paired["orders"]["paper"] == len(result.orders)
    assert paired["orders"]["backtest"] == len(backtest.orders) > 0
    assert paired["latency_ms"]["backtest"] == backtest.summary["latency_ms"]
    loop = backtest.scenario["inference_config"]["main"]
    assert loop["service_time"]["path"] == "runs/measured/service.parquet"
    assert [term["column"] for term in loop["network"]["out"]["terms"]] == ["out", "lag"]
    assert paired["latency_ms"]["backtest"]["p50"] > flow.min() / 1e6
    assert {path: path.read_bytes() for path in here.glob("runs/measured/*")} == before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: other", "fitted.yaml: the file must hold `inference_config` alone"),
        ("inference_config: {}\nseed: 1", "got inference_config, seed"),
        ("inference_config: {model_uri: model.txt, num_replicas: -1}", "fitted.yaml: `"),
        ("inference_config: {other: {model_uri: model.txt}}", "loops (main): got other"),
        ("inference_config: 3", "fitted.yaml: `inference_config` must"),
    ],
)
def test_a_profile_that_cannot_be_held_against_is_refused_before_any_time_passes(
    here: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fitted.yaml").write_text(text)
    assert code("paper", write("refused"), "--against", "fitted.yaml") == 2
    assert told in capsys.readouterr().err
    assert not (here / "runs").exists()


@pytest.mark.slow
def test_a_flow_that_cannot_be_played_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = ("profile", write("flowless"), "--backend", "local", "--flow")
    assert code(*measure, "100ms") == 2
    told = capsys.readouterr().err
    assert "`--flow` plays the 100ms before 2024-01-02T00:00:00Z: market: the range must" in told
    assert code(*measure, "soon") == 2
    assert "`--flow`" in capsys.readouterr().err
    assert not (here / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("callback", ["on_prediction", "on_stop"])
def test_a_strategy_that_raises_leaves_what_was_recorded_until_then(
    here: Path, callback: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / f"fails_{callback}.py").write_text(FAILS)
    strategy = {"class": f"fails_{callback}.Fails", "params": {"where": callback}}
    file = write("fails", strategy=strategy, until=400)
    assert code("paper", file, "--no-report") == 1
    printed = capsys.readouterr()
    assert f"`Fails.{callback}` raised ZeroDivisionError" in printed.err.splitlines()[-1]
    assert "Saved to runs/fails-paper: what happened until 2024-01-02T00:00:00." in printed.err
    assert "in on_prediction" in printed.err or callback == "on_stop", "the strategy's traceback"
    saved = load_result(here / "runs" / "fails-paper")
    paper, counts = saved.summary["paper"], saved.summary["predictions"]
    assert paper["stopped"] == "strategy error"
    assert f"`Fails.{callback}` raised ZeroDivisionError" in paper["failure"]
    assert counts["completed"] + counts["in_flight"] == counts["submitted"] >= 5
    assert len(saved.orders) > 0
    assert (saved.summary["until"] == "2024-01-02T00:00:00.4Z") == (callback == "on_stop")
    assert [path.name for path in (here / "runs").iterdir()] == ["fails-paper"]


@pytest.mark.slow
def test_ctrl_c_saves_what_happened_and_marks_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "stops.py").write_text(STOPS)
    params = {"buy_delta": 0.0, "sell_delta": 0.0, "quantity": 0.1}
    file = write("stopped", strategy={"class": "stops.Stops", "params": params})
    assert code("paper", file, "--no-report") == INTERRUPTED
    printed = capsys.readouterr()
    assert "Stopped at 2024-01-02T00:00:00" in printed.err
    assert "interrupted" in printed.out
    saved = load_result(here / "runs" / "stopped-paper")
    assert saved.summary["paper"]["stopped"] == "interrupted"
    assert saved.summary["predictions"]["completed"] >= 3
    assert saved.summary["until"] < "2024-01-02T00:00:01.5Z"
    names = [path.name for path in (here / "runs").iterdir()]
    assert names == ["stopped-paper"], "nothing half-written is left"


@pytest.mark.slow
def test_a_model_that_raises_fails_its_requests_and_the_run_goes_on(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breaker = {"failure_threshold": 1, "open_for": "30ms", "fallback": "last_value"}
    file = write("raises", breaks_above=94.5, loop={"circuit_breaker": breaker})
    assert code("paper", file, "--no-report", "--for", "1s", "--max-lag", "10s") == 0
    printed = capsys.readouterr().out
    assert "ZeroDivisionError: too high" in printed
    summary = load_result(here / "runs" / "raises-paper").summary
    assert summary["predictions"]["failed"] > 0
    assert summary["serving"]["main"]["deployments"]["default"]["breaker"]["opened"] > 0
    assert summary["until"] == "2024-01-02T00:00:01Z"


@pytest.mark.slow
def test_a_backtest_of_another_range_is_refused_before_any_time_passes(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write("ranges")
    assert code("run", file, "--no-report") == 0
    assert code("paper", file, "--for", "300ms", "--against", "runs/ranges") == 2
    assert "must cover the same range: got `until`" in capsys.readouterr().err
    assert not (here / "runs" / "ranges-paper").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--speed", "0"], "`--speed` must be above 0"),
        (["--backend", "cloud"], "`--backend` must be one of local, ray_serve: got 'cloud'"),
        (["--for", "0s"], "`--for` must be longer than 0"),
        (["--for", "soon"], "`--for`: "),
        (["--max-lag", "soon"], "`--max-lag`: "),
        (["--against", "runs/none"], "must be the folder of a saved run"),
        (["--address", "host:1"], "`--address` belongs to `--backend ray_serve`"),
    ],
)
def test_a_wrong_option_is_one_message(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("paper", write("wrong"), *arguments) == 2
    assert told in capsys.readouterr().err


def test_a_scenario_without_inference_cannot_be_run_on_paper(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("none.yaml").write_text(yaml.safe_dump(content("market", [ALPHA], until=500)))
    assert code("paper", "none.yaml") == 2
    assert "`inference_config` must name a model for a paper run" in capsys.readouterr().err
