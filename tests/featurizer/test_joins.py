"""Point-in-time joins against a plain search."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurizer.errors import FeatureError
from featurizer.joins import join_visible

NAMES = ("SIM.A", "SIM.B")


def frame(visible: list[int], names: list[str], late: int = 0, **columns: Any) -> pl.DataFrame:
    stamp = pl.Datetime("ns", "UTC")
    table = {
        "emitted_at": pl.Series([at - late for at in visible], dtype=pl.Int64).cast(stamp),
        "visible_at": pl.Series(visible, dtype=pl.Int64).cast(stamp),
        "event_time": pl.Series([at - late - 1 for at in visible], dtype=pl.Int64).cast(stamp),
        "instrument": pl.Series(names, dtype=pl.String),
        "x": pl.Series([float(n) for n in range(len(visible))], dtype=pl.Float64),
        "label": pl.Series([9.0] * len(visible), dtype=pl.Float64),
        "label_visible_at": pl.Series(visible, dtype=pl.Int64).cast(stamp),
    }
    return pl.DataFrame(table | columns)


def stamps(draw: Any, most: int = 15) -> tuple[list[int], list[str]]:
    visible = sorted(draw(st.lists(st.integers(0, 20), min_size=1, max_size=most)))
    return visible, [draw(st.sampled_from(NAMES)) for _ in visible]


@given(
    data=st.data(),
    same=st.booleans(),
    age=st.one_of(st.none(), st.integers(0, 5)),
    late=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_a_row_is_joined_by_when_the_other_was_visible(
    data: st.DataObject, same: bool, age: int | None, late: int
) -> None:
    visible, names = stamps(data.draw)
    seen, others = stamps(data.draw)
    rows, other = frame(visible, names), frame(seen, others, late)
    joined = join_visible(rows, other, "other_", same_instrument=same, max_age_ns=age)
    assert joined.select(rows.columns).equals(rows)
    assert joined.columns == [*rows.columns, "other_visible_at", "other_x"]
    for row, now in enumerate(visible):
        known = [
            place
            for place, at in enumerate(seen)
            if at <= now and (not same or others[place] == names[row])
        ]
        place = known[-1] if known else None
        if place is not None and age is not None and now - seen[place] > age:
            place = None
        assert joined["other_x"][row] == (None if place is None else float(place))
        found = joined["other_visible_at"].to_physical()[row]
        assert found == (None if place is None else seen[place])


def test_labels_and_emission_instants_of_the_other_stay_behind() -> None:
    joined = join_visible(frame([5], ["SIM.A"]), frame([4], ["SIM.B"]), "eth_")
    assert not {"eth_label", "eth_label_visible_at", "eth_emitted_at"} & set(joined.columns)


def test_names_that_are_taken_and_rows_out_of_order_are_refused() -> None:
    rows = frame([5], ["SIM.A"])
    with pytest.raises(FeatureError, match="`prefix`"):
        join_visible(rows, rows, "")
    with pytest.raises(FeatureError, match="sorted"):
        join_visible(rows, frame([5, 4], ["SIM.A", "SIM.A"]), "x_")
