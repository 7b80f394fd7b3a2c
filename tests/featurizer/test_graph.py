from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clock.errors import TimeWentBackwardsError
from featurizer.emission import Emission
from featurizer.errors import FeatureError
from featurizer.feature import FeatureDefinition, Market, Pointwise
from featurizer.graph import MISSING, FeatureGraph, FeatureRows
from tests.featurizer.feature_markets import (
    EIGHT,
    MS,
    A,
    B,
    config,
    joined,
    market,
    markets,
    pieces,
    quotes,
    records,
    same_bits,
    total_order,
    trades,
)


class Basis(Pointwise):
    """The mid of one instrument less that of another, and the last trade's price beside them."""

    def inputs(self) -> tuple[Any, ...]:
        return ("mid", "mid_b", Market("trades", ("price",), A))

    def value(self, mid: Any, mid_b: Any, price: Any) -> Any:
        return mid - mid_b + 0.0 * price


class OfBasis(Pointwise):
    """A feature of a joined feature and of one of its own inputs."""

    def inputs(self) -> tuple[Any, ...]:
        return ("basis", "mid")

    def value(self, basis: Any, mid: Any) -> Any:
        return basis + mid


JOINED = (
    *EIGHT,
    ("price.MidPrice", "mid_b", {"instrument": B}),
    (f"{__name__}.Basis", "basis", {}),
    (f"{__name__}.OfBasis", "of_basis", {}),
    ("smoothing.Lag", "basis_lag", {"lag": "2ms", "feature": "basis"}),
)
EMISSIONS = {
    "raw": Emission.raw(),
    "quotes of A": Emission.of_input(A, "quotes"),
    "every third quote of B": Emission.of_input(B, "quotes", 3),
    "trades": Emission.of_input(A, "trades"),
    "grid": Emission.grid(2 * MS),
    "schedule": Emission.scheduled(),
}
INSTANTS = np.array([0, 0, 1, 3, 3, 4, 10, 11, 11, 25, 40]) * MS


def graph(emission: Emission, features: Any = JOINED, **others: Any) -> FeatureGraph:
    made = FeatureGraph(config(*features, **others), [A, B], emission)
    if emission.kind == "scheduled":
        made.schedule(INSTANTS)
    return made


def run(
    emission: Emission,
    parts: list[dict[Any, Any]],
    untils: list[int],
    features: Any = JOINED,
    **others: Any,
) -> FeatureRows:
    made = graph(emission, features, **others)
    return joined([made.push(part, until) for part, until in zip(parts, untils, strict=True)])


@given(streams=markets(), data=st.data(), emission=st.sampled_from(sorted(EMISSIONS)))
@settings(max_examples=120, deadline=None)
@pytest.mark.slow
def test_rows_have_the_same_bits_however_the_total_order_is_cut(
    streams: Any, data: st.DataObject, emission: str
) -> None:
    order = total_order(streams)
    end = (order[-1][0] if order else 0) + data.draw(st.integers(0, 5)) * MS
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=6)))
    untils = []
    for cut in cuts:
        low = order[cut - 1][0] if cut else 0
        high = order[cut][0] if cut < len(order) else end
        low = max(low, untils[-1] if untils else 0)
        untils.append(data.draw(st.integers(low, max(low, high))))
    whole = run(EMISSIONS[emission], [streams], [end])
    parts = run(EMISSIONS[emission], pieces(streams, cuts), [*untils, end])
    assert same_bits(whole, parts)


@given(streams=markets(), emission=st.sampled_from(sorted(EMISSIONS)))
@settings(max_examples=40, deadline=None)
@pytest.mark.slow
def test_chunks_of_one_with_pickling_and_empty_pushes_between_give_the_same_rows(
    streams: Any, emission: str
) -> None:
    order = total_order(streams)
    end = (order[-1][0] if order else 0) + 1
    made = graph(EMISSIONS[emission])
    parts = []
    for (instant, *_), piece in zip(
        order, pieces(streams, list(range(1, len(order)))), strict=False
    ):
        parts.append(made.push({}, instant))
        made = pickle.loads(pickle.dumps(made))
        parts.append(made.push(piece, instant))
    parts.append(made.push({}, end))
    assert same_bits(run(EMISSIONS[emission], [streams], [end]), joined(parts))


