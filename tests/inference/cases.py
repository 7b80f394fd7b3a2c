"""Generated loops, rows and deployments for the properties, and a model that is one formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.predictors.base import TrainingRecord
from inference.rows import Rows
from inference.schedule import LoopOutput

COLUMNS = ("mid", "spread", "flow")
READ = [0, 2]


class Formula:
    """A predictor whose value has the same bits in any batch."""

    accepts_nan = False
    digest = "formula"
    version = "1"
    training: TrainingRecord | None = None

    def __init__(self, names: tuple[str, ...] = ("mid", "flow"), invariant: bool = True) -> None:
        self.feature_names, self.batch_invariant = names, invariant
        self.batches: list[int] = []

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        self.batches.append(len(values))
        return values[:, 0] * 3.0 - values[:, -1]


def formula(values: list[float]) -> float:
    return values[0] * 3.0 - values[-1]


def build(config: InferenceConfig, **given: Any) -> InferenceLoop:
    given = {"start": 0, "column_names": COLUMNS, "seed": 7, **given}
    predictor = given.pop("predictor", None) or Formula()
    return InferenceLoop(config, predictor, **given)


def configuration(**given: Any) -> InferenceConfig:
    return InferenceConfig.model_validate({"model_uri": "m", "features": COLUMNS[::2], **given})


def make_rows(emitted: list[int], delay: int = 0, bad: tuple[int, ...] = ()) -> Rows:
    """Rows at these emission instants; those at positions *bad* hold a NaN that the model reads."""
    instants = np.array(emitted, np.int64)
    tie = [emitted[:i].count(instant) for i, instant in enumerate(emitted)]
    values = np.arange(3.0 * len(emitted)).reshape(-1, 3) + 0.1
    values[list(bad), 2] = np.nan
    values[1::4, 1] = np.nan  # a column that the model does not read
    rows = Rows(
        instants,
        instants + delay,
        instants - 1,
        np.array(tie, np.int64).reshape(-1),
        np.array([i % 2 for i in range(len(emitted))], np.int64),
        values,
    )
    for column in rows:
        column.flags.writeable = False
    return rows


def part(rows: Rows, first: int, last: int) -> Rows:
    return Rows(*(column[first:last] for column in rows))


def joined(outputs: list[LoopOutput]) -> LoopOutput:
    parts: list[Any] = []
    for of_one_kind in zip(*outputs, strict=True):
        kind: Any = type(of_one_kind[0])
        parts.append(kind(*map(np.concatenate, zip(*of_one_kind, strict=True))))
    return LoopOutput(*parts)


def same(one: Any, other: Any) -> bool:
    """Whether two named tuples of columns hold the same bits."""
    return all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True)
    )


_small = st.integers(0, 6).map(lambda n: f"{n}ns")
latencies = st.one_of(
    st.just("0ns"),
    _small,
    st.builds(
        lambda low, spread: {"kind": "uniform", "low": f"{low}ns", "high": f"{low + spread}ns"},
        st.integers(0, 3),
        st.integers(0, 9),
    ),
    st.just({"kind": "lognormal", "median": "3ns", "p99": "20ns"}),
)
pollings = st.one_of(
    st.just("continuous"),
    st.just("on_feature"),
    st.integers(1, 5).map(lambda n: {"every": f"{n}ns"}),
)
configurations = st.builds(
    lambda **given: configuration(
        network={"out": given.pop("out"), "back": given.pop("back")}, **given
    ),
    num_replicas=st.integers(1, 3),
    polling=pollings,
    max_in_flight=st.none() | st.integers(1, 4),
    on_new=st.sampled_from(["replace", "queue"]),
    service_time=latencies,
    latency=latencies,
    out=latencies,
    back=latencies,
)


@st.composite
def row_chunks(draw: st.DrawFn) -> Rows:
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 7]), max_size=12))
    emitted = np.cumsum([0, *gaps])[1:].tolist()
    bad = draw(st.sets(st.integers(0, len(gaps) - 1), max_size=3)) if gaps else set()
    return make_rows(emitted, draw(st.integers(0, 2)), tuple(bad))
