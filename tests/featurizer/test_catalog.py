from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurizer.catalog import Catalog
from featurizer.errors import CatalogError, MarketDataError
from featurizer.market import QUOTES, Instrument, StreamRequest
from tests.featurizer.market_examples import ALPHA, NOON, SECOND, depth, quotes, trades

REQUEST = StreamRequest("SIM.ALPHA", "quotes", tuple(QUOTES.columns))
DAY = 86_400 * SECOND


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.create(tmp_path / "catalog", [ALPHA])


def read(catalog: Catalog, request: StreamRequest = REQUEST) -> dict[str, list[Any]]:
    first, last = catalog.range([request.key])
    windows = list(catalog.windows([request], first, last))
    pieces = [window.venue[request.key].columns for window in windows]
    return {name: np.concatenate([p[name] for p in pieces]).tolist() for name in pieces[0]}


def as_arrow(table: dict[str, Any]) -> pa.Table:
    instant = pa.timestamp("ns", "UTC")
    return pa.table(
        {n: pa.array(v, instant) if n.endswith("_time") else v for n, v in table.items()}
    )


def test_the_layout_is_kind_instrument_day_part(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + DAY]))
    names = sorted(str(p.relative_to(catalog.root)) for p in catalog.root.rglob("*.parquet"))
    assert names == [
        "quotes/instrument=SIM.ALPHA/date=2024-08-08/part-00000.parquet",
        "quotes/instrument=SIM.ALPHA/date=2024-08-09/part-00000.parquet",
    ]
    schema = pq.read_schema(catalog.root / names[0])
    assert schema.field("event_time").type == pa.timestamp("ns", "UTC")
    assert json.loads(schema.metadata[b"lightcone"])["rows"] == 1


@pytest.mark.parametrize("make", [dict, as_arrow, lambda t: pl.from_arrow(as_arrow(t))])
def test_what_is_written_is_what_is_read_from_any_kind_of_table(
    catalog: Catalog, make: Any
) -> None:
    table = quotes(NOON + np.arange(5) * 7, 3)
    assert catalog.write("SIM.ALPHA", "quotes", make(table)) == 5
    assert read(Catalog(catalog.root)) == {n: v.tolist() for n, v in table.items()}


def test_a_day_grows_by_parts_that_follow_each_other(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 5]))
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 6]))
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 1]))
    assert read(catalog)["event_time"] == [NOON + 1, NOON + 5, NOON + 6]


def test_records_among_those_that_are_there_are_refused_unless_they_replace(
    catalog: Catalog,
) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + 10]))
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 20]))
    with pytest.raises(CatalogError, match=r"must not lie among.*--replace"):
        catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 5]))
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 5]), replace=True)
    assert read(catalog)["event_time"] == [NOON + 5]


def test_an_instrument_is_defined_anew_from_an_instant_on(tmp_path: Path) -> None:
    later = ALPHA.model_copy(update={"valid_from": NOON, "tick_size": ALPHA.tick_size * 5})
    catalog = Catalog.create(tmp_path / "c", [later, ALPHA])
    assert catalog.instrument("SIM.ALPHA", NOON - 1) == ALPHA
    assert catalog.instrument("SIM.ALPHA", NOON) == later
    assert catalog.instruments == {"SIM.ALPHA": later}
    assert Catalog(tmp_path / "c").definitions == catalog.definitions
    catalog.write("SIM.ALPHA", "trades", trades([NOON - 1], price=np.array([100.01])))
    with pytest.raises(MarketDataError, match=r"`price` must be a multiple of the tick size 0.05"):
        catalog.write("SIM.ALPHA", "trades", trades([NOON], price=np.array([100.01])))


def test_records_from_before_the_first_definition_are_refused(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c", [ALPHA.model_copy(update={"valid_from": NOON})])
    with pytest.raises(MarketDataError, match=r"before the first definition of SIM\.ALPHA"):
        catalog.write("SIM.ALPHA", "quotes", quotes([NOON - 1]))
    with pytest.raises(CatalogError, match="must be defined at"):
        catalog.instrument("SIM.ALPHA", NOON - 1)


def test_creating_adds_instruments_and_refuses_to_change_one(catalog: Catalog) -> None:
    other = Instrument(**(ALPHA.model_dump() | {"id": "SIM.BETA"}))
    assert list(Catalog.create(catalog.root, [other]).instruments) == ["SIM.ALPHA", "SIM.BETA"]
    changed = ALPHA.model_copy(update={"tick_size": ALPHA.tick_size * 2})
    with pytest.raises(CatalogError, match="must stay as it is defined"):
        Catalog.create(catalog.root, [changed])


@pytest.mark.parametrize("missing", ["fees", "tick_size", "lot_size"])
def test_an_instrument_without_a_field_in_the_yaml_is_refused(
    catalog: Catalog, missing: str
) -> None:
    path = catalog.root / "instruments.yaml"
    lines = path.read_text().splitlines()
    gone = {"fees": ("fees", "maker", "taker")}.get(missing, (missing,))
    path.write_text("\n".join(x for x in lines if x.strip(" -").split(":")[0] not in gone))
    with pytest.raises(CatalogError, match=f"SIM.ALPHA: `{missing}` must be stated"):
        Catalog(catalog.root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instruments: 3", "`instruments` must be a list"),
        ("instruments: [", "must be YAML"),
        ("instruments: [{id: X, tick_size: -1}]", "`tick_size` is not valid"),
        ("instruments: [7]", "instrument entry 1"),
    ],
)
def test_a_malformed_list_of_instruments_is_refused(
    catalog: Catalog, text: str, message: str
) -> None:
    (catalog.root / "instruments.yaml").write_text(text)
    with pytest.raises(CatalogError, match=message):
        Catalog(catalog.root)


