"""What definitions refuse, and how a book is joined from snapshots and differences."""

from __future__ import annotations

from typing import Any

import pytest

from clock.errors import InputError
from featurizer.definitions.lookup import build_definition, find_definition
from featurizer.errors import FeatureError, MarketDataError
from tests.featurizer.definition_worlds import depth_records, read
from tests.featurizer.feature_markets import MS, B, market


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("flow.KyleLambda", {"window": "1s", "every": "300ms"}, "must be a multiple of `every`"),
        ("cross.RollingBeta", {"window": "1s", "every": "1s", "other": B}, "twice it or more"),
        ("cross.Ratio", {}, "`other` or `other_feature` must be given"),
        ("cross.Ratio", {"other": B, "other_feature": "x"}, "and not both"),
        ("technical.Macd", {"every": "1s", "fast": 26, "slow": 26}, "less than `slow`"),
        ("price.MicroPrice", {"tick_size": 1, "adjustments": [[1], [1, 2]]}, "rows of one length"),
        ("bars.TickBar", {"ticks": 0}, "`ticks`"),
        ("bars.TimeBar", {"every": "1s", "field": "typical"}, "'open', 'high'"),
    ],
)
def test_a_wrong_parameter_is_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        build_definition(find_definition(name), params, "x")


def book_at(rows: list[tuple[Any, ...]], instants: list[int]) -> list[float]:
    stream = market(depth_records([(row[0] * MS, *row[1:]) for row in rows]))
    return read("book.DepthWeightedMid", {"levels": 1}, stream, [t * MS for t in instants])


def test_differences_that_go_back_in_sequence_are_refused() -> None:
    rows = [(0, 7, 1, 99.0, 1.0, 0), (1, 6, 1, 99.0, 2.0, 0)]
    with pytest.raises(MarketDataError, match=r"`sequence` must not go back.*got 6 after 7"):
        book_at(rows, [5])
    assert issubclass(MarketDataError, InputError)


def test_a_snapshot_further_back_than_what_is_remembered_is_refused() -> None:
    rows: list[tuple[Any, ...]] = [(0, 10 + i, 1, 99.0, 1.0, 0) for i in range(1 << 14)]
    with pytest.raises(MarketDataError, match="must not lie more than 16384 differences back"):
        book_at([*rows, (1, 9, 1, 99.0, 1.0, 1)], [5])
    assert str(book_at([*rows, (1, 10, 1, 99.0, 1.0, 1)], [5])) == "[nan]"


def test_a_difference_up_to_the_snapshot_is_left_out_when_it_comes_later() -> None:
    snapshot = [(0, 9, 1, 99.0, 1.0, 1), (0, 9, -1, 101.0, 1.0, 1)]
    late = [(1, 8, 1, 99.0, 5.0, 0), (2, 9, 1, 99.0, 5.0, 0), (3, 10, 1, 99.0, 3.0, 0)]
    assert book_at([*snapshot, *late], [0, 1, 2, 3]) == [100.0, 100.0, 100.0, 99.5]


def test_a_second_snapshot_replaces_the_whole_book() -> None:
    first = [(0, 9, 1, 99.0, 1.0, 1), (0, 9, -1, 101.0, 1.0, 1)]
    second = [(5, 20, 1, 90.0, 1.0, 1), (5, 20, -1, 92.0, 1.0, 1)]
    assert book_at([*first, *second], [4, 5]) == [100.0, 91.0]


def test_a_book_of_many_levels_grows() -> None:
    rows = [(0, 9, side, 5000.0 - side * i, 2.0, 1) for side in (1, -1) for i in range(1, 1500)]
    assert book_at(rows, [0]) == [5000.0]
