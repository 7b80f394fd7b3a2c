"""A catalog read by window gives what a plain filter and sort of the whole table gives."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurizer import catalog_parts
from featurizer.catalog import Catalog
from featurizer.errors import CatalogError
from featurizer.market import DEPTH, QUOTES, StreamRequest, Window
from tests.featurizer.market_examples import ALPHA, NOON, SECOND, depth, quotes, trades

MIDNIGHT = 1_723_161_600_000_000_000
REQUESTS = [
    StreamRequest("SIM.ALPHA", "quotes", tuple(QUOTES.columns)),
    StreamRequest("SIM.ALPHA", "trades", ("price", "aggressor")),
]
KEYS = [request.key for request in REQUESTS]


def together(windows: list[Window], side: str, key: tuple[str, str]) -> dict[str, list[Any]]:
    pieces = [getattr(window, side)[key].columns for window in windows]
    return {name: np.concatenate([p[name] for p in pieces]).tolist() for name in pieces[0]}


def naive(table: dict[str, Any], stamp: str, start: int, until: int) -> dict[str, list[Any]]:
    rows = [
        (int(table[stamp][i]), int(table["sequence"][i]), i)
        for i in range(len(table["sequence"]))
        if start <= table[stamp][i] < until
    ]
    order = [i for _, _, i in sorted(rows)]
    return {name: [values[i].item() for i in order] for name, values in table.items()}


@st.composite
def stamped(draw: st.DrawFn) -> tuple[list[int], list[int], list[int]]:
    """Sorted (event, sequence) around midnight with ties, and a lateness for each."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(-30, 30), st.integers(0, 40), st.integers(0, 3)),
            min_size=1, max_size=60, unique_by=lambda row: row[:2],
        )
    )  # fmt: skip
    rows.sort()
    far = draw(st.sampled_from([1, 7, 40]))
    event = [MIDNIGHT + row[0] for row in rows]
    return event, [row[2] * far for row in rows], [row[1] for row in rows]


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stamped(), stamped(), st.integers(1, 40), st.integers(1, 80),
    st.integers(-35, 25), st.integers(1, 70), st.integers(1, 9),
)  # fmt: skip
def test_windows_of_any_size_give_what_a_filter_and_sort_of_the_table_give(
    quote_stamps: Any, trade_stamps: Any, rows: int, longest: int, first: int, length: int,
    group: int,
) -> None:  # fmt: skip
    event, late, sequence = quote_stamps
    tables = [quotes(event, np.array(late), sequence)]
    event, late, sequence = trade_stamps
    tables.append(trades(event, np.array(late), sequence))
    start, until = MIDNIGHT + first, MIDNIGHT + first + length
    with tempfile.TemporaryDirectory() as folder, patch.object(catalog_parts, "ROW_GROUP", group):
        catalog = Catalog.create(folder, [ALPHA])
        for key, table in zip(KEYS, tables, strict=True):
            catalog.write(*key, table)
        try:
            windows = list(catalog.windows(REQUESTS, start, until, rows, longest))
        except CatalogError:
            assert not any(naive(table, "event_time", start, until)["sequence"] for table in tables)
            return
    edges = [window.start for window in windows] + [windows[-1].until]
    assert edges[0] == start
    assert edges[-1] == until
    assert all(window.until == edge for window, edge in zip(windows, edges[1:], strict=True))
    for request, table in zip(REQUESTS, tables, strict=True):
        wanted = {n: table[n] for n in ("event_time", "receipt_time", "sequence", *request.columns)}
        for side, stamp in (("venue", "event_time"), ("ours", "receipt_time")):
            expected = naive(wanted, stamp, start, until)
            assert together(windows, side, request.key) == expected
            for window in windows:
                stamps = getattr(window, side)[request.key].columns[stamp]
                assert all(window.start <= t < window.until for t in stamps.tolist())


def catalog_of(tmp_path: Path, **tables: Any) -> Catalog:
    catalog = Catalog.create(tmp_path / "catalog", [ALPHA])
    for kind, table in tables.items():
        catalog.write("SIM.ALPHA", kind, table)
    return catalog


def test_a_record_from_before_the_start_is_ours_if_it_reaches_us_after(tmp_path: Path) -> None:
    table = quotes([NOON - 10, NOON - 5, NOON], np.array([9, 5, 3]))
    catalog = catalog_of(tmp_path, quotes=table)
    (window,) = catalog.windows(REQUESTS[:1], NOON, NOON + 100)
    assert window.venue[KEYS[0]].event_time.tolist() == [NOON]
    assert window.ours[KEYS[0]].event_time.tolist() == [NOON - 5, NOON]


