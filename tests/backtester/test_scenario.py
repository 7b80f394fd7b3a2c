"""What a scenario file says, and what is said about one that cannot be run."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from backtester.errors import ScenarioError
from backtester.scenario import Scenario, load_scenario
from clock.latency import Constant, Lognormal

TEXT = """\
name: small
seed: 3
data:
  catalog: data/small
  instruments: [SIM.ALPHA, SIM.BETA]
  start: 2024-01-01T00:00:00Z
  until: 2024-01-01T01:00:00Z
training:
  start: 2023-12-31T00:00:00Z
  until: 2023-12-31T12:00:00Z
  model: small
featurizer:
  sampling: 100ms
  label_feature: mid
  label_lookahead: 1s
  feature_configs:
    - {feature_definition: price.MidPrice, name: mid}
    - feature_definition: flow.TradeVolumeImbalance
      name: flow
      params: {window: 1s}
inference_config:
  deployment_name: small
  model_uri: models:/small/1
  predictor_class_name: XGBoostPredictor
  num_replicas: 2
  polling:
    kind: every
    period: 50ms
  service_time:
    kind: lognormal
    median: 4ms
    p99: 20ms
  network: {out: 1ms, back: 2ms}
strategy:
  class: backtester.strategies.MLStrategy
  params: {buy_delta: 0.5}
execution:
  entry_latency: 2ms
  response_latency:
    kind: sum
    terms: [1ms, {kind: gamma, mean: 1ms, shape: 2}]
portfolio: {quote: USDT, balances: {USDT: 100000}}
"""
LINES = TEXT.splitlines()
FORBIDDEN = ("pydantic", "Traceback", "function-before", "http", "Value error", "tagged-union")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the file of a scenario in which nothing is wrong."""
    file = tmp_path / "small.yaml"
    file.write_text(TEXT)
    return file


def line_of(part: str) -> int:
    """Return the only line that holds some text."""
    found = [number for number, line in enumerate(LINES, 1) if part in line]
    assert len(found) == 1, (part, found)
    return found[0]


def fault(path: Path, *settings: str) -> str:
    """Return what is said about a scenario, which is never the validator's own jargon."""
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, settings)
    text = str(caught.value)
    assert not [word for word in FORBIDDEN if word in text], text
    return text


def spoilt(path: Path, old: str, new: str) -> str:
    """Return what is said when one piece of the file reads otherwise."""
    assert TEXT.count(old) == 1, old
    path.write_text(TEXT.replace(old, new))
    return fault(path)


def test_a_scenario_reads_as_written(path):
    scenario = load_scenario(path)
    loop = scenario.inference_config["main"]
    assert scenario.data.until - scenario.data.start == 3_600_000_000_000
    assert isinstance(loop.service_time, Lognormal)
    assert isinstance(scenario.execution.entry_latency, Constant)
    assert loop.polling.period == 50_000_000
    assert loop.deployment_name == "small"


def test_the_shorthand_of_one_loop_means_a_map_of_one_loop(path):
    mapping = yaml.safe_load(TEXT)
    short = copy.deepcopy(mapping)
    mapping["inference_config"] = {"main": mapping["inference_config"]}
    for content in (short, mapping):
        for stamp in ("start", "until"):
            for block in ("data", "training"):
                content[block][stamp] = content[block][stamp].isoformat()
    assert Scenario.model_validate(short) == Scenario.model_validate(mapping)


def test_a_resolved_scenario_is_a_scenario_and_the_same_one(path):
    scenario = load_scenario(path)
    again = Scenario.model_validate(scenario.resolved())
    assert again == scenario
    assert again.digest() == scenario.digest()


def test_a_resolved_scenario_without_models_is_a_scenario_too(path):
    mapping = yaml.load(TEXT, yaml.BaseLoader)
    for name in ("inference_config", "featurizer", "training"):
        del mapping[name]
    scenario = Scenario.model_validate(mapping)
    assert Scenario.model_validate(scenario.resolved()) == scenario


def test_the_digest_knows_every_setting_and_no_path(path):
    digest = load_scenario(path).digest()
    assert load_scenario(path, ["data.catalog=elsewhere"]).digest() == digest
    for change in ("seed=4", "strategy.params.buy_delta=0.6", "inference_config.network.out=2ms"):
        assert load_scenario(path, [change]).digest() != digest


