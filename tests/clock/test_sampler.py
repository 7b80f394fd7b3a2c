from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from clock.compiled import kernel, readonly
from clock.errors import LatencyError
from clock.latency import ZERO_LATENCY, LatencyModel
from clock.sampler import LatencySpec, Sampler, draw_latency

adapter: TypeAdapter[Any] = TypeAdapter(LatencyModel)
MS = 1_000_000
DRAWS = 200_000

LOGNORMAL = {"kind": "lognormal", "median": "4ms", "p99": "20ms"}
UNIFORM = {"kind": "uniform", "low": "1ms", "high": "3ms"}
GAMMA = {"kind": "gamma", "mean": "4ms", "shape": 2.5}
SPIKY = {"kind": "gamma", "mean": "4ms", "shape": 0.5}
EMPIRICAL = {"kind": "empirical", "path": "recorded.parquet", "column": "latency"}
INTERPOLATED = {"kind": "interpolated", "path": "recorded.parquet"}
SUM = {"kind": "sum", "terms": ["1ms", LOGNORMAL, {"kind": "sum", "terms": [UNIFORM, GAMMA]}]}
MODELS: dict[str, Any] = {
    "constant": "20ms",
    "uniform": UNIFORM,
    "lognormal": LOGNORMAL,
    "gamma": GAMMA,
    "spiky": SPIKY,
    "empirical": EMPIRICAL,
    "interpolated": INTERPOLATED,
    "sum": SUM,
}
INSTANTS = [1_700_000_000 * 10**9 + second * 10**9 for second in (0, 1, 3)]
RECORDED = [4 * MS, 1 * MS, 9 * MS]

GOLDEN = {
    "constant": [20000000, 20000000, 20000000],
    "uniform": [1218549, 1446244, 1960272],
    "lognormal": [1707565, 2361586, 3864501],
    "gamma": [3798213, 1694399, 3302070],
    "spiky": [9358897, 282884, 2158038],
    "empirical": [1000000, 1000000, 4000000],
    "interpolated": [4000000, 4000000, 4000000],
    "sum": [6968960, 8357197, 11090940],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    pq.write_table(
        pa.table(
            {
                "instant": pa.array(INSTANTS, pa.timestamp("ns", tz="UTC")),
                "latency": pa.array(RECORDED, pa.duration("ns")),
            }
        ),
        folder / "recorded.parquet",
    )
    return folder


@pytest.fixture(scope="module")
def make(base: Path) -> Callable[..., Sampler]:
    def build(model: Any, seed: int = 7, stream: str = "test") -> Sampler:
        return Sampler(adapter.validate_python(model), seed, stream, base)

    return build


int64s = st.integers(-(2**63), 2**63 - 1)
identities = st.lists(st.tuples(int64s, int64s, int64s, int64s, int64s), min_size=2, max_size=40)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40, deadline=None)
@given(rows=identities)
def test_a_draw_alone_has_the_bits_of_the_draw_in_bulk(
    make: Callable[..., Sampler], name: str, rows: list[tuple[int, int, int, int, int]]
) -> None:
    sampler = make(MODELS[name])
    columns = np.array(rows, np.int64).T
    alone = [sampler.draw(*row) for row in rows]
    assert sampler.draw_many(*columns).tolist() == alone
    assert min(alone) >= 0
    cut = len(rows) // 2
    halves = [*sampler.draw_many(*columns[:, :cut]), *sampler.draw_many(*columns[:, cut:])]
    assert halves == alone


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_long_bulk_has_the_bits_of_single_draws(make: Callable[..., Sampler], name: str) -> None:
    sampler = make(MODELS[name])
    many = sampler.draw_many(INSTANTS[0], np.arange(3_001), 5, np.arange(3_001)[::-1])
    alone = [sampler.draw(INSTANTS[0], n, 5, 3_000 - n) for n in range(3_001)]
    assert many.tolist() == alone


@kernel
def _drawn_inside(spec: LatencySpec, out: NDArray[np.int64]) -> None:
    for i in range(len(out)):
        out[i] = draw_latency(spec, i, i, 2, 3, 4)


@pytest.mark.slow
def test_another_kernel_draws_every_model_with_one_compilation(
    make: Callable[..., Sampler],
) -> None:
    for model in MODELS.values():
        sampler = make(model)
        inside = np.zeros(50, np.int64)
        _drawn_inside(sampler.spec, inside)
        assert inside.tolist() == [sampler.draw(i, i, 2, 3, 4) for i in range(50)]
    assert len(_drawn_inside.signatures) == 1  # type: ignore[attr-defined]


@settings(deadline=None)
@given(rows=identities)
def test_lognormal_draws_agree_with_whole_numbers_and_the_standard_library(
    make: Callable[..., Sampler], rows: list[tuple[int, int, int, int, int]]
) -> None:
    sampler = make(LOGNORMAL)
    sigma = math.log(5) / NormalDist().inv_cdf(0.99)
    for instant, *identity in rows:
        key = int(sampler.spec.key[0])
        for part in [*identity, 0]:  # the last part is the number of the term
            key = folded(key, part)
        z = NormalDist().inv_cdf(((key >> 12) + 0.5) * 2.0**-52)
        expected = 4 * MS * math.exp(sigma * z)
        assert sampler.draw(instant, *identity) == pytest.approx(expected, rel=1e-12, abs=0.51)


