"""Rows, predictions and labels of two instruments at once, event by event and ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.errors import StrategyError
from backtester.run import Run
from backtester.scenario import Scenario
from featurizer.config import row_names
from inference.errors import FeatureMismatchError
from tests.backtester.worlds import (
    ALPHA,
    BETA,
    MIDS,
    Constant,
    Quote,
    Recorder,
    Trade,
    content,
    make_catalog,
)

EACH = MIDS | {
    "per_instrument": True,
    "label_feature": "mid",
    "label_lookahead": "20ms",
}
ON_FEATURE = {
    "model_uri": "models:/none/1",
    "polling": "on_feature",
    "max_in_flight": 8,
    "num_replicas": 2,
    "service_time": {"kind": "uniform", "low": "1ms", "high": "9ms"},
    "network": {"out": "500us", "back": "700us"},
}


class Trader(Recorder):
    """Buys what it was told of last, a little each time."""

    def on_features(self, ctx: Any, row: Any) -> None:
        self.note(ctx, "row", (row.instrument, row.values))

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.note(ctx, "prediction", (prediction.instrument, prediction.value))
        ctx.buy(prediction.instrument, 0.1)


class Looker(Recorder):
    """Asks for the newest row and answer of each instrument whenever it is woken."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}
        self.looked = 0

    def on_quote(self, ctx: Any, quote: Any) -> None:
        self.look(ctx)

    def on_features(self, ctx: Any, row: Any) -> None:
        self.rows[row.instrument] = row
        self.look(ctx)

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.answers[prediction.instrument] = prediction
        self.look(ctx)

    def look(self, ctx: Any) -> None:
        for name in (ALPHA, BETA):
            assert str(ctx.features_of(name)) == str(self.rows.get(name))  # NaN is not NaN
            assert ctx.inference.latest(instrument=name) == self.answers.get(name)
        newest = ctx.inference.latest()
        assert newest is None or newest in self.answers.values()
        # both are there, and the newest of all is not the one that was asked for
        both = len(self.answers) == len(self.rows) == 2
        self.looked += both and ctx.inference.latest(instrument=ALPHA) != newest


def walk(base: float, seed: int) -> list[Quote]:
    draw = np.random.Generator(np.random.Philox(seed))
    times = np.cumsum(draw.integers(0, 4, 120)) * 1.0
    mids = base + 0.5 * np.cumsum(draw.integers(-1, 2, 120))
    lags = draw.integers(0, 3, 120)
    received = np.maximum.accumulate(times + lags)
    sizes = draw.integers(1, 9, (120, 2))
    rows = zip(times, mids, sizes, received, strict=True)
    return [
        Quote(t, mid - 1, mid + 1, float(bid), float(ask), received=seen, sequence=n)
        for n, (t, mid, (bid, ask), seen) in enumerate(rows)
    ]


def played(
    root: Path, mode: str, features: Any, window_rows: int = 8192, strategy: Any = Trader
) -> tuple[Any, Any]:
    folder = root / f"{mode}-{window_rows}"
    quotes = {ALPHA: walk(100.0, 1), BETA: walk(500.0, 2)}
    catalog = make_catalog(folder, quotes, {BETA: [Trade(30.0), Trade(30.0), Trade(90.0)]})
    scenario = Scenario.model_validate(
        content(
            folder, [ALPHA, BETA], until=300, entry="2ms", response="1ms",
            featurizer=features, inference=ON_FEATURE,
        )
    )  # fmt: skip
    names = row_names(["mid", "imbalance"], features.get("rows", 1))
    trader = strategy()
    run = Run(scenario, trader, catalog, {"main": Constant(*names)}, mode=mode, keep_trace=True)
    return run.execute(window_rows), trader


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    "sampling", ["raw", {"input": "quotes"}, {"input": "quotes", "every": 3}, "7ms"]
)
def test_rows_of_each_instrument_run_ahead_as_they_do_event_by_event(
    tmp_path: Path, sampling: Any, rows: int
) -> None:
    features = EACH | {"sampling": sampling, "rows": rows, "compute_latency": "300us"}
    ahead, heard_ahead = played(tmp_path, "ahead", features)
    narrow, _ = played(tmp_path, "ahead", features, window_rows=7)
    lockstep, heard = played(tmp_path, "lockstep", features)
    assert ahead.summary["trace_digest"] == lockstep.summary["trace_digest"]
    assert ahead.summary["trace_digest"] == narrow.summary["trace_digest"]
    assert str(heard_ahead.heard) == str(heard.heard)  # NaN is not NaN
    assert {name for name, _ in heard.details("prediction")} == {ALPHA, BETA}
    assert len(ahead.fills) > 10


