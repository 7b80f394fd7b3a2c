"""`lightcone check` and `lightcone run --verify`, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backtester import account
from backtester.causality import (
    assert_ahead_equals_lockstep,
    assert_chunk_invariant,
    assert_conserves,
    assert_deterministic,
    assert_future_blind,
    assert_in_order,
    assert_known_at,
)
from backtester.cli import _exit_code
from backtester.scenario import load_scenario
from featurizer.errors import LookaheadError
from tests.mutants import books_and_host, looking_ahead

pytestmark = pytest.mark.slow

SCENARIO = """
name: checked
seed: 1
data:
  catalog: data/checked
  synthetic: {seed: 3, duration: 40s, start: 2024-01-01T00:00:00Z}
  instruments: [SIM.ALPHA]
  start: 2024-01-01T00:00:05Z
  until: 2024-01-01T00:00:38Z
featurizer:
  sampling: 100ms
  feature_configs:
    - {feature_definition: FEATURE, name: signal}
strategy: {class: STRATEGY}
portfolio: {quote: USD, balances: {USD: 100000}}
"""

MINE = '''
import random
import time
from pathlib import Path
from backtester.strategy import Strategy

class Honest(Strategy):
    """Randomness, timers and history, all through ctx."""
    def __init__(self):
        self.history = []
    def on_start(self, ctx):
        ctx.call_at(ctx.now + 10**9, "decide")
    def on_quote(self, ctx, quote):
        self.history.append(quote.bid_price)
    def on_timer(self, ctx, name):
        up = ctx.random.random() < 0.5 or self.history[-1] > self.history[0]
        (ctx.buy if up else ctx.sell)("SIM.ALPHA", 1.0)
        ctx.call_at(ctx.now + 10**9, "decide")

class Dice(Honest):
    """Randomness of its own."""
    def on_timer(self, ctx, name):
        (ctx.buy if random.random() < 0.5 else ctx.sell)("SIM.ALPHA", 1.0)
        ctx.call_at(ctx.now + 10**9, "decide")

class Clock(Honest):
    """Reads the host's clock, for nothing."""
    def on_start(self, ctx):
        self.began = time.time()
        super().on_start(ctx)

class Broken(Strategy):
    def on_quote(self, ctx, quote):
        raise RuntimeError("broken")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_checked.py").write_text(MINE)
    return tmp_path


def write(folder: Path, strategy: str, feature: str = "price.MidPrice") -> str:
    text = SCENARIO.replace("STRATEGY", strategy).replace("FEATURE", feature)
    (folder / "mine.yaml").write_text(text)
    return "mine.yaml"