@given(streams=markets())
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_a_row_holds_what_a_walk_through_the_total_order_has_seen(streams: Any) -> None:
    order = total_order(streams)
    end = (order[-1][0] if order else 0) + 1
    rows = run(Emission.raw(), [streams], [end])
    assert len(rows.emitted_at) == len(order)
    last: dict[Any, float] = {}
    newest, before, tie = MISSING, None, 0
    for row, (instant, _, key, i) in enumerate(order):
        columns = streams[key].columns
        newest = max(newest, int(columns["event_time"][i]))
        tie = tie + 1 if instant == before else 0
        before = instant
        last[key] = (
            1.0 if key[1] == "trades" else 0.5 * (columns["bid_price"][i] + columns["ask_price"][i])
        )
        mid, mid_b = last.get((A, "quotes"), np.nan), last.get((B, "quotes"), np.nan)
        basis = mid - mid_b if (A, "trades") in last else np.nan
        assert rows.emitted_at[row] == rows.visible_at[row] == instant
        assert rows.event_time[row] == newest
        assert rows.tie[row] == tie
        expected = [mid, mid_b, basis, basis + mid]
        np.testing.assert_array_equal(rows.values[row, [0, 8, 9, 10]], expected)


@given(streams=markets(), period=st.sampled_from([1, 2, 3, 7]), begin=st.integers(0, 4))
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_a_grid_row_is_the_last_raw_row_by_its_instant(
    streams: Any, period: int, begin: int
) -> None:
    held = [("price.MidPrice", "mid", {}), ("book.Imbalance", "imbalance", {"instrument": B})]
    order = total_order(streams)
    start = min(order[0][0] if order else 0, begin * MS)
    end = (order[-1][0] if order else 0) + 9 * MS
    made = FeatureGraph(config(*held), [A, B], Emission.grid(period * MS), start)
    rows = made.push(streams, end)
    raw = FeatureGraph(config(*held), [A, B], start=start).push(streams, end)
    assert rows.emitted_at.tolist() == [t for t in range(0, end, period * MS) if start <= t < end]
    for row, instant in enumerate(rows.emitted_at):
        seen = int((raw.emitted_at <= instant).sum())
        expected = raw.values[seen - 1] if seen else [np.nan, np.nan]
        np.testing.assert_array_equal(rows.values[row], expected)
        assert rows.event_time[row] == (raw.event_time[seen - 1] if seen else MISSING)
        assert rows.tie[row] == 0


def test_at_one_instant_a_row_sees_the_streams_that_stand_before_its_own() -> None:
    streams = market(
        quotes([5 * MS], [100.0]), quotes([5 * MS], [50.0], B), trades([5 * MS, 5 * MS], [1.0, 1.0])
    )
    features = (("price.MidPrice", "mid", {}), ("price.MidPrice", "mid_b", {"instrument": B}))

    def values(emission: Emission) -> list[list[float]]:
        made = FeatureGraph(config(*features), [A, B], emission)
        return made.push(streams, 5 * MS).values.tolist()

    assert str(values(Emission.of_input(A, "trades"))) == "[[100.0, nan], [100.0, nan]]"
    assert values(Emission.of_input(B, "quotes")) == [[100.0, 50.0]]
    assert str(values(Emission.raw())) == "[[100.0, nan], [100.0, 50.0]]"
    assert values(Emission.grid(MS))[5:] == []


def test_a_row_at_an_instant_waits_until_time_has_passed_it() -> None:
    made = FeatureGraph(config("price.MidPrice"), [A], Emission.grid(10 * MS), start=1)
    assert len(made.push(market(quotes([10 * MS], [100.0])), 10 * MS).values) == 0
    assert len(made.push({}, 10 * MS).values) == 0
    rows = made.push(market(quotes([10 * MS], [101.0])), 10 * MS + 1)
    assert rows.emitted_at.tolist() == [10 * MS]
    assert rows.values.tolist() == [[101.0]]
    assert made.push({}, 40 * MS).emitted_at.tolist() == [20 * MS, 30 * MS]


