"""Kinds that a user declares: in the catalog, in `kinds.yaml`, with revisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurizer.catalog import Catalog
from featurizer.catalog_kinds import UserKind, read_kinds
from featurizer.errors import CatalogError, MarketDataError
from featurizer.market import Kind, StreamRequest
from tests.featurizer.market_examples import ALPHA, NOON, SECOND, stamps

FUNDING = Kind("funding", 0, {"rate": "float64", "due_time": "instant"})
EARNINGS = UserKind(Kind("earnings", 0, {"period": "int64", "value": "float64"}), ("period",))


def earnings(receipt: list[int], period: list[int], value: list[float]) -> dict[str, Any]:
    table = stamps([NOON] * len(receipt))
    table["receipt_time"] = NOON + np.array(receipt) * SECOND
    return table | {"period": np.array(period), "value": np.array(value)}


def test_a_user_kind_is_declared_written_and_read(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c", [ALPHA], [FUNDING])
    table = stamps([NOON], 1) | {"rate": np.array([-0.0001]), "due_time": np.array([NOON + 9])}
    catalog.write("SIM.ALPHA", "funding", table)
    again = Catalog(tmp_path / "c")
    assert again.kind("funding").number == 100
    request = StreamRequest("SIM.ALPHA", "funding", ("rate", "due_time"))
    (window,) = again.windows([request], NOON, NOON + 1)
    found = window.venue["SIM.ALPHA", "funding"].columns
    assert {n: v.tolist() for n, v in found.items()} == {n: v.tolist() for n, v in table.items()}
    (summary,) = again.describe()
    assert summary.columns == {"rate": "float64", "due_time": "instant"}


def test_kinds_are_added_later_and_keep_their_numbers(tmp_path: Path) -> None:
    Catalog.create(tmp_path / "c", [ALPHA], [FUNDING])
    Catalog.create(tmp_path / "c", [ALPHA], [EARNINGS, FUNDING])
    catalog = Catalog.create(tmp_path / "c", [ALPHA])
    assert {k: v.number for k, v in catalog.kinds.items() if v.number >= 100} == {
        "funding": 100, "earnings": 101,
    }  # fmt: skip
    assert catalog.key_of("earnings") == ("period",)
    assert catalog.key_of("quotes") == ()


@pytest.mark.parametrize(
    "changed",
    [
        UserKind(Kind("earnings", 0, {"period": "int64"}), ("period",)),
        UserKind(Kind("earnings", 0, {"value": "float64", "period": "int64"}), ("period",)),
        UserKind(EARNINGS.kind),
    ],
)
def test_a_kind_that_is_declared_otherwise_is_refused(tmp_path: Path, changed: UserKind) -> None:
    Catalog.create(tmp_path / "c", [ALPHA], [EARNINGS])
    with pytest.raises(CatalogError, match="`earnings` must stay as it is declared"):
        Catalog.create(tmp_path / "c", [ALPHA], [changed])


@pytest.mark.parametrize(
    "kind",
    [
        Kind("quotes", 100, {}),
        Kind("x", 100, {"a": "text"}),  # type: ignore[dict-item]
        Kind("x", 1, {"sequence": "int64"}),
        Kind("x y", 1, {"a": "int64"}),
        Kind("x", 1, {"a-b": "int64"}),
    ],
)
def test_a_user_kind_that_cannot_be_is_refused(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(CatalogError, match="must be"):
        Catalog.create(tmp_path / "c", [ALPHA], [kind])
    assert not (tmp_path / "c").exists()


def test_a_file_of_kinds_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(
        "kinds:\n  signal:\n    columns: {score: float64}\n"
        "  earnings:\n    columns: {period: int64, value: float64}\n    key: [period]\n"
    )
    signal, revised = read_kinds(path)
    assert (signal.kind.name, signal.kind.number, signal.key) == ("signal", 100, ())
    assert (revised.kind.number, revised.key) == (101, ("period",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kinds: [{name: x}]", "`kinds` must map names to columns"),
        ("- 3", "`kinds` must map names to columns: got None"),
        ("kinds: {x: {score: float64}}", r"kind `x` must have `columns`.*got `score`"),
        ("kinds: {x: 3}", "kind `x` must have `columns`.*got 3"),
        ("kinds: {x: {columns: {a: text}}}", "column `a` of kind `x` must be instant, int64"),
        ("kinds: {x: {columns: {a: int64}, key: [b]}}", "`key` of kind `x` must be a list"),
        ("kinds: {trades: {columns: {a: int64}}}", "must be a new identifier: got 'trades'"),
        ("kinds: [", "must be YAML"),
    ],
)
def test_a_malformed_file_of_kinds_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "kinds.yaml").write_text(text)
    with pytest.raises(CatalogError, match=message):
        read_kinds(tmp_path / "kinds.yaml")


def test_a_revision_of_the_same_key_comes_later_and_reaches_us_when_it_was_received(
    tmp_path: Path,
) -> None:
    catalog = Catalog.create(tmp_path / "c", [ALPHA], [EARNINGS])
    catalog.write("SIM.ALPHA", "earnings", earnings([1, 2, 9], [1, 2, 1], [5.0, 6.0, 4.5]))
    key = ("SIM.ALPHA", "earnings")
    request = StreamRequest(*key, ("period", "value"))
    windows = list(catalog.windows([request], NOON + 5 * SECOND, NOON + 10 * SECOND, rows=1))
    ours = [v for w in windows for v in w.ours[key].columns["value"].tolist()]
    assert ours == [4.5]


def test_two_revisions_received_together_are_refused(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c", [ALPHA], [EARNINGS])
    table = earnings([1, 1, 1], [1, 2, 1], [5.0, 6.0, 4.5])
    with pytest.raises(MarketDataError, match=r"row 2: `receipt_time` of a revision .*`period`"):
        catalog.write("SIM.ALPHA", "earnings", table)


def test_a_range_without_records_is_refused_although_later_ones_reach_into_it(
    tmp_path: Path,
) -> None:
    catalog = Catalog.create(tmp_path / "c", [ALPHA], [EARNINGS])
    catalog.write("SIM.ALPHA", "earnings", earnings([1], [1], [5.0]))
    with pytest.raises(CatalogError, match="must hold records"):
        catalog.windows([StreamRequest("SIM.ALPHA", "earnings")], NOON + DAY, NOON + 2 * DAY)


DAY = 86_400 * SECOND
