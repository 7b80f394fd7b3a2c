"""The command line, from a scenario to a saved result."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
import yaml

import backtester.report.picture
from backtester.cli import main
from backtester.result import load_result
from backtester.scenario import Scenario
from tests.backtester.worlds import ALPHA, MIDS, Quote, at, content, make_catalog

ROOT = Path(__file__).parents[2]
COMMAND = "from backtester.cli import main; main()"
FRAMES = (
    "orders",
    "order_changes",
    "fills",
    "payments",
    "reports",
    "equity",
    "predictions",
    "attempts",
    "deployment_changes",
    "records",
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run commands from a folder of their own, with a small catalog in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    quotes = [Quote(n * 10, bid=90 + n % 9, ask=100 + n % 9) for n in range(400)]
    make_catalog(tmp_path / "market", {ALPHA: quotes})
    return tmp_path


def write(**settings: Any) -> str:
    Path("small.yaml").write_text(
        yaml.safe_dump(content("market", [ALPHA], **({"until": 4000} | settings)))
    )
    return "small.yaml"


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leave:
        main(list(arguments))
    assert isinstance(leave.value.code, int)
    return leave.value.code


@pytest.mark.slow
def test_a_run_writes_its_frames_its_numbers_and_a_picture(here, capsys):
    assert code("run", write()) == 0
    folder = here / "runs" / "small"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{name}.parquet" for name in FRAMES} | {
        "summary.json",
        "scenario.json",
        "report.png",
    }
    assert (folder / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    printed = capsys.readouterr()
    assert "small" in printed.out
    assert "Saved to runs/small" in printed.err


def test_json_stands_alone_on_standard_output(capsys):
    assert code("run", write(), "--json", "--no-report") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads(Path("runs/small/summary.json").read_text())
    wanted = {
        *("trace_digest", "events", "feature_rows", "orders", "fills", "profit", "fees", "sharpe"),
        *("max_drawdown", "predictions", "latency_ms", "staleness_ms", "information_coefficient"),
        "information_coefficient_ci",
    }
    assert wanted <= set(summary)
    outcomes = ("completed", "timed_out", "rejected", "failed", "replaced", "in_flight")
    assert set(summary["predictions"]) == {"submitted", *outcomes}
    assert set(summary["latency_ms"]) == set(summary["staleness_ms"]) == {"p50", "p95", "p99"}


def test_the_json_of_a_run_without_money_or_orders_is_valid_json(capsys, here):
    (here / "idle_strategy.py").write_text(
        "from backtester.strategy import Strategy\nclass Idle(Strategy): pass\n"
    )
    scenario = write(cash=0, strategy={"class": "idle_strategy.Idle"})
    assert code("run", scenario, "--json", "--no-report") == 0
    text = capsys.readouterr().out

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    summary = json.loads(text, parse_constant=refuse)
    assert summary["profit"] == 0
    assert summary["return"] is None


@pytest.mark.slow
def test_a_result_of_an_earlier_version_is_refused_in_one_line(here, capsys):
    assert code("run", write(), "--no-report") == 0
    (here / "runs" / "small" / "order_changes.parquet").unlink()
    capsys.readouterr()
    assert code("explain", "runs/small", "1") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_saved_result_is_read_back_as_it_was(here):
    assert code("run", write(), "--no-report", "--out", "kept/one") == 0
    result = load_result(here / "kept" / "one")
    assert result.orders["status"].to_list() == ["filled"]
    assert result.fills["price"].to_list() == [100.0]
    assert result.orders.schema["sent_at"] == pl.Datetime("ns", "UTC")
    assert result.orders["sent_at"].to_physical().to_list() == [at(0)]
    assert result.summary["trace_digest"] == result.trace_digest
    assert result.scenario["name"] == "small"


def test_a_result_replaces_an_earlier_one_and_leaves_nothing_beside_it(here):
    for _ in range(2):
        assert code("run", write(), "--no-report", "--out", "kept/one") == 0
    assert [path.name for path in (here / "kept").iterdir()] == ["one"]


def test_a_picture_that_fails_leaves_the_old_result_untouched(here, monkeypatch):
    assert code("run", write(), "--no-report") == 0
    folder = here / "runs" / "small"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(result: Any, path: Path) -> None:
        path.write_bytes(b"half a picture")
        raise RuntimeError("no ink")

    monkeypatch.setattr(backtester.report.picture, "draw_report", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        main(["run", write(seed=5)])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


@pytest.mark.slow
@pytest.mark.parametrize("features", [None, MIDS], ids=["plain", "features"])
def test_a_report_can_be_drawn_of_a_run_in_which_nothing_happened(here, features):
    (here / "still_strategy.py").write_text(
        "from backtester.strategy import Strategy\nclass Still(Strategy): pass\n"
    )
    scenario = write(strategy={"class": "still_strategy.Still"}, featurizer=features, until=5)
    assert code("run", scenario) == 0
    assert (here / "runs" / "small" / "report.png").stat().st_size > 10_000


def test_an_override_changes_the_answer(capsys):
    profits = []
    for quantity in (1, 2):
        setting = f"strategy.params.quantity={quantity}"
        assert code("run", write(), "--json", "--no-report", "--set", setting) == 0
        profits.append(json.loads(capsys.readouterr().out)["profit"])
    assert profits[1] == pytest.approx(2 * profits[0])


def test_the_answer_depends_neither_on_windows_nor_on_mode_nor_on_the_folder(capsys, here):
    digests = set()
    (here / "market").rename(here / "elsewhere")
    for arguments in ([], ["--window-rows", "7"], ["--mode", "lockstep"]):
        setting = ["--set", "data.catalog=elsewhere", "--no-report", "--json"]
        assert code("run", write(featurizer=MIDS), *setting, *arguments) == 0
        digests.add(json.loads(capsys.readouterr().out)["trace_digest"])
    assert len(digests) == 1


def test_the_sharpe_ratio_counts_the_last_period_of_a_run_of_whole_periods(here, capsys):
    assert code("run", write(until=4000), "--json", "--no-report") == 0
    summary = json.loads(capsys.readouterr().out)
    curve = load_result(here / "runs" / "small").equity["equity"].to_list()
    returns = [after / before - 1 for before, after in itertools.pairwise(curve)]
    assert len(returns) == 4
    mean = sum(returns) / 4
    deviation = (sum((r - mean) ** 2 for r in returns) / 3) ** 0.5
    assert summary["sharpe"] == pytest.approx(mean / deviation * (365 * 86_400) ** 0.5)


FAILING = """
from backtester.strategy import Strategy