def test_grid_rows_before_any_record_are_all_nan_and_have_no_event() -> None:
    made = FeatureGraph(config(*EIGHT), [A], Emission.grid(10 * MS), start=-15 * MS)
    rows = made.push({}, 1)
    assert rows.emitted_at.tolist() == [-10 * MS, 0]
    assert np.isnan(rows.values).all()
    assert (rows.event_time == MISSING).all()


def test_scheduled_rows_come_at_their_instants_once_each_time_they_are_asked_for() -> None:
    made = FeatureGraph(config("price.MidPrice"), [A], Emission.scheduled())
    made.schedule(np.array([3, 5, 5, 9]))
    rows = made.push(market(quotes([3, 5, 6], [1.0, 2.0, 3.0])), 6)
    assert rows.emitted_at.tolist() == [3, 5, 5]
    assert rows.tie.tolist() == [0, 0, 1]
    assert rows.values.tolist() == [[1.0], [2.0], [2.0]]
    made.schedule(np.array([9, 12]))
    rows = made.push({}, 100)
    assert rows.emitted_at.tolist() == [9, 9, 12]
    assert rows.tie.tolist() == [0, 1, 0]


@pytest.mark.parametrize("instants", [[5, 4], [2]])
def test_instants_out_of_order_or_in_the_past_are_refused(instants: list[int]) -> None:
    made = FeatureGraph(config("price.MidPrice"), [A], Emission.scheduled(), start=3)
    with pytest.raises(TimeWentBackwardsError, match="must be sorted"):
        made.schedule(np.array(instants))


def test_a_row_is_visible_one_compute_latency_after_its_emission() -> None:
    made = FeatureGraph(config("price.MidPrice", compute_latency="2ms"), [A])
    rows = made.push(market(quotes([10], [1.0])), 10)
    assert rows.visible_at.tolist() == [10 + 2 * MS]


def test_every_column_of_a_row_is_read_only_and_one_dimensional_but_the_values() -> None:
    made = FeatureGraph(config(*EIGHT, compute_latency="1ms"), [A])
    for streams in (market(quotes([10], [1.0])), {}):
        rows = made.push(streams, 10)
        for name, column in rows._asdict().items():
            assert not column.flags.writeable, name
            assert column.flags.c_contiguous
            assert column.dtype == (np.float64 if name == "values" else np.int64)


def test_a_row_names_the_label_features_instrument() -> None:
    features = [("price.MidPrice", "mid", {}), ("price.MidPrice", "mid_b", {"instrument": B})]
    made = FeatureGraph(
        config(*features, label_feature="mid_b", label_lookahead="1s"), [A, B], Emission.raw()
    )
    assert made.push(market(quotes([10], [1.0])), 10).instrument.tolist() == [1]
    assert FeatureGraph(config(*features), [A, B]).push(
        market(quotes([10], [1.0])), 10
    ).instrument.tolist() == [0]


def test_a_graph_asks_for_each_stream_once_with_the_columns_that_are_read() -> None:
    made = FeatureGraph(config(*EIGHT), [B, A], Emission.of_input(A, "depth"))
    assert [(r.key, r.columns) for r in made.requests] == [
        ((B, "quotes"), ("bid_price", "ask_price", "bid_quantity", "ask_quantity")),
        ((B, "trades"), ("quantity", "aggressor")),
        ((A, "depth"), ()),
    ]
    assert made.names == tuple(name for _, name, _ in EIGHT)


def test_equal_definitions_are_worked_out_once() -> None:
    made = FeatureGraph(config(*EIGHT, ("price.MidPrice", "again", {"instrument": A})), [A])
    mids = [node for node in made.nodes if type(node.definition).__name__ == "MidPrice"]
    assert [node.outputs for node in mids] == [[0, 8]]


def test_a_graph_of_some_outputs_works_out_what_they_need_and_no_more() -> None:
    made = FeatureGraph(config(*EIGHT), [A], outputs=["lag"])
    assert [type(node.definition).__name__ for node in made.nodes] == [
        "MidPrice",
        "LogReturn",
        "Lag",
    ]
    assert made.push(market(quotes([10], [1.0])), 10).values.shape == (1, 1)


