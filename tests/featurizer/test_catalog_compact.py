"""Compaction makes fewer files of a day; neither records nor digests of runs change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from featurizer import catalog_compact
from featurizer.catalog import Catalog
from featurizer.errors import CatalogError
from tests.featurizer.catalog_versions import (
    DAY,
    QUOTES_KEY,
    content,
    leftovers,
    make,
    table,
)
from tests.featurizer.market_examples import NOON


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return make(tmp_path / "catalog")


def test_compaction_changes_neither_records_nor_digests(catalog: Catalog) -> None:
    before, span = content(catalog), catalog.range([QUOTES_KEY])
    digests = [catalog.digest([QUOTES_KEY], *span), catalog.digest([QUOTES_KEY], NOON, NOON + 1)]
    done = {stream.kind: stream for stream in catalog.compact()}
    assert (done["quotes"].parts_before, done["quotes"].parts_after) == (4, 2)
    assert done["quotes"].rows == 16
    assert done["trades"].parts_before == done["trades"].parts_after == 2
    again = Catalog(catalog.root)
    assert content(again) == before
    assert digests == [
        again.digest([QUOTES_KEY], *span), again.digest([QUOTES_KEY], NOON, NOON + 1)
    ]  # fmt: skip
    assert [stream.rows for stream in again.compact()] == [0, 0]
    assert leftovers(catalog.root) == []


def test_compaction_holds_no_more_rows_than_it_is_told(catalog: Catalog) -> None:
    catalog.write(*QUOTES_KEY, table(1, 0, first=8))
    quotes_done = catalog.compact([QUOTES_KEY], max_rows=8)[0]
    assert (quotes_done.parts_before, quotes_done.parts_after) == (5, 3)
    assert max(part.summary.rows for part in catalog.parts(*QUOTES_KEY)) == 8


def test_compaction_of_parts_that_change_meanwhile_is_refused(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = catalog_compact.write_part

    def write_and_meet_another(*args: Any) -> Any:
        monkeypatch.setattr(catalog_compact, "write_part", real)
        Catalog(catalog.root).write(*QUOTES_KEY, table(2, 0), replace=True)
        return real(*args)

    monkeypatch.setattr(catalog_compact, "write_part", write_and_meet_another)
    with pytest.raises(CatalogError, match="must not change while it is compacted"):
        catalog.compact()
    assert 2.0 in {v for _, v in content(Catalog(catalog.root))}


def test_a_catalog_written_before_compaction_existed_has_the_same_digest(
    catalog: Catalog,
) -> None:
    digest = catalog.digest([QUOTES_KEY], NOON, NOON + DAY)
    for path in catalog.root.rglob("*.parquet"):
        old = pq.read_table(path)
        meta = json.loads(old.schema.metadata[b"lightcone"])
        del meta["pieces"]
        pq.write_table(old.replace_schema_metadata({b"lightcone": json.dumps(meta)}), path)
    assert Catalog(catalog.root).digest([QUOTES_KEY], NOON, NOON + DAY) == digest