def test_the_same_latency_in_other_words_has_the_same_digest(path):
    other = ["execution.entry_latency={kind: constant, latency: 2000us}"]
    assert load_scenario(path, other).digest() == load_scenario(path).digest()


# --- unknown keys ---------------------------------------------------------------------------------

DEPTHS = {
    "name": ("seed: 3", "sead: 3", "the scenario has no key `sead`", "seed"),
    "data": ("  until: 2024-01-01T01", "  untill: 2024-01-01T01", "data has no key", "until"),
    "training": ("  model: small", "  modell: small", "training has no key `modell`", "model"),
    "featurizer": ("  sampling: 100", "  samplin: 100", "featurizer has no key", "sampling"),
    "feature": ("      name: flow", "      nam: flow", "feature_configs.1 has no key", "name"),
    "inference": ("  num_replicas", "  num_replica", "inference_config has no key", "num_replicas"),
    "polling": ("    period: 50ms", "    perod: 50ms", "polling has no key `perod`", "period"),
    "latency": ("    p99: 20ms", "    p98: 20ms", "service_time has no key `p98`", "p99"),
    "network": ("{out: 1ms, ", "{aut: 1ms, ", "network has no key `aut`", "out"),
    "strategy": ("  params: {buy", "  parms: {buy", "strategy has no key `parms`", "params"),
    "term": (", shape: 2}", ", shap: 2}", "terms.1 has no key `shap`", "shape"),
    "execution": ("  entry_latency", "  entry_latancy", "execution has no key", "entry_latency"),
    "portfolio": ("{quote: ", "{qoute: ", "portfolio has no key `qoute`", "quote"),
}


@pytest.mark.parametrize(("old", "new", "message", "near"), DEPTHS.values(), ids=DEPTHS)
def test_an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one(
    path, old, new, message, near
):
    text = spoilt(path, old, new)
    [line] = [line for line in text.splitlines() if message in line]
    assert line.startswith(f"{path}:{line_of(old)}: ")
    assert f"Did you mean `{near}`?" in line
    assert "Known keys: " in line
    assert near in line.partition("Known keys: ")[2].removesuffix(".").split(", ")


def test_an_unknown_key_of_a_named_loop_is_found_there(path):
    loop = "inference_config: {slow: {model_uri: m, num_replica: 2}}\n"
    start = TEXT.index("inference_config:")
    path.write_text(TEXT[:start] + loop + TEXT[TEXT.index("strategy:") :])
    text = fault(path)
    assert "inference_config.slow has no key `num_replica`. Did you mean `num_replicas`?" in text


def test_every_fault_is_told_and_each_once(path):
    path.write_text(
        TEXT.replace("seed: 3", "sead: 3").replace("num_replicas: 2", "num_replicas: x")
    )
    lines = fault(path).splitlines()
    assert len(lines) == 2


# --- missing, wrong, out of order -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "missing", "owner"),
    [
        ("name: small\nseed", "name", "the scenario"),
        ("  catalog: data/small\n", "catalog", "data"),
        ("  until: 2024-01-01T01:00:00Z\n", "until", "data"),
        ("  model_uri: models:/small/1\n", "model_uri", "inference_config"),
        ("  class: backtester.strategies.MLStrategy\n", "class", "strategy"),
        ("feature_definition: price.MidPrice, ", "feature_definition", "feature_configs.0"),
        ("quote: USDT, ", "quote", "portfolio"),
        ("    median: 4ms\n", "median", "inference_config.service_time"),
    ],
)
def test_a_missing_key_is_named_with_the_block_that_lacks_it(path, old, missing, owner):
    text = spoilt(path, old, "seed" if old.endswith("seed") else "")
    assert re.search(rf"{re.escape(str(path))}:\d+: `{missing}` is missing from ", text)
    assert f"{owner}. Add it." in text