def test_draws_are_these_on_every_machine_and_in_every_release(
    make: Callable[..., Sampler],
) -> None:
    drawn = {name: make(MODELS[name]).draw_many(0, np.arange(3), 1).tolist() for name in MODELS}
    assert drawn == GOLDEN


def folded(key: int, part: int) -> int:
    """One step of splitmix64, in whole numbers of Python."""
    mask = 2**64 - 1
    z = (key + (part + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def kolmogorov(drawn: NDArray[np.int64], cdf: Callable[[float], float]) -> float:
    """Return the largest distance to a distribution, in units of its standard deviation.

    Values above 2 happen by chance less than once in a thousand times.
    """
    ordered = np.sort(drawn)
    expected = np.array([cdf(float(value)) for value in ordered])
    ranks = np.arange(len(ordered)) / len(ordered)
    distance = np.maximum(np.abs(expected - ranks), np.abs(expected - ranks - 1 / len(ordered)))
    return float(distance.max() * math.sqrt(len(ordered)))


def lognormal_cdf(value: float) -> float:
    sigma = math.log(5) / NormalDist().inv_cdf(0.99)
    return NormalDist().cdf(math.log(value / (4 * MS)) / sigma)


def gamma_cdf(shape: float, mean: float) -> Callable[[float], float]:
    """Return the distribution by the power series of the incomplete gamma function."""

    def cdf(value: float) -> float:
        x = value * shape / mean
        term = total = 1 / shape
        n = shape
        while term > total * 1e-16:
            n += 1
            term *= x / n
            total += term
        return total * math.exp(-x + shape * math.log(x) - math.lgamma(shape)) if x else 0.0

    return cdf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cdf"),
    [
        ("uniform", lambda value: (value - MS) / (2 * MS)),
        ("lognormal", lognormal_cdf),
        ("gamma", gamma_cdf(2.5, 4 * MS)),
        ("spiky", gamma_cdf(0.5, 4 * MS)),
    ],
)
def test_draws_follow_their_distribution(
    make: Callable[..., Sampler], name: str, cdf: Callable[[float], float]
) -> None:
    drawn = make(MODELS[name]).draw_many(0, np.arange(20_000))
    assert kolmogorov(drawn, cdf) < 2


def test_lognormal_draws_have_their_median_and_p99(make: Callable[..., Sampler]) -> None:
    drawn = make(LOGNORMAL).draw_many(0, np.arange(DRAWS))
    assert np.quantile(drawn, 0.5) == pytest.approx(4 * MS, rel=0.01)
    assert np.quantile(drawn, 0.99) == pytest.approx(20 * MS, rel=0.02)


@pytest.mark.parametrize(("name", "shape"), [("gamma", 2.5), ("spiky", 0.5)])
def test_gamma_draws_have_their_mean_and_spread(
    make: Callable[..., Sampler], name: str, shape: float
) -> None:
    drawn = make(MODELS[name]).draw_many(0, np.arange(DRAWS))
    assert drawn.mean() == pytest.approx(4 * MS, rel=0.01)
    assert drawn.std() == pytest.approx(4 * MS / math.sqrt(shape), rel=0.02)


def test_empirical_draws_are_the_recorded_rows_equally_often(make: Callable[..., Sampler]) -> None:
    drawn = make(EMPIRICAL).draw_many(0, np.arange(30_000))
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == sorted(RECORDED)
    assert counts == pytest.approx(10_000, rel=0.04)


def test_interpolated_draws_are_linear_between_rows_and_flat_outside(
    make: Callable[..., Sampler],
) -> None:
    first, second, third = INSTANTS
    asked = [first - 10**12, first, first + 250_000_001, second, second + 10**9, third, third + 1]
    drawn = make(INTERPOLATED).draw_many(np.array(asked), 1)
    # A quarter and a nanosecond of the way down from 4 ms to 1 ms: 3 249 999.997 ns.
    assert drawn.tolist() == [4 * MS, 4 * MS, 3_250_000, 1 * MS, 5 * MS, 9 * MS, 9 * MS]


def test_halves_of_a_nanosecond_are_rounded_up(tmp_path: Path) -> None:
    table = pa.table({"instant": [0, 2], "latency": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    model = adapter.validate_python({"kind": "interpolated", "path": "a.parquet"})
    assert Sampler(model, 0, "x", tmp_path).draw(1) == 2


def test_a_sum_adds_its_terms_and_its_terms_are_independent(make: Callable[..., Sampler]) -> None:
    twice = make({"kind": "sum", "terms": [UNIFORM, UNIFORM]}).draw_many(0, np.arange(DRAWS))
    once = make(UNIFORM).draw_many(0, np.arange(DRAWS))
    assert twice.mean() == pytest.approx(2 * once.mean(), rel=0.01)
    assert twice.var() == pytest.approx(2 * once.var(), rel=0.02)
    shifted = make({"kind": "sum", "terms": [UNIFORM, "5ms"]}).draw_many(0, np.arange(DRAWS))
    assert (shifted - once == 5 * MS).all()


def test_other_seeds_streams_and_identities_draw_other_numbers(
    make: Callable[..., Sampler],
) -> None:
    rows = np.arange(1000)
    draws = [
        make(LOGNORMAL).draw_many(0, rows),
        make(LOGNORMAL, seed=8).draw_many(0, rows),
        make(LOGNORMAL, stream="other").draw_many(0, rows),
        make(LOGNORMAL).draw_many(0, 0, rows),
        make(LOGNORMAL).draw_many(0, rows, 1),
    ]
    for i, one in enumerate(draws):
        for other in draws[:i]:
            assert abs(np.corrcoef(np.log(one), np.log(other))[0, 1]) < 0.16
    assert (make(LOGNORMAL).draw_many(99, rows) == draws[0]).all()


def test_two_scenarios_that_differ_in_one_latency_share_the_luck_of_each_request(
    make: Callable[..., Sampler],
) -> None:
    fast = make(LOGNORMAL).draw_many(0, np.arange(1000))
    slow = make({**LOGNORMAL, "median": "8ms", "p99": "40ms"}).draw_many(0, np.arange(1000))
    assert np.abs(slow - 2 * fast).max() <= 1


def test_constants_are_known_without_drawing(make: Callable[..., Sampler]) -> None:
    zero = Sampler(ZERO_LATENCY, 0, "x")
    assert (zero.is_zero, zero.constant_ns, zero.draw(5)) == (True, 0, 0)
    both = make({"kind": "sum", "terms": ["1ms", "2ms"]})
    assert (both.is_zero, both.constant_ns) == (False, 3 * MS)
    assert both.draw_many(np.arange(3)).tolist() == [3 * MS] * 3
    assert make(UNIFORM).constant_ns is None


def test_draws_are_read_only_and_no_rows_draw_nothing(make: Callable[..., Sampler]) -> None:
    sampler = make(UNIFORM)
    assert not sampler.draw_many(0, np.arange(3)).flags.writeable
    assert sampler.draw_many(np.zeros(0, np.int64), readonly(np.zeros(0, np.int64))).size == 0
    with pytest.raises(ValueError, match="shape"):
        sampler.draw_many(np.arange(3), np.arange(2))


def test_a_sampler_can_be_pickled(make: Callable[..., Sampler]) -> None:
    sampler = make(SUM)
    assert pickle.loads(pickle.dumps(sampler)).draw(1, 2) == sampler.draw(1, 2)


def test_the_largest_possible_draws_stay_below_the_bound_the_model_names() -> None:
    for block in (LOGNORMAL, GAMMA, SPIKY, UNIFORM, SUM):
        model = adapter.validate_python(block)
        drawn = Sampler(model, 1, "x").draw_many(0, np.arange(DRAWS))
        assert drawn.max() <= model.longest_ns


EMPTY = pa.table({"instant": pa.array([], pa.int64()), "latency": pa.array([], pa.int64())})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"instant": [1, 2], "delay": [1, 2]}), "`latency` must be a column: got a file"),
        (EMPTY, "at least one row"),
        (pa.table({"instant": [1, 2], "latency": [1, None]}), "row 1: .* got null"),
        (pa.table({"instant": [1, 2], "latency": [1, -2]}), "row 1: .* got -2 ns"),
        (pa.table({"instant": [1, 2], "latency": [1.0, 2.0]}), "whole nanoseconds: got double"),
        (pa.table({"instant": [2, 1], "latency": [1, 2]}), "row 1: `instant` must be later"),
        (pa.table({"instant": [1, 1], "latency": [1, 2]}), "row 1: `instant` must be later"),
        (
            pa.table({"instant": pa.array([1, 2], pa.timestamp("ns")), "latency": [1, 2]}),
            r"timestamp with a zone .* got timestamp\[ns\]",
        ),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_by_file_and_row(
    tmp_path: Path, table: pa.Table, message: str
) -> None:
    pq.write_table(table, tmp_path / "a.parquet")
    model = adapter.validate_python({"kind": "interpolated", "path": "a.parquet"})
    with pytest.raises(LatencyError, match=message) as error:
        Sampler(model, 0, "x", tmp_path)
    assert str(tmp_path / "a.parquet") in str(error.value)


def test_a_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet")
    for path, message in (("none.parquet", "must be a file"), ("text.parquet", "a Parquet file")):
        model = adapter.validate_python({"kind": "empirical", "path": path, "column": "x"})
        with pytest.raises(LatencyError, match=message):
            Sampler(model, 0, "x", tmp_path)