def test_an_answer_is_not_superseded_by_another_instruments_newer_row(tmp_path: Path) -> None:
    result, _ = played(tmp_path, "ahead", EACH | {"sampling": "7ms"})
    answers = result.predictions.filter(result.predictions["outcome"] == "completed")
    for name in (ALPHA, BETA):
        own = answers.filter(answers["instrument"] == name).sort("visible_at", "number")
        newest = -1
        for emitted_at, superseded in own.select("emitted_at", "superseded").iter_rows():
            stamp = emitted_at.timestamp()
            assert superseded == (stamp < newest)
            newest = max(newest, stamp)


def test_a_prediction_is_held_against_the_label_of_its_own_instrument(tmp_path: Path) -> None:
    result, _ = played(tmp_path, "ahead", EACH | {"sampling": "7ms"})
    answers = result.predictions.filter(result.predictions["label_before"].is_not_null())
    for name, base in ((ALPHA, 100.0), (BETA, 500.0)):
        own = answers.filter(answers["instrument"] == name)["label_before"].drop_nans()
        assert len(own) > 5
        assert own.is_between(base - 80, base + 80).all()


@pytest.mark.parametrize(
    ("mode", "window_rows"), [("ahead", 8192), ("ahead", 7), ("lockstep", 8192)]
)
def test_each_instruments_newest_row_and_answer_are_those_last_heard_of(
    tmp_path: Path, mode: str, window_rows: int
) -> None:
    features = EACH | {"sampling": {"input": "quotes"}}
    _, looker = played(tmp_path, mode, features, window_rows, Looker)
    assert looker.looked > 50


def test_the_newest_of_an_unknown_instrument_is_refused_by_name(tmp_path: Path) -> None:
    class Asker(Recorder):
        def on_features(self, ctx: Any, row: Any) -> None:
            ctx.features_of("SIM.ALPA")

    with pytest.raises(StrategyError, match=f"Did you mean '{ALPHA}'"):
        played(tmp_path, "ahead", EACH | {"sampling": "7ms"}, strategy=Asker)


def test_each_instrument_has_an_information_coefficient_of_its_own(tmp_path: Path) -> None:
    result, _ = played(tmp_path, "ahead", EACH | {"sampling": "7ms"})
    found = result.summary["information_coefficient_by_instrument"]
    done = result.predictions.filter(result.predictions["outcome"] == "completed")
    for name in (ALPHA, BETA):
        own = done.filter(done["instrument"] == name)
        change = (own["label_after"] - own["label_before"]).to_numpy()
        known = np.isfinite(change)
        expected = np.corrcoef(own["value"].to_numpy()[known], change[known])[0, 1]
        assert found[name]["information_coefficient"] == pytest.approx(expected, abs=1e-6)


def test_a_model_of_other_rows_is_refused_with_both_lists(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    catalog = make_catalog(folder, {ALPHA: [Quote(1)]})
    scenario = Scenario.model_validate(
        content(folder, [ALPHA], featurizer=MIDS | {"rows": 2}, inference=ON_FEATURE)
    )
    with pytest.raises(FeatureMismatchError, match="mid@-1"):
        Run(scenario, Recorder(), catalog, {"main": Constant("mid", "imbalance")})