WRONG = {
    "seed: 3": ("seed: three", "`seed` must be a valid integer: got 'three'."),
    "num_replicas: 2": ("num_replicas: 0", "must be greater than or equal to 1: got 0."),
    "  sampling: 100ms": ("  sampling: 100", "a duration needs a unit: got 100"),
    "[SIM.ALPHA, SIM.BETA]": ("SIM.ALPHA", "`data.instruments` must be a list: got 'SIM.ALPHA'."),
    ", SIM.BETA]": (", SIM.ALPHA]", "`instruments` must be distinct"),
    "{buy_delta: 0.5}": ("0.5", "`strategy.params` must be a mapping of keys to values: got 0.5."),
    "price.MidPrice": ("price.MidPrise", "MidPrice"),
    "label_feature: mid": ("label_feature: mit", "'mit'"),
    "{USDT: 100000}": ("{USDT: lots}", "`portfolio.balances.USDT` must be a valid decimal"),
    "balances: {USDT: 100000}": ("balances: {}", "`portfolio.balances` must have at least 1 item"),
    "USDT: 100000": ("USDT: -1", "`portfolio.balances.USDT` must be greater than or equal to 0"),
    "name: small\nseed": ("name: ../../x\nseed", "`name` must match"),
    "{out: 1ms, back: 2ms}": ("7", "must be a mapping of keys to values: got 7."),
    "{window: 1s}": ("{windw: 1s}", "windw"),
    "until: 2023-12-31T12": ("until: 2023-12-30T12", "`training.until` must be after"),
    "start: 2024-01-01T00:00:00Z": ("start: 2024-01-01T00:00:00", "an instant needs a time zone"),
    "  until: 2024-01-01T01:00:00Z": ("  until: 2024-13-01T01:00:00Z", "on the calendar"),
}


@pytest.mark.parametrize(("old", "new", "message"), [(o, *n) for o, n in WRONG.items()])
def test_a_wrong_value_is_refused_with_its_line(path, old, new, message):
    text = spoilt(path, old, new)
    assert message in text
    assert re.match(rf"{re.escape(str(path))}:\d+: ", text)


def test_a_value_is_pointed_at_and_not_the_block_around_it(path):
    text = spoilt(path, "num_replicas: 2", "num_replicas: two")
    assert text.startswith(f"{path}:{line_of('num_replicas: 2')}: ")


def test_a_run_that_ends_before_it_starts_is_refused(path):
    text = spoilt(path, "until: 2024-01-01T01:00:00Z", "until: 2023-06-01T00:00:00Z")
    assert "`data.until` must be after `data.start`: got 2023-06-01T00:00:00Z" in text
    assert "start is 2024-01-01T00:00:00Z" in text


def test_a_run_of_no_length_is_refused(path):
    assert "must be after" in spoilt(path, "2024-01-01T01:00:00Z", "2024-01-01T00:00:00Z")


LATENCIES = {
    "20": "a duration needs a unit: got 20. Write it as '20ms'.",
    "20 parsecs": "got '20 parsecs'",
    "-1ms": "a duration must not be negative: got '-1ms'",
    "{kind: lognorml, median: 4ms, p99: 9ms}": "got 'lognorml'. Did you mean 'lognormal'?",
    "{median: 4ms, p99: 9ms}": "`kind` of a latency must be one of constant, uniform, lognormal",
    "{kind: lognormal, median: 9ms, p99: 4ms}": "`p99` must not be below `median`",
    "{kind: lognormal, median: 9 parsecs, p99: 4ms}": "got '9 parsecs'",
    "{kind: gamma, mean: 4ms, shape: -1}": "must be greater than 0: got -1.",
    "{kind: gamma, mean: 4ms}": "`shape` is missing from inference_config.service_time. Add it.",
    "{kind: sum, terms: []}": "must have at least 1 item",
    "{kind: sum, terms: [{kind: sun, terms: [1ms]}]}": "got 'sun'. Did you mean 'sum'?",
    "[1ms, 2ms]": "a latency is a duration or a model with a `kind`",
    "null": "a latency is a duration or a model with a `kind`",
}


@pytest.mark.parametrize(("value", "message"), LATENCIES.items())
def test_a_latency_that_is_none_is_refused_in_the_words_of_its_kind(path, value, message):
    text = fault(path, f"inference_config.service_time={value}")
    assert message in text
    assert len(text.splitlines()) == 1
    assert text.startswith("--set inference_config.service_time: ")


