"""Replicas that predict for a run in simulated time: threads here, Ray in tests/inference/real."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from backtester.result import RunResult, load_result
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from clock.errors import InputError, LatencyError
from featurizer.catalog import Catalog
from inference.backend import Reply
from inference.background import Background
from inference.errors import ModelFailedError, SilentReplicasError
from inference.remote import RemotePredictor
from inference.rows import MISSING
from inference.schedule import Outcome, Reason
from tests.backtester.worlds import ALPHA, MIDS, MS, Quote, content, make_catalog

HOST = 1_900_000_000_000_000_000


class Batched:
    """A model whose answer tells how large the batch was where it is not invariant."""

    feature_names = ("mid", "imbalance")
    accepts_nan = False
    digest, version, training = "0" * 64, "1", None

    def __init__(self, batch_invariant: bool = True) -> None:
        self.batch_invariant = batch_invariant

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        more = 0.0 if self.batch_invariant else 1e-9 * len(values)
        return values[:, 0] * (1 + 1e-6 * values[:, 1]) + more


class Replicas:
    """A backend over threads; a row takes as many host milliseconds as its mid says."""

    feature_names = ("mid", "imbalance")

    def __init__(self, model: Batched, **reply: Any) -> None:
        self.model, self.reply = model, reply
        self.rows, self.most, self.under_way = 0, 0, 0
        self.lock = threading.Lock()
        self.threads = Background(8)

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        return self.threads.submit(self._answer, values)

    def _answer(self, values: NDArray[np.float64]) -> Reply:
        with self.lock:
            self.under_way -= 1
        began = HOST + 5
        ended = began + round(float(values[0])) * MS // 50
        found = float(self.model.predict(values[None])[0])
        told = {"outcome": Outcome.COMPLETED, "value": found, "started_at": began}
        return Reply(
            sent_at=HOST, received_at=ended + 7, **told | {"completed_at": ended} | self.reply
        )

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        with self.lock:
            self.rows += len(values)
        return self.model.predict(values)

    def close(self) -> None:
        self.threads.close()


class Buys(Strategy):
    """Buys on every third prediction, and may hold up others at one of them."""

    def __init__(self) -> None:
        self.seen = 0

    def on_prediction(self, ctx: Any, prediction: Any) -> None:
        self.seen += 1
        if self.seen % 3 == 0:
            ctx.buy(prediction.instrument, 0.1)


def quotes() -> list[Quote]:
    moves = np.cumsum(np.random.default_rng(4).integers(-1, 2, 120))
    return [
        Quote(1 + 7 * at, 99.0 + move / 2, 101.0 + move / 2, 10.0 + at % 5)
        for at, move in enumerate(moves.tolist())
    ]


def run(
    root: Path,
    inference: dict[str, Any],
    *,
    model: Batched | None = None,
    replicas: Replicas | None = None,
    strategy: Strategy | None = None,
    mode: Any = None,
    window_rows: int = 16,
) -> RunResult:
    folder = root / "catalog"
    if not folder.exists():
        make_catalog(folder, {ALPHA: quotes()})
    given = {"model_uri": "m", "polling": "on_feature", "network": {"out": "1ms"}} | inference
    mapping = content(
        folder, [ALPHA], entry="2ms", response="1ms", featurizer=MIDS, inference=given
    )
    scenario = Scenario.model_validate(mapping)
    model = model or Batched()
    asked: Any = model if replicas is None else RemotePredictor(model, replicas, replicas=2)
    made = Run(
        scenario,
        strategy or Buys(),
        Catalog(folder),
        {"main": asked},
        mode=mode,
    )
    return made.execute(window_rows)


DEPLOYMENTS: list[dict[str, Any]] = [
    {"service_time": {"kind": "lognormal", "median": "4ms", "p99": "20ms"}, "num_replicas": 2},
    {
        "service_time": "9ms",
        "batching": {"kind": "triton", "max_batch_size": 4},
        "max_in_flight": 8,
    },
    {
        "service_time": "3ms",
        "cache": {"max_entries": 8, "ttl": "1s"},
        "retry": {"max_attempts": 2},
        "faults": [{"kind": "error_rate", "at": ["0ms"], "lasts": "10s", "probability": 0.3}],
    },
]


@pytest.mark.slow
@pytest.mark.parametrize("inference", DEPLOYMENTS)
@pytest.mark.parametrize("invariant", [True, False])
def test_whoever_predicts_the_result_is_the_same(
    tmp_path: Path, inference: dict[str, Any], invariant: bool
) -> None:
    model = Batched(invariant)
    here = run(tmp_path, inference, model=model)
    replicas = Replicas(model)
    there = run(tmp_path, inference | {"backend": "ray_serve"}, model=model, replicas=replicas)
    assert there.trace_digest == here.trace_digest
    assert there.summary["digests"] == here.summary["digests"]
    assert there.fills.equals(here.fills)
    assert len(here.fills) > 5
    assert replicas.rows > 50
    assert here.summary["predicted_by"] == {"main": "this process"}
    assert there.summary["predicted_by"] == {"main": "2 replicas on Ray Serve"}
    lockstep = run(tmp_path, inference, model=model, replicas=Replicas(model), mode="lockstep")
    assert lockstep.trace_digest == here.trace_digest


@pytest.mark.slow
def test_a_window_trades_while_the_next_one_is_predicted(tmp_path: Path) -> None:
    class Second(Replicas):
        """Answers its second call once a window has traded on the first one."""

        calls = 0

        def __init__(self) -> None:
            super().__init__(Batched())
            self.asked, self.traded = threading.Event(), threading.Event()

        def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
            self.calls += 1
            if self.calls == 2:
                self.asked.set()
                assert self.traded.wait(20)
            return super().predict(values)

    replicas = Second()

    class Waits(Buys):
        def on_prediction(self, ctx: Any, prediction: Any) -> None:
            super().on_prediction(ctx, prediction)
            assert replicas.asked.wait(20)  # the next window is with the replicas already
            if self.seen == 3:
                replicas.traded.set()

    inference = {"service_time": "1ms", "backend": "ray_serve"}
    overlapped = run(tmp_path, inference, replicas=replicas, strategy=Waits())
    assert replicas.calls > 4
    assert overlapped.trace_digest == run(tmp_path, inference).trace_digest


@pytest.mark.slow
def test_a_replica_that_fails_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    class Failing(Replicas):
        def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
            if self.rows > 30:
                raise ModelFailedError("`run-main`: RayActorError: the replica died")
            return super().predict(values)

    with pytest.raises(ModelFailedError, match=r"model 'm' of inference 'main'.*replica died"):
        run(tmp_path, {"service_time": "1ms"}, replicas=Failing(Batched()))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ahead", "lockstep"])
@pytest.mark.parametrize("invariant", [True, False])
def test_replicas_that_are_silent_are_neither_the_models_nor_the_strategys_fault(
    tmp_path: Path, mode: str, invariant: bool
) -> None:
    class Silent(Replicas):
        def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
            if self.rows > 30:
                raise SilentReplicasError("`predict_timeout`: got no answer")
            return super().predict(values)

    silent = Silent(Batched(invariant))
    with pytest.raises(SilentReplicasError, match=r"^`predict_timeout`: got no answer$") as ended:
        run(tmp_path, {"service_time": "1ms"}, replicas=silent, mode=mode)
    assert isinstance(ended.value, InputError), "exit code 2"


def test_replicas_of_another_model_are_refused() -> None:
    class Other(Replicas):
        feature_names = ("mid",)  # type: ignore[assignment]

    with pytest.raises(InputError, match="must hold the model that the run loaded"):
        RemotePredictor(Batched(), Other(Batched()), replicas=1)


# --- measured service times ----------------------------------------------------------------------

MEASURED = {"service_time": {"kind": "measured"}, "backend": "ray_serve", "num_replicas": 2}


def recorded(path: Path) -> dict[str, Any]:
    return {"service_time": {"kind": "measured", "from": str(path)}, "num_replicas": 2}


@pytest.mark.slow
def test_each_request_takes_as_long_as_its_row_took_the_replica(tmp_path: Path) -> None:
    replicas = Replicas(Batched())
    measured = run(tmp_path, MEASURED, replicas=replicas)
    assert replicas.most <= 2  # one at a time for each replica
    times = measured.service_times
    assert times is not None
    assert len(times) == measured.summary["feature_rows"]
    assert times["duration"].dtype == pl.Duration("ns")
    assert times["emitted_at"].is_sorted()
    done = measured.predictions.filter(pl.col("outcome") == "completed")
    took = done.select("emitted_at", took=pl.col("completed_at") - pl.col("started_at"))
    joined = took.join(times, on="emitted_at")
    assert len(joined) == len(took) > 50
    assert (joined["took"] == joined["duration"]).all()
    assert joined["took"].n_unique() > 5
    (remark,) = measured.summary["host_time"]
    assert "read the host's time" in remark


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"polling": {"every": "2ms"}, "max_in_flight": 1},
        {
            "retry": {"max_attempts": 3},
            "faults": [{"kind": "error_rate", "at": ["0ms"], "lasts": "10s", "probability": 0.3}],
        },
    ],
)
def test_a_recording_gives_the_measured_run_again(tmp_path: Path, more: dict[str, Any]) -> None:
    first = run(tmp_path, MEASURED | more, replicas=Replicas(Batched()))
    first.save(tmp_path / "result", picture=False)
    path = tmp_path / "result" / "service_times.parquet"
    again = run(tmp_path, recorded(path) | more)
    assert again.trace_digest == first.trace_digest
    assert again.service_times is None
    assert str(path) in again.summary["host_time"][0]
    finely = run(tmp_path, recorded(path) | more, window_rows=3)
    assert finely.trace_digest == first.trace_digest
    lockstep = run(tmp_path, recorded(path) | more, mode="lockstep")
    assert lockstep.trace_digest == first.trace_digest
    loaded = load_result(tmp_path / "result").service_times
    assert loaded is not None
    assert loaded.equals(first.service_times)


@pytest.mark.slow
def test_a_recording_that_lacks_a_request_is_refused_by_its_name(tmp_path: Path) -> None:
    times = run(tmp_path, MEASURED, replicas=Replicas(Batched())).service_times
    assert times is not None
    path = tmp_path / "times.parquet"
    times[[*range(10), *range(11, len(times))]].write_parquet(path)
    missing = str(times["emitted_at"][10])[:19].replace(" ", "T")
    with pytest.raises(LatencyError, match=f"'main' about {ALPHA}, the row of {missing}"):
        run(tmp_path, recorded(path))
    times.drop("tie").write_parquet(path)
    with pytest.raises(LatencyError, match="no column `tie`"):
        run(tmp_path, recorded(path))
    path.write_text("no recording")
    with pytest.raises(LatencyError, match="must be a recording"):
        run(tmp_path, recorded(path))


@pytest.mark.slow
def test_stamps_of_another_clock_leave_the_whole_way_there_and_back(tmp_path: Path) -> None:
    replicas = Replicas(Batched(), started_at=MISSING, completed_at=MISSING)
    times = run(tmp_path, MEASURED, replicas=replicas).service_times
    assert times is not None
    assert times["started_at"].null_count() == len(times)
    whole = times["received_at"] - times["sent_at"]
    assert (whole == times["duration"]).all()


@pytest.mark.slow
def test_a_row_that_cannot_be_measured_ends_the_run(tmp_path: Path) -> None:
    replicas = Replicas(Batched(), outcome=Outcome.FAILED, reason=Reason.CRASHED)
    with pytest.raises(ModelFailedError, match=r"ended as failed \(crashed\)"):
        run(tmp_path, MEASURED, replicas=replicas)


@pytest.mark.parametrize(
    ("inference", "message"),
    [
        ({"service_time": {"kind": "measured"}}, "real replicas to measure"),
        (MEASURED | {"batching": {"kind": "triton", "max_batch_size": 2}}, "`batching` cannot go"),
        (MEASURED | {"replica_speeds": [0.5]}, "`replica_speeds` cannot go"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, inference: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scenario.model_validate(
            content(tmp_path, [ALPHA], featurizer=MIDS, inference={"model_uri": "m"} | inference)
        )


def test_only_a_run_with_replicas_measures(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match="only `lightcone run` measures"):
        run(tmp_path, MEASURED)

    class Own(Buys):
        submits_requests = True

    with pytest.raises(InputError, match="submits its own requests"):
        run(tmp_path, MEASURED, replicas=Replicas(Batched()), strategy=Own())