def test_a_window_has_about_the_rows_asked_for_and_never_splits_an_instant(tmp_path: Path) -> None:
    event = NOON + np.repeat(np.arange(100) * 10, 7)
    catalog = catalog_of(tmp_path, quotes=quotes(event))
    windows = list(catalog.windows(REQUESTS[:1], NOON, NOON + 1000, rows=20))
    sizes = [len(window.venue[KEYS[0]]) for window in windows]
    assert set(sizes[:-1]) == {14}
    windows = list(catalog.windows(REQUESTS[:1], NOON, NOON + 1000, rows=1))
    assert {len(window.venue[KEYS[0]]) for window in windows} <= {0, 7}


def test_windows_are_read_only_contiguous_columns_and_share_memory_in_order(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, quotes=quotes(NOON + np.arange(1000), 5))
    for window in catalog.windows(REQUESTS[:1], NOON, NOON + 2000, rows=100):
        for records in (window.venue[KEYS[0]], window.ours[KEYS[0]]):
            for values in records.columns.values():
                assert not values.flags.writeable
                assert values.flags.c_contiguous
                assert values.dtype in (np.int64, np.float64)
                assert values.ndim == 1


def test_a_stream_asked_for_twice_comes_once_with_the_columns_of_both(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, quotes=quotes([NOON]))
    requests = [
        StreamRequest("SIM.ALPHA", "quotes", ("ask_price",)),
        StreamRequest("SIM.ALPHA", "quotes", ("bid_price",)),
    ]
    (window,) = catalog.windows(requests, NOON, NOON + 1)
    names = list(window.ours[KEYS[0]].columns)
    assert names == ["event_time", "receipt_time", "sequence", "bid_price", "ask_price"]


def test_levels_of_one_depth_update_come_as_bids_then_asks_by_price(tmp_path: Path) -> None:
    table = depth(
        [NOON] * 4, 3, [5, 5, 5, 5],
        side=np.array([1, 1, -1, -1]), price=np.array([99.0, 100.0, 100.5, 101.0]),
    )  # fmt: skip
    catalog = catalog_of(tmp_path, depth=table)
    request = StreamRequest("SIM.ALPHA", "depth", tuple(DEPTH.columns))
    windows = list(catalog.windows([request], NOON, NOON + 9))
    for side in ("venue", "ours"):
        assert together(windows, side, request.key)["price"] == [99.0, 100.0, 100.5, 101.0]
        assert together(windows, side, request.key)["side"] == [1, 1, -1, -1]


def test_a_range_without_records_is_refused_before_the_first_window(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, quotes=quotes([NOON]))
    with pytest.raises(CatalogError, match=r"must hold records.*2024-08-08T12:00:00Z"):
        catalog.windows(REQUESTS[:1], NOON + SECOND, NOON + 2 * SECOND)
    with pytest.raises(CatalogError, match="must begin before it ends"):
        catalog.windows(REQUESTS[:1], NOON + 1, NOON + 1)


def test_an_unknown_stream_or_column_is_refused_with_what_there_is(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, quotes=quotes([NOON]))
    with pytest.raises(CatalogError, match=r"must hold trades of SIM.ALPHA.*quotes of SIM.ALPHA"):
        catalog.windows([StreamRequest("SIM.ALPHA", "trades")], NOON, NOON + 1)
    with pytest.raises(CatalogError, match="Did you mean 'quotes'"):
        catalog.windows([StreamRequest("SIM.ALPHA", "quote")], NOON, NOON + 1)
    with pytest.raises(CatalogError, match=r"Did you mean 'SIM\.ALPHA'"):
        catalog.windows([StreamRequest("SIM.ALPH", "quotes")], NOON, NOON + 1)
    with pytest.raises(CatalogError, match="Did you mean 'bid_price'"):
        catalog.windows([StreamRequest("SIM.ALPHA", "quotes", ("bid_prise",))], NOON, NOON + 1)


def test_memory_does_not_grow_with_the_catalog(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        event = NOON + np.arange(rows) * 1000
        late = np.where(np.arange(rows) % 10, 3_000, 50_000)
        catalog = catalog_of(tmp_path / str(rows), quotes=quotes(event, late))
        before, most = pa.total_allocated_bytes(), 0
        for _ in catalog.windows(REQUESTS[:1], NOON, NOON + rows * 1000, rows=512):
            most = max(most, pa.total_allocated_bytes() - before)
        return most

    with patch.object(catalog_parts, "ROW_GROUP", 2048):
        small, large = peak(20_000), peak(200_000)
    assert large <= 1.1 * small