BACKWARDS = "{start: 2024-01-01T00:00:02Z, until: 2024-01-01T00:00:01Z}"
EXECUTIONS = {
    "latency.cancel=3 parsecs": "`execution.latency.cancel` is refused: a latency is a duration",
    "latency={nwe: 3ms}": "execution.latency has no key `nwe`. Did you mean `new`?",
    "decision_latency=3": "a duration needs a unit: got 3. Write it as '3ms'.",
    "rate_limit={orders: 0, per: 1s}": "`execution.rate_limit.orders` must be greater than",
    "rate_limit={orders: 1, per: 0s}": "`per` must be above zero: got 0s",
    "overload={quotes: 3, per: 1s}": "`execution.overload` must say its `kind`: got a mapping",
    "overload={kind: activty, quotes: 3, per: 1s}": "got 'activty'. Did you mean 'activity'?",
    "overload={kind: activity, quotes: 3}": "`per` is missing from execution.overload. Add it.",
    "overload={kind: declared, during: []}": "must have at least 1 item",
    "overload={kind: activity, quotes: 3, per: 1s, refuses: 2}": "must be less than or equal to 1",
    f"overload={{kind: declared, during: [{BACKWARDS}]}}": "`until` must be after `start`: got ",
}


@pytest.mark.parametrize(("setting", "message"), EXECUTIONS.items())
def test_an_execution_that_makes_no_sense_is_refused_in_one_line(path, setting, message):
    text = fault(path, f"execution.{setting}")
    assert message in text
    assert len(text.splitlines()) == 1


SAMPLINGS = {
    "{input: quotes, every: x}": "`featurizer.sampling.every` must be a valid integer: got 'x'.",
    "{input: quotes, evry: 2}": "featurizer.sampling has no key `evry`. Did you mean `every`?",
    "{instrument: SIM.ALPHA}": "`input` is missing from featurizer.sampling",
    "{input: 3}": "`featurizer.sampling.input` must be a valid string: got 3.",
    "rwa": "got 'rwa'",
}


@pytest.mark.parametrize(("value", "message"), SAMPLINGS.items())
def test_a_union_without_kinds_is_told_in_its_keys_too(path, value, message):
    assert message in fault(path, f"featurizer.sampling={value}")


@pytest.mark.parametrize("where", ["report", "featurizer"])
def test_a_grid_of_absurdly_many_points_is_refused_before_it_is_made(path, where):
    text = fault(path, f"{where}.sampling=1ns")
    assert f"`{where}.sampling` must give at most 50,000,000 points: got one every 1ns" in text


# --- the file -------------------------------------------------------------------------------------