def check(capsys: Any, *arguments: str, budget: str = "2s") -> tuple[int, dict[str, Any]]:
    code = _exit_code(["check", *arguments, "--budget", budget, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_an_honest_scenario_ends_with_zero(folder: Path, capsys: Any) -> None:
    code, verdict = check(capsys, write(folder, "mine_checked.Honest"))
    assert (code, verdict["kind"]) == (0, "none found")
    assert verdict["coverage"]["futures"] > 0
    assert verdict["coverage"]["records"] > 0
    assert verdict["coverage"]["decisions_cut"] > 0


def test_a_leak_ends_with_one_and_is_seen_again_by_its_replay(folder: Path, capsys: Any) -> None:
    path = write(folder, "mine_checked.Honest", "tests.leaks.features.CentredWindow")
    code, verdict = check(capsys, path, budget="30s")  # time to make it small
    assert code == 1
    example = verdict["counterexample"]
    assert example["columns"][0][0] == "feature `signal`"
    assert "one record of quotes" in example["record"]
    replay = example["replay"].split(" --replay ")[1]
    assert _exit_code(["check", path, "--replay", replay]) == 1
    assert "feature `signal`" in capsys.readouterr().out


def test_other_randomness_is_no_leak_but_proves_nothing(folder: Path, capsys: Any) -> None:
    code, verdict = check(capsys, write(folder, "mine_checked.Dice"))
    assert (code, verdict["kind"]) == (3, "unproven")
    assert "does not repeat itself" in verdict["doubts"][0]
    line = 1 + MINE.splitlines().index(next(x for x in MINE.splitlines() if "if random." in x))
    assert any(f"mine_checked.py, line {line}" in doubt for doubt in verdict["doubts"])


def test_the_hosts_clock_makes_it_unproven(folder: Path, capsys: Any) -> None:
    code, verdict = check(capsys, write(folder, "mine_checked.Clock"))
    assert code == 3
    assert "time.time" in verdict["doubts"][0]


ASKS = """
inference_config:
  model_uri: total.json
  predictor_class_name: tests.leaks.models.Total
  features: [signal]
  polling: on_feature
"""


def test_a_model_of_ones_own_that_reads_its_artifact_can_be_proven(
    folder: Path, capsys: Any
) -> None:
    path = write(folder, "mine_checked.Honest")
    (folder / path).write_text((folder / path).read_text() + ASKS)
    (folder / "total.json").write_text('["signal"]')
    code, verdict = check(capsys, path)
    assert (code, verdict["kind"]) == (0, "none found"), verdict["doubts"]


_CUT = "2024-01-01T00:00:20Z,event_time,values,1"


@pytest.mark.parametrize(
    "option",
    [
        ["--replay", "nonsense"],
        ["--replay", "2024-01-01T00:00:20Z,event_time,values"],
        ["--replay", f"{_CUT},SIM.NONE,quotes,0,1"],
        ["--replay", f"{_CUT},SIM.ALPHA,quotes,5000000,5000001"],
        ["--budget", "soon"],
        ["--budget", "-1s"],
    ],
)
def test_a_wrong_option_is_bad_input(folder: Path, capsys: Any, option: list[str]) -> None:
    assert _exit_code(["check", write(folder, "mine_checked.Honest"), *option]) == 2
    assert option[0] in capsys.readouterr().err


def test_a_strategy_that_raises_ends_the_check_with_its_traceback(
    folder: Path, capsys: Any
) -> None:
    assert _exit_code(["check", write(folder, "mine_checked.Broken")]) == 1
    assert "broken" in capsys.readouterr().err


def test_verify_says_where_a_run_first_differs(folder: Path, capsys: Any) -> None:
    assert _exit_code(["run", write(folder, "mine_checked.Honest"), "--verify", "--json"]) == 0
    assert all(way["difference"] is None for way in json.loads(capsys.readouterr().out))
    assert _exit_code(["run", write(folder, "mine_checked.Dice"), "--verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["difference"]


def test_the_laws_hold_for_an_honest_scenario(folder: Path) -> None:
    scenario = load_scenario(write(folder, "mine_checked.Honest"))
    assert_deterministic(scenario)
    assert_chunk_invariant(scenario, rows=(251, 17))
    assert_ahead_equals_lockstep(scenario)
    assert_future_blind(scenario, cuts=8)
    assert_conserves(scenario)
    assert_in_order(scenario)
    assert_known_at(scenario)


def test_each_law_fails_where_it_is_broken(folder: Path) -> None:
    dice = load_scenario(write(folder, "mine_checked.Dice"))
    with pytest.raises(AssertionError, match="law 5"):
        assert_deterministic(dice)
    path = write(folder, "mine_checked.Honest", "tests.leaks.features.CentredWindow")
    with pytest.raises(AssertionError, match="law 3"):
        assert_chunk_invariant(path)
    with pytest.raises(AssertionError, match="law 4"):
        assert_ahead_equals_lockstep(path)
    with pytest.raises(AssertionError, match="law 2"):
        assert_future_blind(path, cuts=2)


def test_what_user_code_cannot_break_fails_on_a_defect_of_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = load_scenario(write(folder, "mine_checked.Honest"))
    with monkeypatch.context() as patch:
        books_and_host.fee_rounded_down(patch)
        assert_conserves(scenario)  # a fee is what the venue says: the law of money looks at that
    with monkeypatch.context() as patch:
        looking_ahead.features_one_step_ahead(patch)
        with pytest.raises((AssertionError, LookaheadError)):
            assert_known_at(scenario)
    with monkeypatch.context() as patch:
        release_all_of_the_cost(patch)
        with pytest.raises(AssertionError, match="`realised` of booking"):
            assert_conserves(scenario)


def release_all_of_the_cost(patch: pytest.MonkeyPatch) -> None:
    """A part that is closed takes the whole cost of the position with it."""
    patch.setattr(account, "_part", lambda whole, part, of: whole)


def test_the_plugin_fails_a_test_whose_scenario_leaks(folder: Path, pytester_run: Any) -> None:
    write(folder, "mine_checked.Honest", "tests.leaks.features.CentredWindow")
    outcome = pytester_run("def test_mine(respects_time):\n    respects_time('mine.yaml')\n")
    assert "1 failed" in outcome
    assert "feature `signal`" in outcome


@pytest.fixture
def pytester_run(folder: Path) -> Any:
    import subprocess
    import sys

    root = Path(__file__).parents[3]

    def run(text: str) -> str:
        (folder / "test_mine.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "backtester.causality.plugin"]
        command += ["-p", "no:cacheprovider", "--lightcone-budget", "2s", "test_mine.py"]
        import os

        path = os.pathsep.join([str(folder), str(root)])
        made = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )
        return made.stdout

    return run
