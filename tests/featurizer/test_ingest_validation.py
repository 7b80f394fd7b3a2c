"""Every rule of the market data has a message that names file, row, rule, value and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from clock.errors import InputError
from featurizer.catalog import Catalog
from featurizer.errors import MarketDataError
from tests.featurizer.market_examples import ALPHA, NOON, SECOND, bars, depth, quotes, trades

T = NOON + np.arange(3) * SECOND


def col(*values: float) -> np.ndarray:
    return np.array(values)


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("quotes", quotes(T, np.array([0, -5, 0])), r"row 1: `receipt_time` must not be before "
     r"`event_time`: got 2024-08-08T12:00:00.999999995Z, 5ns before .*--clock-offset auto"),
    ("quotes", quotes(T, np.array([0, 0, 61 * SECOND])),
     r"row 2: `receipt_time` must be at most 1m after .*got 61s\. .*--max-lateness 61s"),
    ("quotes", quotes(T[[0, 2, 1]]), r"row 2: .*must not go back: got \(.*after.*Sort"),
    ("quotes", quotes(T[[0, 0, 0]], 0, [1, 3, 2]), r"row 2: .*must not go back"),
    ("quotes", quotes(T[[0, 1, 1]], 0, [1, 2, 2]), r"row 2: .*must not occur twice.*duplicate"),
    ("quotes", quotes(T, bid_price=col(100, np.nan, 100)), r"row 1: `bid_price` .*finite.*got nan"),
    ("quotes", quotes(T, bid_quantity=col(1, np.inf, 1)), r"row 1: `bid_quantity` .*got inf"),
    ("quotes", quotes(T, bid_price=col(100, 100.01, 100.05)), r"row 2: .*crossed book.*100.05 and"),
    ("quotes", quotes(T, ask_price=col(100, 101, 101)), r"row 0: `bid_price` must be below"),
    ("quotes", quotes(T, bid_price=col(100, 0, 100)), r"row 1: `bid_price` must be positive"),
    ("quotes", quotes(T, bid_price=col(-1, -2, -3)), r"row 0: .*got -1.0. 3 of 3 rows break"),
    ("quotes", quotes(T, ask_quantity=col(1, 0, 1)), r"row 1: `ask_quantity` must be positive"),
    ("quotes", quotes(T, bid_price=col(99, 99.005, 99)), r"row 1: .*of the tick size 0.01"),
    ("quotes", quotes(T, bid_quantity=col(1, 1, 1e-4)), r"row 2: .*multiple of the lot size 0.001"),
    ("trades", trades(T, price=col(1, -1, 1)), r"row 1: `price` must be positive"),
    ("trades", trades(T, quantity=col(0, 1, 1)), r"row 0: `quantity` must be positive"),
    ("trades", trades(T, aggressor=np.array([1, 0, -1])), r"row 1: `aggressor` must be 1 or -1"),
    ("depth", depth(T, side=np.array([1, 2, 1])), r"row 1: `side` must be 1 or -1"),
    ("depth", depth(T, quantity=col(0, 0, -1)), r"row 2: `quantity` must not be negative"),
    ("depth", depth(T, is_snapshot=np.array([0, 1, 2])), r"row 2: `is_snapshot` must be 0 or 1"),
    ("depth", depth(T[[0, 0, 0]], 0, [1, 1, 1], price=col(99, 100, 100)), r"row 2: .*twice"),
    ("depth", depth(T[[0, 0, 0]], 0, [1, 1, 1], price=col(99, 98, 100)), r"row 1: .*go back"),
    ("bars", bars(T, open_time=T), r"row 0: `open_time` must be before `event_time`"),
    ("bars", bars(T, high=col(101, 100.2, 101)), r"row 1: `close` must not be above `high`"),
    ("bars", bars(T, low=col(99, 99, 100.2)), r"row 2: `open` must not be below `low`"),
    ("quotes", quotes([]), r"it holds no quotes"),
]  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.create(tmp_path / "catalog", [ALPHA])


@pytest.mark.parametrize(("kind", "table", "message"), CASES)
def test_a_record_that_breaks_a_rule_is_refused_with_a_clear_message(
    catalog: Catalog, kind: str, table: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        catalog.write("SIM.ALPHA", kind, table, source="file.parquet")
    assert str(caught.value).startswith("file.parquet")
    assert catalog.streams() == []


@pytest.mark.parametrize(
    ("kind", "table"),
    [("quotes", quotes(T)), ("trades", trades(T)), ("depth", depth(T)), ("bars", bars(T))],
)
def test_a_valid_table_of_each_kind_is_accepted(
    catalog: Catalog, kind: str, table: dict[str, Any]
) -> None:
    assert catalog.write("SIM.ALPHA", kind, table) == 3


def test_lateness_is_accepted_up_to_the_limit_that_is_given(catalog: Catalog) -> None:
    table = quotes(T, 61 * SECOND)
    assert catalog.write("SIM.ALPHA", "quotes", table, max_lateness_ns=61 * SECOND) == 3


def test_a_price_with_a_rounding_error_is_still_a_multiple_of_the_tick(catalog: Catalog) -> None:
    table = trades(T, price=col(0.1 + 0.2, 61_800.2 + 0.01, 99_999.99))
    assert catalog.write("SIM.ALPHA", "trades", table) == 3


def frame() -> pl.DataFrame:
    table = quotes(T)
    return pl.DataFrame(table).with_columns(
        pl.col("event_time", "receipt_time").cast(pl.Datetime("ns", "UTC"))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"receipt_time": pl.lit(None, pl.Datetime("ns", "UTC"))}, "row 0: `receipt_time` must be "
         "present: got null. 3 of 3"),
        ({"event_time": pl.col("event_time").dt.replace_time_zone(None)}, r"`event_time` must be "
         r"timestamp\[ns, tz=UTC\]: got timestamp\[ns\]"),
        ({"bid_price": pl.col("bid_price").cast(pl.String)}, "`bid_price` must be double"),
        ({"bid_prise": pl.lit(1.0)}, "no column `bid_prise`. Did you mean `bid_price`"),
    ],
)  # fmt: skip
def test_a_frame_of_wrong_types_is_refused(
    catalog: Catalog, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(MarketDataError, match=message):
        catalog.write("SIM.ALPHA", "quotes", frame().with_columns(**change))


def test_a_table_without_a_column_is_refused(catalog: Catalog) -> None:
    with pytest.raises(MarketDataError, match="must have a column `receipt_time`"):
        catalog.write("SIM.ALPHA", "quotes", frame().drop("receipt_time"))


@pytest.mark.parametrize("bad", [T.astype(float), T.reshape(3, 1), T.astype("datetime64[ns]")])
def test_an_array_of_the_wrong_type_is_refused(catalog: Catalog, bad: np.ndarray) -> None:
    table = quotes(T) | {"event_time": bad}
    with pytest.raises(MarketDataError, match="`event_time` must be one-dimensional int64"):
        catalog.write("SIM.ALPHA", "quotes", table)


def test_coarser_stamps_in_utc_are_exact_and_accepted(catalog: Catalog) -> None:
    table = quotes(T)
    stamp = pa.timestamp("ms", "UTC")
    millis = {n: pa.array(table[n] // 10**6, stamp) for n in ("event_time", "receipt_time")}
    assert catalog.write("SIM.ALPHA", "quotes", pa.table(table | millis)) == 3
    assert catalog.range([("SIM.ALPHA", "quotes")]) == (int(T[0]), int(T[-1]) + 1)
