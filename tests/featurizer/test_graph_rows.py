"""Rows of each instrument, and rows that hold the rows before them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from featurizer.config import FeaturizerConfig, row_names
from featurizer.emission import Emission
from featurizer.graph import FeatureGraph, FeatureRows
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
    same_bits,
    total_order,
)

FEATURES = (
    *EIGHT[:5],
    ("smoothing.Ema", "ema", {"half_life": "4ms", "feature": "imbalance"}),
    ("price.MidPrice", "mid_a", {"instrument": A}),
    ("smoothing.Lag", "mid_a_lag", {"lag": "2ms", "feature": "mid_a"}),
)
SAMPLINGS = {
    "raw": "raw",
    "each one's quotes": {"input": "quotes"},
    "each one's second quote": {"input": "quotes", "every": 2},
    "the quotes of B": {"input": "quotes", "instrument": B},
    "grid": "2ms",
}


def made(sampling: Any, **others: Any) -> FeatureGraph:
    return FeatureGraph(config(*FEATURES, sampling=sampling, **others), [A, B])


def cut_at(streams: Any, data: st.DataObject, end: int) -> tuple[list[Any], list[int]]:
    order = total_order(streams)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=6)))
    untils: list[int] = []
    for cut in cuts:
        low = max(order[cut - 1][0] if cut else 0, untils[-1] if untils else 0)
        high = order[cut][0] if cut < len(order) else end
        untils.append(data.draw(st.integers(low, max(low, high))))
    return pieces(streams, cuts), [*untils, end]


def end_of(streams: Any) -> int:
    order = total_order(streams)
    return (order[-1][0] if order else 0) + 3 * MS


@pytest.mark.slow
@given(
    streams=markets(),
    data=st.data(),
    sampling=st.sampled_from(sorted(SAMPLINGS)),
    rows=st.sampled_from([1, 2, 4]),
    each=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_rows_of_each_and_rows_of_rows_have_the_same_bits_however_time_is_cut(
    streams: Any, data: st.DataObject, sampling: str, rows: int, each: bool
) -> None:
    end = end_of(streams)
    parts, untils = cut_at(streams, data, end)
    graph = made(SAMPLINGS[sampling], rows=rows, per_instrument=each)
    chunks = [graph.push(part, until) for part, until in zip(parts, untils, strict=True)]
    whole = made(SAMPLINGS[sampling], rows=rows, per_instrument=each).push(streams, end)
    assert same_bits(whole, joined(chunks))


@pytest.mark.slow
@given(streams=markets(), sampling=st.sampled_from(sorted(SAMPLINGS)))
@settings(max_examples=60, deadline=None)
def test_rows_of_each_instrument_are_those_of_a_graph_of_its_own(
    streams: Any, sampling: str
) -> None:
    end = end_of(streams)
    rows = made(SAMPLINGS[sampling], per_instrument=True).push(streams, end)
    for place, name in enumerate((A, B)):
        graph = FeatureGraph(
            config(*FEATURES, sampling=SAMPLINGS[sampling]), [A, B], instrument=name
        )
        alone, read = graph.push(streams, end), {request.key for request in graph.requests}
        mine = FeatureRows(*(column[rows.instrument == place] for column in rows))
        if sampling == "raw":  # alone, every record emits a row: here only its own do
            order = [key for _, _, key, _ in total_order(streams) if key in read]
            own = np.array([key[0] == name for key in order], np.bool_)
            np.testing.assert_array_equal(mine.values, alone.values[own])
        elif sampling.startswith("each"):
            every = 2 if "second" in sampling else 1
            emission = Emission.of_input(name, "quotes", every)
            alone = FeatureGraph(config(*FEATURES), [A, B], emission, instrument=name).push(
                streams, end
            )
            np.testing.assert_array_equal(mine.emitted_at, alone.emitted_at)
            np.testing.assert_array_equal(mine.tie, alone.tie)
            np.testing.assert_array_equal(mine.values, alone.values)
        else:
            np.testing.assert_array_equal(mine.emitted_at, alone.emitted_at)
            np.testing.assert_array_equal(mine.values, alone.values)


@pytest.mark.slow
@given(streams=markets(), rows=st.integers(2, 4), sampling=st.sampled_from(sorted(SAMPLINGS)))
@settings(max_examples=40, deadline=None)
def test_a_row_of_rows_holds_the_rows_of_its_instrument_before_it(
    streams: Any, rows: int, sampling: str
) -> None:
    end = end_of(streams)
    plain = made(SAMPLINGS[sampling], per_instrument=True).push(streams, end)
    stacked = made(SAMPLINGS[sampling], per_instrument=True, rows=rows).push(streams, end)
    width = len(FEATURES)
    seen: dict[int, list[Any]] = {0: [], 1: []}
    for row, place in enumerate(plain.instrument.tolist()):
        seen[place].append(plain.values[row])
        lags = [np.full(width, np.nan)] * rows + seen[place]
        np.testing.assert_array_equal(stacked.values[row].reshape(rows, width), lags[-rows:])
    for name in ("emitted_at", "visible_at", "event_time", "tie", "instrument"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(stacked, name))


def test_rows_of_one_instant_come_in_the_order_of_the_instruments_with_ties_of_their_own() -> None:
    streams = market(quotes([MS, 2 * MS, 2 * MS], [1.0, 2.0, 3.0]), quotes([2 * MS], [7.0], B))
    rows = FeatureGraph(
        config("price.MidPrice", sampling={"input": "quotes"}, per_instrument=True), [A, B]
    ).push(streams, 3 * MS)
    assert rows.instrument.tolist() == [0, 0, 0, 1]
    assert rows.tie.tolist() == [0, 0, 1, 0]
    assert rows.values[:, 0].tolist() == [1.0, 2.0, 3.0, 7.0]
    grid = FeatureGraph(config("price.MidPrice", sampling="2ms", per_instrument=True), [A, B])
    rows = grid.push(streams, 3 * MS)
    assert rows.emitted_at.tolist() == [0, 0, 2 * MS, 2 * MS]
    assert rows.instrument.tolist() == [0, 1, 0, 1]
    assert rows.tie.tolist() == [0, 0, 0, 0]
    assert rows.values[2:, 0].tolist() == [3.0, 7.0]


def test_a_row_is_as_fresh_as_the_records_of_its_own_instrument() -> None:
    streams = market(
        quotes([5 * MS], [1.0], event_time=[4 * MS]), quotes([5 * MS], [7.0], B, event_time=[1])
    )
    graph = FeatureGraph(config("price.MidPrice", sampling="5ms", per_instrument=True), [A, B])
    assert graph.push(streams, 6 * MS).event_time[2:].tolist() == [4 * MS, 1]


def test_a_feature_of_a_named_instrument_is_worked_out_once_for_all_rows() -> None:
    graph = made("2ms", per_instrument=True)
    kinds = [type(node.definition).__name__ for node in graph.nodes]
    # the mids of A and B: A's own serves `mid_a` too, and its lag is the same in both rows
    assert kinds.count("MidPrice") == 2
    assert kinds.count("Lag") == 1
    assert kinds.count("Ema") == 2


def test_columns_of_earlier_rows_are_named_by_how_long_ago_they_were() -> None:
    names = made("raw", rows=3).names
    assert names[:2] == ("mid@-2", "spread@-2")
    assert names[-len(FEATURES) :] == tuple(name for _, name, _ in FEATURES)
    assert names == row_names([name for _, name, _ in FEATURES], 3)


@pytest.mark.parametrize(
    ("others", "message"),
    [({"rows": 0}, "rows"), ({"rows": 2}, "must not hold an @")],
)
def test_rows_that_cannot_be_are_refused(others: Any, message: str) -> None:
    feature = {"feature_definition": "price.MidPrice", "name": "mid@-1"}
    with pytest.raises(ValidationError, match=message):
        FeaturizerConfig.model_validate({"feature_configs": [feature], **others})
