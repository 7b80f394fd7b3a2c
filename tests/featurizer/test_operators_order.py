"""Walks along two sorted columns against a search for each instant."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurizer.operators.order import around, counted, first_from, largest_counted, ordinals

SORTED = st.lists(st.integers(-20, 20), max_size=30).map(sorted)


def fixed(values: Any) -> Any:
    array = np.array(values, np.int64)
    array.flags.writeable = False
    return array


@given(stream=SORTED, instants=SORTED)
def test_counts_are_those_of_a_search(stream: list[int], instants: list[int]) -> None:
    for inclusive, side in ((False, "left"), (True, "right")):
        found = counted(fixed(stream), fixed(instants), inclusive)
        assert found.tolist() == np.searchsorted(stream, instants, side).tolist()


@given(stream=SORTED.filter(len), instants=SORTED)
def test_what_lies_around_an_instant_is_that_of_two_searches(
    stream: list[int], instants: list[int]
) -> None:
    instants = [instant for instant in instants if instant <= stream[-1]]
    places, after = around(fixed(stream), fixed(instants))
    assert places.tolist() == [sum(1 for t in stream if t <= at) - 1 for at in instants]
    assert after.tolist() == [min(t for t in stream if t >= at) for at in instants]


@given(values=st.lists(st.integers(-9, 9), max_size=20), data=st.data(), before=st.integers(-9, 9))
def test_the_largest_so_far_is_that_of_a_plain_maximum(
    values: list[int], data: Any, before: int
) -> None:
    counts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=9)))
    found, largest = largest_counted(fixed(values), fixed(counts), before)
    assert found.tolist() == [max([before, *values[:count]]) for count in counts]
    assert largest == max([before, *values])


@given(stream=SORTED.filter(len), data=st.data())
def test_ordinals_count_on_wherever_the_instants_are_cut(stream: list[int], data: Any) -> None:
    cut = data.draw(st.integers(1, len(stream)))
    first, count = ordinals(fixed(stream[:cut]), -(2**63), 0)
    rest = []
    if stream[cut:]:
        found, count = ordinals(fixed(stream[cut:]), stream[cut - 1], count)
        rest = found.tolist()
    expected = [stream[:place].count(at) for place, at in enumerate(stream)]
    assert first.tolist() + rest == expected
    assert count == stream.count(stream[-1])


@given(stream=SORTED, instants=SORTED, known=st.integers(-20, 40))
def test_the_first_record_from_an_instant_on_replaces_a_later_one(
    stream: list[int], instants: list[int], known: int
) -> None:
    found = np.full(len(instants), known)
    first_from(fixed(stream), fixed(instants), found)
    expected = [min([known, *[t for t in stream if t >= at][:1]]) for at in instants]
    assert found.tolist() == expected
