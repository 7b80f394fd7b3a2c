"""Bad input at the command line: one clear message, exit code 2, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from backtester.cli import main
from tests.backtester.worlds import ALPHA, MIDS, MS, START, Quote, columns, content, make_catalog

STAMPS = ("event_time", "receipt_time")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run commands from a folder of their own, that modules can be imported from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    make_catalog(tmp_path / "good", {ALPHA: [Quote(n) for n in range(20)]})
    return tmp_path


def write(mapping: dict[str, Any], name: str = "scenario.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(mapping))
    return name


def scenario(catalog: str = "good", **settings: Any) -> str:
    return write(content(catalog, [ALPHA], **settings))


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as leave:
        main(list(arguments))
    assert isinstance(leave.value.code, int)
    return leave.value.code


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs a command and returns its one message."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert code(*arguments) == 2, capsys.readouterr()
        printed = capsys.readouterr()
        assert printed.out == ""
        for word in ("Traceback", "pydantic", "function-before", "http"):
            assert word not in printed.err
        notes = ("Compiling kernels",)
        lines = [line for line in printed.err.splitlines() if not line.startswith(notes)]
        assert lines, "there is no message"
        assert all(line.startswith("lightcone: ") for line in lines), lines
        return "\n".join(line.removeprefix("lightcone: ") for line in lines)

    return run


# --- the scenario -------------------------------------------------------------------------------


def test_a_scenario_file_that_is_not_there(refused):
    for command in ("run", "train", "featurize"):
        assert "`none.yaml` must be a scenario file: there is no such file." in refused(
            command, "none.yaml"
        )


def test_an_unknown_key(refused):
    text = refused("run", scenario(sead=3))
    assert "the scenario has no key `sead`. Did you mean `seed`?" in text


def test_a_value_of_the_wrong_type(refused):
    assert "`seed` must be a valid integer: got 'two'" in refused("run", scenario(seed="two"))


def test_an_unknown_mode(refused):
    text = refused("run", scenario(), "--mode", "sideways")
    assert text == "`--mode` must be ahead or lockstep: got 'sideways'."
    text = refused("run", scenario(), "--address", "127.0.0.1:9")
    assert "`--address` belongs to loops with `backend: ray_serve`: the scenario has none" in text


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.Strategy", "there is no module 'nowhere'"),
        ("backtester.strategies.MLStrategie", "Did you mean 'MLStrategy'?"),
        ("backtester.strategies.none.Strategy", "there is no module 'backtester.strategies.none'"),
        ("MLStrategy", "must be a dotted path, module.Class"),
        (".Strategy", "must be a dotted path, module.Class"),
        ("back tester.Strategy", "must be a dotted path, module.Class"),
        ("backtester.strategies.", "must be a dotted path, module.Class"),
        ("pathlib.Path", "must be a subclass of backtester.strategy.Strategy"),
        ("backtester.strategy.Strategy", "must be a subclass of backtester.strategy.Strategy"),
    ],
)
def test_a_strategy_class_that_does_not_exist(refused, path, message):
    assert message in refused("run", scenario(strategy={"class": path}))


def test_a_strategy_file_with_a_syntax_error_is_pointed_at(refused, here):
    (here / "broken_strategy.py").write_text("class Broken:\n    def on_quote(self ctx)\n")
    text = refused("run", scenario(strategy={"class": "broken_strategy.Broken"}))
    assert f"{here / 'broken_strategy.py'}:2: " in text


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_library\n", "which needs 'no_such_library'. Install it"),
        ("\nWIDTH = HEIGHT\n", "which raises NameError, name 'HEIGHT' is not defined."),
        ("import json\njson.loads('{')\n", "which raises JSONDecodeError, Expecting property"),
    ],
)
@pytest.mark.parametrize("field", ["strategy.class", "feature_definition", "predictor_class_name"])
def test_a_module_of_ones_own_that_cannot_be_imported_is_pointed_at(
    refused, here, source, told, field
):
    name = f"own_{field.partition('.')[0]}_{len(source)}"
    (here / f"{name}.py").write_text(source)
    path = f"{name}.Own"
    changed = {
        "strategy.class": {"strategy": {"class": path}},
        "feature_definition": {"featurizer": {"feature_configs": [{"feature_definition": path}]}},
        "predictor_class_name": {
            "featurizer": {"feature_configs": [{"feature_definition": "price.MidPrice"}]},
            "inference_config": {"model_uri": "own.json", "predictor_class_name": path},
        },
    }[field]
    if field == "predictor_class_name":
        (here / "own.json").write_text("{}")
    text = refused("run", scenario(**changed))
    line = len(source.rstrip().splitlines())
    assert f"{here / name}.py:{line}: `{field}` must lead to" in text
    assert told in text


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"quantty": 3}, "has no `quantty`. Did you mean 'quantity'?"),
        ({"quantity": "three"}, "`quantity` must be a valid number: got 'three'."),
        ({"quantity": [1]}, "`quantity` must be a valid number: got a list."),
    ],
)
def test_parameters_that_a_strategy_does_not_take(refused, params, message):
    path = "backtester.strategies.BuyAndHold"
    assert message in refused("run", scenario(strategy={"class": path, "params": params}))


STRATEGIES = """
from backtester.strategy import Strategy
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from nowhere import Nothing