class Divides(Strategy):
    def on_quote(self, ctx, quote):
        if ctx.now >= {instant}:
            self.helper()

    def helper(self):
        return 1 / 0

class Orders(Strategy):
    def on_start(self, ctx):
        ctx.call_at({instant})

    def on_timer(self, ctx, name):
        ctx.buy("SIM.ALPHA", 0.123)
"""


@pytest.mark.parametrize(
    ("name", "callback", "line"),
    [
        ("Divides", "on_quote", "return 1 / 0"),
        ("Orders", "on_timer", 'ctx.buy("SIM.ALPHA", 0.123)'),
    ],
)
def test_an_exception_in_a_strategy_exits_1_and_shows_its_traceback(
    here, capsys, name, callback, line
):
    (here / "failing_strategies.py").write_text(FAILING.format(instant=at(50)))
    assert code("run", write(strategy={"class": f"failing_strategies.{name}"})) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "failing_strategies.py" in printed.err
    assert line in printed.err
    frames = [text for text in printed.err.splitlines() if text.startswith("  File ")]
    assert "failing_strategies.py" in frames[0]
    assert f"`{name}.{callback}` raised " in printed.err.splitlines()[-1]
    assert "at 2024-01-02T00:00:00.05Z" in printed.err.splitlines()[-1]
    assert not (here / "runs").exists()


def test_features_are_written_with_their_instants(here, capsys):
    config = MIDS | {"label_feature": "mid", "label_lookahead": "20ms"}
    assert code("featurize", write(featurizer=config), "--json", "--out", "f.parquet") == 0
    told = json.loads(capsys.readouterr().out)
    frame = pl.read_parquet("f.parquet")
    assert told == {"path": "f.parquet", "rows": 400, "columns": frame.columns}
    assert {"emitted_at", "visible_at", "mid", "imbalance", "label", "label_visible_at"} <= set(
        frame.columns
    )
    label = frame["label"].to_list()
    mids = frame["mid"].to_list()
    assert label[:50] == [mids[n + 2] - mids[n] for n in range(50)]


def test_features_are_written_by_day_and_looked_over(here, capsys):
    config = MIDS | {"label_feature": "mid", "label_lookahead": "20ms"}
    assert code("featurize", write(featurizer=config), "--leaks") == 0
    printed = capsys.readouterr()
    assert "400 rows, 398 labelled" in printed.out
    assert "Saved to runs/small-features, 1 file." in printed.err
    assert "No sign of a leak" in printed.err
    (part,) = (here / "runs" / "small-features").glob("date=2024-01-02/part-*.parquet")
    assert len(pl.read_parquet(part)) == 400


def test_a_feature_that_is_the_label_fails_the_look_for_leaks(here, capsys):
    config = MIDS | {"label_feature": "mid", "label_lookahead": "20ms", "label": "level"}
    cheat = {"feature_definition": "price.MidPrice", "name": "late", "params": {}}
    config["feature_configs"] = [*MIDS["feature_configs"], cheat]
    quotes = [Quote(n * 10, bid=90 + n // 9, ask=100 + n // 9) for n in range(400)]
    make_catalog(here / "rising", {ALPHA: quotes})
    Path("rising.yaml").write_text(
        yaml.safe_dump(content("rising", [ALPHA], until=4000, featurizer=config))
    )
    assert code("featurize", "rising.yaml", "--leaks", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert {(leak["kind"], leak["where"]) for leak in told["leaks"]} == {
        ("correlation", "mid"),
        ("correlation", "late"),
    }


def test_the_features_are_drawn(here, capsys):
    lag = {"feature_definition": "smoothing.Lag", "params": {"feature": "mid", "lag": "1s"}}
    config = MIDS | {"feature_configs": [*MIDS["feature_configs"], lag]}
    assert code("featurize", write(featurizer=config), "--graph") == 0
    assert "Lag  Lag (1s)\n└─ ↑ mid\n" in capsys.readouterr().out
    assert code("featurize", write(featurizer=config), "--mermaid") == 0
    assert capsys.readouterr().out.startswith("flowchart LR\n")
    assert not (here / "runs").exists()


@pytest.mark.slow
def test_a_synthetic_market_is_made_and_described(here, capsys):
    assert code("data", "synth", "made", "--duration", "2s", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert code("data", "describe", "made", "--json") == 0
    assert json.loads(capsys.readouterr().out) == made
    assert {(s["instrument"], s["kind"]) for s in made} == {
        ("SIM.ALPHA", "quotes"),
        ("SIM.ALPHA", "trades"),
    }
    assert code("data", "describe", "made") == 0
    assert "SIM.ALPHA" in capsys.readouterr().out


def test_the_schema_is_printed_and_is_json_schema(capsys):
    assert code("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == Scenario.model_json_schema(by_alias=True)
    jsonschema.validators.validator_for(schema).check_schema(schema)


@pytest.fixture(scope="module")
def validator():
    """Return what holds mappings against the schema: to make it costs more than to use it."""
    schema = Scenario.model_json_schema(by_alias=True)
    return jsonschema.validators.validator_for(schema)(schema)


@pytest.mark.parametrize("file", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_schema_accepts_our_scenarios(validator, file):
    mapping = yaml.load(file.read_text(), _PlainLoader)
    polling = mapping.get("inference_config", {}).get("polling")
    if isinstance(polling, str):  # the next test's
        mapping["inference_config"]["polling"] = {"kind": polling}
    validator.validate(mapping)


@pytest.mark.parametrize("polling", ["on_feature", {"every": "50ms"}])
def test_the_schema_accepts_the_short_forms_of_polling(validator, polling):
    loop = {"model_uri": "models:/m/1", "polling": polling}
    validator.validate(content("market", [ALPHA], inference=loop))


def test_the_schema_finds_an_unknown_key(validator):
    mapping = content("market", [ALPHA]) | {"sead": 3}
    with pytest.raises(jsonschema.ValidationError, match="sead"):
        validator.validate(mapping)


class _PlainLoader(yaml.SafeLoader):
    """YAML whose instants stay text, as ours."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith("timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


# --- as a process of its own ----------------------------------------------------------------------


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["data", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    heavy = ("numba", "numpy", "polars", "pyarrow", "mlflow", "xgboost", "matplotlib")
    program = (
        "import sys\nfrom backtester.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        f"finally:\n    print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    done = process("-c", program)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "[]"
    assert "Usage" in done.stdout


@pytest.mark.slow
def test_another_process_with_another_hash_seed_gives_the_same_digest():
    digests = set()
    for seed in ("1", "2"):
        arguments = ("run", write(featurizer=MIDS), "--json", "--no-report")
        done = process("-c", COMMAND, *arguments, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        digests.add(json.loads(done.stdout)["trace_digest"])
    assert len(digests) == 1


@pytest.mark.slow
def test_a_process_leaves_with_the_code_of_its_failure():
    done = process("-c", COMMAND, "run", "none.yaml")
    assert done.returncode == 2
    assert done.stderr == (
        "lightcone: `none.yaml` must be a scenario file: there is no such file.\n"
    )
    assert process("-c", COMMAND, "rum").returncode == 2