def test_a_key_given_twice_is_refused_with_both_lines(path):
    text = spoilt(path, "  num_replicas: 2\n", "  num_replicas: 2\n  num_replicas: 3\n")
    line = line_of("num_replicas: 2")
    assert f"{path}:{line + 1}: `num_replicas` must be given once" in text
    assert f"it stands at line {line} already" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold a mapping"),
        ("- a\n- b\n", "must hold a mapping"),
        ("name: [1\n", ":2: the file must be YAML"),
        ("name: a\n\tseed: 1\n", ":2: the file must be YAML"),
        ("a: *nowhere\n", "found undefined alias"),
        ("a: &a {b: *a}\n", "`a.b` must not contain itself"),
        ("? [a, b]\n: 1\n", "a key must be text"),
        ("name: !!int x\n", "the file must be YAML"),
        ("name: !!python/object:os.system x\n", "the file must be YAML"),
        ("name: \x00\n", "the file must be YAML"),
        ("name: a\n---\nname: b\n", "the file must be YAML"),
        ("1: 2\n", "`1` must have text for its keys"),
    ],
)
def test_a_file_that_holds_no_scenario_is_refused_as_one(path, content, message):
    path.write_text(content)
    assert message in fault(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "there is no such file" in fault(tmp_path / "none.yaml")


def test_a_folder_is_no_scenario(tmp_path):
    assert "must be a scenario file: it is a folder" in fault(tmp_path)


def test_bytes_are_no_scenario(path):
    path.write_bytes(b"\xff\xfe\x00name")
    assert "must be a text file, in UTF-8" in fault(path)


def json_like() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab1 :{", max_size=5)
    return st.recursive(
        leaves, lambda kids: st.lists(kids, max_size=2) | st.dictionaries(st.text("ab"), kids)
    )


def leaves_of(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(node, dict):
        below = [leaves_of(value, (*path, key)) for key, value in node.items()]
    elif isinstance(node, list):
        below = [leaves_of(value, (*path, place)) for place, value in enumerate(node)]
    else:
        below = []
    return [path, *(leaf for part in below for leaf in part)]


@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_part_replaced_by_anything_is_accepted_or_refused_in_our_words(path, data):
    mapping = yaml.load(TEXT, yaml.BaseLoader)
    place = data.draw(st.sampled_from([p for p in leaves_of(mapping) if p]))
    node = mapping
    for part in place[:-1]:
        node = node[part]
    value = data.draw(json_like())
    assume(place[-1] != "kind" or not isinstance(value, list | dict))  # the next test's
    node[place[-1]] = value
    path.write_text(yaml.safe_dump(mapping))
    try:
        load_scenario(path)
    except ScenarioError as error:
        text = str(error)
        assert not [word for word in FORBIDDEN if word in text], text
        assert all(line.startswith(str(path)) for line in text.splitlines()), text


def test_a_kind_that_is_a_list_is_refused(path):
    setting = "inference_config.service_time={kind: [lognormal], median: 1ms, p99: 2ms}"
    assert "`kind` of a latency must be one of" in fault(path, setting)


# --- overrides ------------------------------------------------------------------------------------


def test_an_override_replaces_a_value(path):
    scenario = load_scenario(path, ["inference_config.num_replicas=4", "seed=9"])
    assert scenario.inference_config["main"].num_replicas == 4
    assert scenario.seed == 9


def test_the_last_of_two_overrides_holds(path):
    assert load_scenario(path, ["seed=9", "seed=10"]).seed == 10


def test_an_override_may_make_a_block_that_the_file_has_not(path):
    scenario = load_scenario(path, ["report.bootstrap=200", "inference_config.latency=20ms"])
    assert scenario.report.bootstrap == 200
    assert scenario.inference_config["main"].latency == Constant(latency="20ms")


def test_an_override_may_be_a_whole_block(path):
    setting = "inference_config.service_time={kind: uniform, low: 1ms, high: 2ms}"
    service = load_scenario(path, [setting]).inference_config["main"].service_time
    assert service.model_dump(mode="json") == {"kind": "uniform", "low": "1ms", "high": "2ms"}


def test_an_override_reaches_into_lists(path):
    scenario = load_scenario(
        path, ["data.instruments.1=SIM.GAMMA", "featurizer.feature_configs.1.params.window=2s"]
    )
    assert scenario.data.instruments == ("SIM.ALPHA", "SIM.GAMMA")
    assert scenario.featurizer is not None
    assert scenario.featurizer.feature_configs[1].params["window"] == "2s"


def test_an_instant_in_an_override_keeps_its_nanoseconds(path):
    scenario = load_scenario(path, ["data.start=2024-01-01T00:00:00.000000001Z"])
    assert scenario.data.start % 1000 == 1


def test_a_fault_in_an_override_points_at_it_and_not_at_the_file(path):
    text = fault(path, "inference_config.service_time={kind: lognormal, median: 9 km, p99: 1s}")
    assert text.startswith("--set inference_config.service_time: ")


def test_a_fault_that_an_override_causes_above_itself_points_at_it(path):
    assert fault(path, "bactester.x=3").startswith("--set bactester.x: the scenario has no key")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "`--set` must be written as dotted.key=value: got 'seed'"),
        ("=3", "`--set` must be written as dotted.key=value"),
        ("", "`--set` must be written as dotted.key=value"),
        ("seed=[1", "`--set seed` must have a YAML value: got '[1'"),
        ("seed=!!int x", "`--set seed` must have a YAML value"),
        ("seed=", "`seed` must be a valid integer: got None"),
        ("name.first=3", "`name` is 'small' and holds no keys"),
        ("data.instruments.0.x=3", "`data.instruments.0` is 'SIM.ALPHA' and holds no keys"),
        ("data.instruments.7=X", "`data.instruments` is a list of 2, counted from 0"),
        ("data.instruments.x=X", "`data.instruments` is a list of 2, counted from 0"),
        ("data.instruments.²=X", "`data.instruments` is a list of 2, counted from 0"),
        ("data.instruments.-1=X", "`data.instruments` is a list of 2, counted from 0"),
        ("data..start=3", "a key below `data` is empty"),
        (".seed=3", "a key below the scenario is empty"),
        ("inference_config.num_replica=3", "Did you mean `num_replicas`?"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(path, setting, message):
    assert message in fault(path, setting)