class Needs(Strategy):
    def __init__(self, size: float, other: "Nothing" = 3) -> None:
        if size > 3:
            raise ValueError("`size` must be at most 3")

class Columns(Strategy):
    quote_fields = ("bid_price", "ask_prise")
    def on_quote(self, ctx, quote): pass

class Bars(Strategy):
    def on_bar(self, ctx, bar): pass
"""


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("Needs", {}, "needs `size`"),
        ("Needs", {"size": 4}, "it refuses its parameters: `size` must be at most 3"),
        ("Columns", {}, "`quotes` has no column `ask_prise`. Did you mean 'ask_price'?"),
        ("Bars", {}, "needs bars of SIM.ALPHA: the catalog holds none"),
    ],
)
def test_a_strategy_that_cannot_be_had_this_way(refused, here, name, params, message):
    (here / "own_strategies.py").write_text(STRATEGIES)
    block = {"class": f"own_strategies.{name}", "params": params}
    assert message in refused("run", scenario(strategy=block))


# --- the catalog --------------------------------------------------------------------------------


def test_a_catalog_that_is_not_there(refused):
    assert "a catalog must hold `instruments.yaml`" in refused("run", scenario("nowhere"))


def test_an_instrument_that_the_catalog_does_not_know(refused):
    text = refused("run", write(content("good", ["SIM.ALPHB"])))
    assert "Did you mean 'SIM.ALPHA'?" in text


def test_an_instrument_quoted_in_another_currency(refused):
    text = refused("run", scenario(portfolio={"quote": "EUR", "balances": {"EUR": 1}}))
    assert "`portfolio.rates` must say what one USD is worth in EUR" in text


def test_a_balance_of_something_that_nothing_trades(refused):
    text = refused("run", scenario(portfolio={"quote": "USD", "balances": {"USD": 1, "EUR": 1}}))
    assert "`portfolio.rates` must say what one EUR is worth in USD" in text
    assert "Add `rates: {EUR: …}`" in text


def test_a_balance_beyond_64_bits(refused):
    assert "`portfolio.balances` must be at most" in refused("run", scenario(cash=10**13))


def test_a_range_with_no_data(refused):
    text = refused("run", scenario(start=60_000, until=61_000))
    assert "the range must hold records: got none of quotes of SIM.ALPHA" in text
    assert "The catalog has them from 2024-01-02T00:00:00Z" in text


@pytest.mark.parametrize("missing", ["fees", "tick_size", "lot_size"])
def test_an_instrument_without_fees_or_sizes(refused, here, missing):
    file = here / "good" / "instruments.yaml"
    definitions = yaml.safe_load(file.read_text())
    del definitions["instruments"][0][missing]
    file.write_text(yaml.safe_dump(definitions))
    text = refused("run", scenario())
    assert f"instrument SIM.ALPHA: `{missing}` must be stated: got nothing" in text


def parquet(here: Path, change: Callable[[dict[str, Any]], None], rows: int = 6) -> None:
    """Put a Parquet file of another maker into the good catalog, with one thing changed."""
    table: dict[str, Any] = columns([Quote(n, received=n + 2) for n in range(6)])
    table = {name: values[:rows].copy() for name, values in table.items()}
    change(table)
    arrays = {}
    for name, values in table.items():
        kind = pa.timestamp("ns", "UTC") if name in STAMPS else None
        arrays[name] = pa.array(values.tolist() if kind else values, type=kind)
    [part] = (here / "good").rglob("part-*.parquet")
    pq.write_table(pa.table(arrays), part)


def put(name: str, value: Any, row: int = 3) -> Callable[[dict[str, Any]], None]:
    def change(table: dict[str, Any]) -> None:
        table[name] = np.array(table[name], dtype=object if value is None else None)
        table[name][row] = value

    return change


MARKETS = {
    "unsorted stamps": (put("event_time", START - 5 * MS), "`event_time`"),
    "receipt before event": (put("receipt_time", START + 1), "`receipt_time` must not be before"),
    "crossed book": (put("bid_price", 102.0), "`bid_price`"),
    "zero price": (put("bid_price", 0.0), "`bid_price` must be"),
    "negative price": (put("ask_price", -1.0), "`ask_price`"),
    "price that is NaN": (put("ask_price", np.nan), "`ask_price` must be a finite number: got nan"),
    "infinite price": (put("ask_price", np.inf), "`ask_price` must be a finite number: got inf"),
    "zero quantity": (put("ask_quantity", 0.0), "`ask_quantity`"),
    "price between ticks": (put("ask_price", 101.3), "`ask_price` must be a multiple"),
    "quantity between lots": (put("bid_quantity", 0.15), "`bid_quantity` must be a multiple"),
    "missing stamp": (put("receipt_time", None), "`receipt_time`"),
    "no receipt column": (lambda table: table.pop("receipt_time"), "`receipt_time`"),
    "no price column": (lambda table: table.pop("ask_price"), "`ask_price`"),
}


@pytest.mark.parametrize(("change", "message"), MARKETS.values(), ids=MARKETS)
def test_market_data_that_breaks_a_rule(refused, here, change, message):
    parquet(here, change)
    text = refused("run", scenario())
    assert message in text
    assert "part-00000.parquet" in text


def test_an_empty_parquet_file(refused, here):
    parquet(here, lambda table: None, rows=0)
    assert "part-00000.parquet" in refused("run", scenario())


@pytest.mark.parametrize("content_", [b"", b"PAR1", b"not a table at all" * 9])
def test_a_file_that_is_no_parquet(refused, here, content_):
    [part] = (here / "good").rglob("part-*.parquet")
    part.write_bytes(content_)
    text = refused("run", scenario())
    assert "part-00000.parquet" in text


def test_a_latency_file_that_is_not_there(refused):
    latency = {"kind": "empirical", "path": "none.parquet", "column": "x"}
    assert "none.parquet" in refused("run", scenario(entry=latency))


# --- synthetic markets ----------------------------------------------------------------------------


def synthetic(**settings: Any) -> str:
    mapping = content("made", [ALPHA], until=2000)
    market = {"seed": 1, "duration": "3s", "start": mapping["data"]["start"]}
    mapping["data"]["synthetic"] = market | settings
    return write(mapping)


@pytest.mark.slow
def test_a_catalog_made_of_another_synthetic_market_is_not_used_for_this_one(refused, here):
    assert code("run", synthetic(), "--no-report") == 0
    assert code("run", synthetic(), "--no-report") == 0
    text = refused("run", synthetic(seed=2, duration="4s"))
    assert "`data.synthetic` must be what made was made of: got another `seed`, `duration`" in text
    assert not [p for p in here.iterdir() if p.name.startswith(".made")]


def test_a_catalog_of_real_data_is_not_taken_for_a_synthetic_market(refused, here):
    (here / "good").rename(here / "made")
    assert "that catalog was not made by a scenario" in refused("run", synthetic())


def test_a_folder_of_something_else_is_not_filled_with_a_market(refused, here):
    (here / "made").mkdir()
    (here / "made" / "thesis.txt").write_text("mine")
    assert "must be a new folder for a synthetic market" in refused("run", synthetic())
    assert [p.name for p in (here / "made").iterdir()] == ["thesis.txt"]


# --- where results go -----------------------------------------------------------------------------


def test_a_result_is_not_written_over_something_else(refused, here):
    (here / "foreign").mkdir()
    (here / "foreign" / "thesis.txt").write_text("mine")
    text = refused("run", scenario(), "--out", "foreign")
    assert "foreign holds other files (thesis.txt)" in text
    assert (here / "foreign" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("out", [".", "..", "/", "good/.."])
def test_a_result_does_not_replace_the_folder_that_one_works_in(refused, here, out):
    (here / "summary.json").write_text("{}")
    assert "which holds the present folder" in refused("run", scenario(), "--out", out)
    assert (here / "good" / "instruments.yaml").exists()


def test_a_result_is_not_written_over_a_file(refused, here):
    (here / "taken").write_text("mine")
    text = refused("run", scenario(), "--out", "taken")
    assert "`--out` must be a folder: taken is a file" in text
    assert "writable" in refused("run", scenario(), "--out", "taken/below", "--no-report")


# --- the other commands ---------------------------------------------------------------------------


def test_features_of_a_scenario_that_has_none(refused):
    assert "`featurizer` must be given" in refused("featurize", scenario())


def test_features_are_not_written_over_something_else(refused):
    text = refused("featurize", scenario(featurizer=MIDS), "--out", "good")
    assert "good holds other files (instruments.yaml, quotes)" in text
    Path("taken.parquet").mkdir()
    text = refused("featurize", scenario(featurizer=MIDS), "--out", "taken.parquet")
    assert "`--out` must be a file: taken.parquet is a folder" in text


def test_a_training_that_is_not_described(refused):
    assert "it has no `training`" in refused("train", scenario(featurizer=MIDS))


def test_a_catalog_to_describe_that_is_not_there(refused):
    assert "a catalog must hold `instruments.yaml`" in refused("data", "describe", "nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--duration", "3"], "`duration` is refused: a duration is a number and one of the units"),
        (["--duration", "0s"], "`duration` must be positive"),
        (["--start", "yesterday"], "got 'yesterday'"),
        (["--instrument", "no/id"], "`id` must match pattern"),
    ],
)
def test_a_synthetic_market_that_cannot_be_made(refused, here, arguments, message):
    assert message in refused("data", "synth", "new", *arguments)
    assert not (here / "new").exists()


def ingest(*arguments: str, kind: str = "binance-capture", file: str = "none.gz") -> list[str]:
    name = "BINANCE.BTCUSDT-PERP"
    return ["data", "ingest", kind, file, "--instrument", name, "--catalog", "new", *arguments]


def test_a_format_without_an_adapter(refused):
    text = refused(*ingest(kind="binance-captur"))
    assert "Did you mean 'binance-capture'?" in text


def test_a_capture_that_is_not_there(refused):
    assert "none.gz" in refused(*ingest())


@pytest.mark.parametrize("option", ["--clock-offset", "--min-feed-latency", "--max-lateness"])
def test_an_option_that_is_no_duration_is_named(refused, option):
    text = refused(*ingest(option, "3"))
    assert text.startswith(f"`{option}`: a duration is a number") or f"`{option}`: a dur" in text


@pytest.mark.parametrize("content_", [b"", b"\x1f\x8b\x08 broken", b"1 {not json}\n", b"words\n"])
def test_a_capture_that_is_none(refused, here, content_):
    (here / "capture.gz").write_bytes(content_)
    assert "capture.gz" in refused(*ingest(file="capture.gz"))