def test_records_of_streams_that_no_feature_reads_are_passed_over() -> None:
    made = FeatureGraph(config("price.MidPrice"), [A])
    assert len(made.push(market(trades([10], [1.0])), 10).values) == 0


@pytest.mark.parametrize(
    ("before", "times", "until"), [(20, [19], 30), (20, [25], 24), (20, [], 19)]
)
def test_a_push_that_breaks_the_order_of_time_is_refused(
    before: int, times: list[int], until: int
) -> None:
    made = FeatureGraph(config("price.MidPrice"), [A])
    made.push({}, before)
    with pytest.raises(TimeWentBackwardsError):
        made.push(market(quotes(times, [1.0] * len(times))), until)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([("smoothing.Lag", "lag", {"lag": "1s", "feature": "mi"}), "price.MidPrice"], "unknown"),
        (
            [
                ("smoothing.Lag", "a", {"lag": "1s", "feature": "b"}),
                ("smoothing.Lag", "b", {"lag": "1s", "feature": "a"}),
            ],
            "a → b → a",
        ),
        ([("price.MidPrice", "mid", {"instrument": "SIM.C"})], "Known: SIM.A, SIM.B"),
    ],
)
def test_features_that_cannot_be_made_are_refused(features: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        FeatureGraph(config(*features), [A, B])


def test_a_sampling_of_an_unknown_stream_is_refused() -> None:
    with pytest.raises(FeatureError, match="quots"):
        FeatureGraph(config("price.MidPrice", sampling={"input": "quots"}), [A])


class ReadsWrongColumn(Pointwise):
    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid",)),)

    def value(self, bid: Any) -> Any:
        return bid


class ReadsWrongKind(ReadsWrongColumn):
    def inputs(self) -> tuple[Any, ...]:
        return (Market("quote", ("bid",)),)


class ReturnsTooFew(ReadsWrongColumn):
    def inputs(self) -> tuple[Any, ...]:
        return (Market("quotes", ("bid_price",)),)

    def value(self, bid: Any) -> Any:
        return bid[:1]


@pytest.mark.parametrize(
    ("definition", "message"),
    [(ReadsWrongColumn, "bid_price"), (ReadsWrongKind, "Did you mean 'quotes'")],
)
def test_inputs_that_do_not_exist_are_refused_with_the_nearest(
    definition: type[FeatureDefinition], message: str
) -> None:
    with pytest.raises(FeatureError, match=message):
        FeatureGraph(config(f"{__name__}.{definition.__name__}"), [A])


def test_a_definition_that_returns_too_few_values_is_refused() -> None:
    made = FeatureGraph(config(f"{__name__}.ReturnsTooFew"), [A])
    with pytest.raises(FeatureError, match="must return"):
        made.push(market(quotes([1, 2, 3], [1.0] * 3)), 3)


def test_a_kind_of_integers_reaches_a_feature_as_floats() -> None:
    made = FeatureGraph(config(("flow.TradeVolumeImbalance", "flow", {"window": "1ms"})), [A])
    stream = records(A, "trades", [0, 2 * MS], aggressor=[1, -1])
    assert str(made.push(market(stream), 2 * MS).values.tolist()) == "[[nan], [-1.0]]"


def test_writable_records_give_the_same_rows_and_stay_as_they_were() -> None:
    stream = quotes([0, MS, 9 * MS], [1.0, 2.0, 3.0])
    writable = type(stream)(
        stream.instrument, stream.kind, {name: c.copy() for name, c in stream.columns.items()}
    )
    rows = [FeatureGraph(config(*EIGHT), [A]).push(market(s), 9 * MS) for s in (stream, writable)]
    assert same_bits(*rows)
    assert all(column.flags.writeable for column in writable.columns.values())


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_every_third_record_emits_a_row_in_chunks_of_any_size(size: int) -> None:
    stream = quotes([t * MS for t in range(20)], [float(t) for t in range(20)])
    made = FeatureGraph(config("price.MidPrice"), [A], Emission.of_input(A, "quotes", 3))
    parts = [
        made.push(market(stream.slice(i, i + size)), min(i + size, 20) * MS)
        for i in range(0, 20, size)
    ]
    assert joined(parts).values[:, 0].tolist() == [2.0, 5.0, 8.0, 11.0, 14.0, 17.0]