def test_a_folder_that_is_no_catalog_is_refused_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no such folder.*lightcone data synth"):
        Catalog(tmp_path / "nowhere")


def part_of(catalog: Catalog) -> Path:
    (path,) = catalog.root.rglob("*.parquet")
    return path


def test_an_empty_parquet_file_is_refused(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON]))
    pq.write_table(pq.read_table(part_of(catalog)).slice(0, 0), part_of(catalog))
    with pytest.raises(MarketDataError, match="empty Parquet file"):
        Catalog(catalog.root).range([REQUEST.key])


def test_a_file_that_is_no_parquet_is_refused(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON]))
    part_of(catalog).write_bytes(b"")
    with pytest.raises(CatalogError, match="must be a Parquet file"):
        Catalog(catalog.root).range([REQUEST.key])


def test_a_part_that_something_else_wrote_is_held_against_every_rule(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + 1]))
    frame = pl.read_parquet(part_of(catalog))
    frame.write_parquet(part_of(catalog))
    assert read(Catalog(catalog.root))["event_time"] == [NOON, NOON + 1]
    frame.with_columns(ask_price=pl.col("bid_price")).write_parquet(part_of(catalog))
    with pytest.raises(MarketDataError, match="row 0: `bid_price` must be below `ask_price`"):
        Catalog(catalog.root).range([REQUEST.key])
    frame.drop("sequence").write_parquet(part_of(catalog))
    with pytest.raises(MarketDataError, match="column `sequence` of quotes must be int64"):
        Catalog(catalog.root).range([REQUEST.key])


def test_parts_that_overlap_are_refused(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON]))
    copy = part_of(catalog).with_name("part-00001.parquet")
    copy.write_bytes(part_of(catalog).read_bytes())
    with pytest.raises(CatalogError, match=r"part-0000[01].parquet: parts .* must not overlap"):
        Catalog(catalog.root).range([REQUEST.key])


def test_a_part_that_changes_after_the_catalog_was_opened_is_refused(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + 1]))
    reader = Catalog(catalog.root)
    reader.range([REQUEST.key])
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + 2]), replace=True)
    with pytest.raises(CatalogError, match="must not change while the catalog is read"):
        list(reader.windows([REQUEST], NOON, NOON + 9))
    part_of(catalog).unlink()
    with pytest.raises(CatalogError, match="must not be removed"):
        list(reader.windows([REQUEST], NOON, NOON + 9))


def test_a_reader_never_sees_half_of_a_part_that_is_being_replaced(catalog: Catalog) -> None:
    tables = [quotes(NOON + np.arange(rows)) for rows in (3, 30)]
    catalog.write("SIM.ALPHA", "quotes", tables[0])
    stop = threading.Event()

    def replace() -> None:
        for number in range(1_000_000):
            if stop.is_set():
                return
            catalog.write("SIM.ALPHA", "quotes", tables[number % 2], replace=True)

    writer = threading.Thread(target=replace)
    writer.start()
    seen: set[int] = set()
    try:
        for _ in range(40):
            reader = Catalog(catalog.root)
            try:
                seen.add(len(read(reader)["sequence"]))
            except CatalogError as error:
                assert "must not change" in str(error)  # noqa: PT017
    finally:
        stop.set()
        writer.join()
    assert seen <= {3, 30}
    assert seen


def test_a_write_that_fails_leaves_nothing_behind(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        catalog.write("SIM.ALPHA", "quotes", quotes([NOON]))
    assert [p for p in catalog.root.rglob("*") if p.is_file()] == [
        catalog.root / "instruments.yaml"
    ]


def test_the_digest_depends_on_content_and_range_alone(tmp_path: Path) -> None:
    key = REQUEST.key
    digests = []
    for name in ("a", "b"):
        catalog = Catalog.create(tmp_path / name, [ALPHA])
        catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + DAY]))
        digests.append(catalog.digest([key], NOON, NOON + 9))
        catalog.write("SIM.ALPHA", "quotes", quotes([NOON + 3 * DAY]))
        digests.append(catalog.digest([key, key], NOON, NOON + 9))
    assert len(set(digests)) == 1
    assert catalog.digest([key], NOON, NOON + 10) != digests[0]
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON], 1), replace=True)
    assert catalog.digest([key], NOON, NOON + 9) != digests[0]


def test_describe_tells_rows_range_gap_and_latency(catalog: Catalog) -> None:
    event = NOON + np.array([0, 1, 5, 6]) * SECOND
    catalog.write("SIM.ALPHA", "quotes", quotes(event, np.array([1, 2, 3, 9])))
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON + DAY], 4))
    catalog.write("SIM.ALPHA", "trades", trades([NOON], 7))
    first, second = Catalog(catalog.root).describe()
    assert (first.kind, first.rows, first.parts) == ("quotes", 5, 2)
    assert (first.start, first.end) == (NOON, NOON + DAY)
    assert (first.longest_gap_at, first.longest_gap_ns) == (int(event[-1]), DAY - 6 * SECOND)
    assert first.latency_ns == {"p50": 3, "p95": 9, "p99": 9, "max": 9}
    assert (second.kind, second.rows, second.longest_gap_ns) == ("trades", 1, 0)


def test_range_covers_the_events_of_all_streams(catalog: Catalog) -> None:
    catalog.write("SIM.ALPHA", "quotes", quotes([NOON, NOON + 5]))
    catalog.write("SIM.ALPHA", "depth", depth([NOON - 3]))
    keys = [("SIM.ALPHA", "quotes"), ("SIM.ALPHA", "depth")]
    assert catalog.range(keys) == (NOON - 3, NOON + 6)
    assert catalog.streams() == keys
