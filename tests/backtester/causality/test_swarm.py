"""The swarm: its seeds are examples, its laws bite, and what breaks one can be shown again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from backtester.causality import strategies
from backtester.causality.strategies import Example
from backtester.causality.swarm import Trial, assert_laws, try_seed
from backtester.cli import _exit_code
from clock.errors import InputError
from tests.backtester.causality.test_strategies import drawn
from tests.mutants import books_and_host, looking_ahead, order_of_time

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SEEDS = (1, 2, 5)


def counts(trial: Trial | dict[str, Any]) -> dict[str, Any]:
    told = trial if isinstance(trial, dict) else trial.to_dict()
    return {name: value for name, value in told.items() if name != "seconds"}


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return [try_seed(number) for number in SEEDS]


def test_every_law_holds_on_what_is_drawn_and_half_of_it_bites(trials: list[Trial]) -> None:
    for trial in trials:
        assert not trial.failure, trial.failure
        assert not trial.refused, trial.why_refused
    examples = sum(trial.examples for trial in trials)
    assert examples == 4 * len(SEEDS)
    assert sum(trial.has_future for trial in trials) >= examples
    assert 2 * sum(trial.filled for trial in trials) >= examples
    assert sum(trial.answers for trial in trials) >= examples


def test_a_seed_is_the_same_example_in_another_process(trials: list[Trial]) -> None:
    code = (
        "import json; from backtester.causality.swarm import try_seed; "
        f"print(json.dumps(try_seed({SEEDS[0]}).to_dict()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert counts(json.loads(done.stdout)) == counts(trials[0])


PLANTS = [
    books_and_host.fee_missing_from_our_books,
    books_and_host.request_counted_twice,
    looking_ahead.venue_one_quote_ahead,
    looking_ahead.records_before_their_receipt,
    looking_ahead.features_one_step_ahead,
    order_of_time.orders_overtake,
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_the_swarm_finds_a_defect(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = next((trial for trial in map(try_seed, range(12)) if trial.failure), None)
    assert found is not None


def quoted(example: Example) -> int:
    """Return how many different instants the quotes of the first instrument have."""
    rows = example.market.streams.get((example.market.names[0], "quotes"), [])
    return len({row["event_time"] for row in rows})


def leaking(folder: Path) -> Path:
    """Write a drawn scenario with a feature that reads ahead, as a swarm would keep it."""
    example: Example = max(drawn(strategies.scenarios(), 20, 3), key=quoted)
    file = example.write(folder)
    content = yaml.safe_load(file.read_text())
    feature = {"feature_definition": "tests.leaks.features.CentredWindow", "name": "ahead"}
    name = example.market.names[0]
    content["featurizer"] = {
        "sampling": "5ms",
        "feature_configs": [{**feature, "params": {"instrument": name}}],
    }
    content.pop("inference_config", None)
    plan = content["strategy"]["params"]["plan"]
    plan.update(loops=[], asks=None)
    file.write_text(yaml.safe_dump(content))
    return folder


def test_a_scenario_that_was_kept_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = leaking(tmp_path / "kept")
    assert _exit_code(["swarm", "--again", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "feature `ahead`" in told
    assert f"lightcone swarm --again {folder}" in told.replace("\n", "")
    monkeypatch.chdir(folder)
    with pytest.raises(AssertionError, match="feature `ahead`"):
        assert_laws("scenario.yaml")


def test_another_future_that_cannot_be_run_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise InputError("the range must hold records")

    monkeypatch.setattr("backtester.causality.probe.trace_of", refuse)
    (example,) = drawn(strategies.scenarios(steps=20), 1)
    example.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert assert_laws("scenario.yaml").has_future == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--again", "nowhere"], "`--again` must be a seed, or a folder that a swarm kept"),
        (["--minutes", "0"], "`--minutes` must be above zero"),
        (["--minutes", "inf"], "`--minutes` must be above zero and at most"),
        (["--minutes", "soon"], "--minutes"),
        (["--seed", "-3"], "--seed"),
    ],
)
def test_a_wrong_option_is_bad_input(options: list[str], told: str, capsys: Any) -> None:
    assert _exit_code(["swarm", *options]) == 2
    assert told in capsys.readouterr().err


def test_the_command_logs_its_seeds_and_tells_its_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, trials: list[Trial]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _exit_code(["swarm", "--seed", "1", "--seeds", "2", "--json"]) == 0
    totals = json.loads(capsys.readouterr().out)
    assert (totals["seeds"], totals["failures"]) == (2, [])
    logged = [json.loads(line) for line in Path(totals["log"]).read_text().splitlines()]
    assert sorted(line["seed"] for line in logged) == [1, 2]
    assert totals["examples"] == sum(trial.examples for trial in trials[:2])
    assert totals["fills"] == sum(trial.fills for trial in trials[:2])
    assert _exit_code(["swarm", "--again", "2", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["seeds"], again["fills"]) == (1, trials[1].fills)
