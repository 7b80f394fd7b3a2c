"""What a result tells of its serving: legs, numbers, the trace of a viewer, one request's story."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rich.console import Console

from backtester.report.chrome_trace import write_chrome_trace
from backtester.report.explained import request_json, request_table
from backtester.report.table import summary_table
from backtester.result import RunResult, load_result
from backtester.scenario import Scenario
from backtester.strategies import BuyAndHold
from inference.serving.explain import LEGS, mean_number, most_at_once
from tests.backtester.worlds import ALPHA, MIDS, ON_FEATURE, Quote, content, play

GAPS = np.random.default_rng(3).exponential(4.0, 200)
MARKET = [Quote(round(float(ms), 3)) for ms in np.cumsum(GAPS)]

POLICIES: dict[str, dict[str, Any]] = {
    "plain": {"service_time": "6ms", "num_replicas": 2, "network": {"out": "1ms", "back": "1ms"}},
    "batches": {
        "service_time": {"kind": "affine", "base": "8ms", "per_item": "500us"},
        "batching": {"kind": "ray", "max_batch_size": 4, "batch_wait_timeout": "5ms"},
        "max_in_flight": 20,
    },
    "retries": {
        "service_time": {"kind": "gamma", "mean": "6ms", "shape": 1.0},
        "num_replicas": 2,
        "max_in_flight": 20,
        "timeout": "40ms",
        "retry": {"attempt_timeout": "12ms", "backoff": "2ms"},
        "faults": [{"kind": "crash", "at": "200ms", "replica": 0, "restart": "100ms"}],
    },
    "cache and breaker": {
        "service_time": "6ms",
        "network": {"out": "1ms", "back": "1ms"},
        "max_in_flight": 20,
        "cache": {"step": 1000.0, "ttl": "20ms", "hit_latency": "200us"},
        "circuit_breaker": {"failure_threshold": 1, "open_for": "50ms", "fallback": "last_value"},
        "faults": [{"kind": "error_rate", "at": "100ms", "for": "300ms", "probability": 1.0}],
    },
}


def played(root: Path, name: str, **more: Any) -> RunResult:
    inference = {**ON_FEATURE, **POLICIES[name], **more}
    return play(
        root, BuyAndHold(quantity=1), MARKET, featurizer=MIDS, inference=inference, cash=1e6
    )


def printed(table: Any) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(table)
    return text.getvalue()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    root = tmp_path_factory.mktemp("served")
    return {name: played(root, name) for name in POLICIES}


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
def test_the_legs_of_a_request_add_up_to_its_latency(
    results: dict[str, RunResult], name: str
) -> None:
    ended = results[name].predictions.filter(pl.col("outcome") != "in_flight")
    assert len(ended) > 100
    spent = (ended["visible_at"] - ended["submitted_at"]).dt.total_nanoseconds()
    legs = ended.select(f"{leg}_ns" for leg in LEGS)
    assert legs.sum_horizontal().to_list() == spent.to_list()
    assert legs.min_horizontal().min() >= 0


@pytest.mark.slow
def test_the_policies_of_these_runs_act(results: dict[str, RunResult]) -> None:
    numbers = {name: one.summary["serving"]["main"] for name, one in results.items()}
    assert numbers["batches"]["legs_ms"]["batch_wait"]["mean"] > 0
    batches = numbers["batches"]["deployments"]["default"]["metrics"]["serve_actual_batch_size"]
    assert 1 < batches["mean"] <= batches["max"] <= 4
    assert numbers["retries"]["attempts"] > numbers["retries"]["requests"]["asked"]
    assert numbers["retries"]["legs_ms"]["retries"]["mean"] > 0
    assert numbers["cache and breaker"]["requests"]["cache_hits"] > 20
    assert numbers["cache and breaker"]["requests"]["fallbacks"] > 5
    assert numbers["cache and breaker"]["deployments"]["default"]["breaker"]["opened"] > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", POLICIES)
def test_executions_of_a_replica_never_share_a_row_of_the_trace(
    results: dict[str, RunResult], name: str, tmp_path: Path
) -> None:
    write_chrome_trace(results[name], tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    rows = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            rows[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    assert rows
    for slices in rows.values():
        slices.sort()
        assert all(a[1] <= b[0] + 1e-6 for a, b in pairwise(slices))
    named = {event["tid"] for event in events if event["name"] == "thread_name"}
    assert {tid for _, tid in rows} == named
    begun = sum(event["ph"] == "b" for event in events)
    assert begun == sum(event["ph"] == "e" for event in events) > 100


@pytest.mark.slow
def test_a_request_is_explained_from_a_saved_run(
    results: dict[str, RunResult], tmp_path: Path
) -> None:
    folder = results["retries"].save(tmp_path / "run", picture=False)
    loaded = load_result(folder)
    retried = loaded.predictions.filter(
        (pl.col("attempts") > 1) & (pl.col("outcome") == "completed")
    )
    told = request_json(loaded, retried["number"][0])
    assert sum(told["legs_ns"].values()) == told["latency_ns"]
    assert [one["attempt"] for one in told["attempts"]] == list(range(retried["attempts"][0]))
    assert "retries" in printed(request_table(told))


@pytest.mark.slow
def test_a_run_that_is_asked_for_too_much_says_so(tmp_path: Path) -> None:
    result = played(tmp_path, "plain", num_replicas=1, service_time="12ms")
    deployment = result.summary["serving"]["main"]["deployments"]["default"]
    assert deployment["utilisation"] < 1 < deployment["offered_load"]
    assert deployment["offered_load"] == pytest.approx(12 / 4, rel=0.2)
    assert "times what it can serve" in printed(summary_table(result.summary))


stays = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), max_size=12)


@given(stays, st.lists(st.integers(0, 90), min_size=2, max_size=6, unique=True))
def test_mean_numbers_are_what_counting_each_instant_gives(
    drawn: list[tuple[int, int]], marks: list[int]
) -> None:
    begins = np.array([begin for begin, _ in drawn], np.int64)
    ends = np.array([begin + length for begin, length in drawn], np.int64)
    edges = np.array(sorted(marks), np.int64)
    present = [sum(b <= t < e for b, e in zip(begins, ends, strict=True)) for t in range(100)]
    expected = [
        sum(present[low:high]) / (high - low)
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    assert mean_number(begins, ends, edges).tolist() == pytest.approx(expected)
    assert most_at_once(begins, ends) == max(present)


def test_only_instruments_of_the_run_and_own_requests_have_priorities() -> None:
    queue = {"discipline": "priority", "priorities": {"own": -1, "SIM.OTHER": 0}}
    inference = {**ON_FEATURE, "queue": queue}
    mapping = content("market", [ALPHA], featurizer=MIDS, inference=inference)
    with pytest.raises(ValidationError, match=r"got SIM\.OTHER\. Known: SIM\.ALPHA, own\."):
        Scenario.model_validate(mapping)
