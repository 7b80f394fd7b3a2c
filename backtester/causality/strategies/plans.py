"""Drawn plans of a strategy: orders of every kind, changes, cancels, groups, own requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from hypothesis import strategies as st

from backtester.causality.strategies.stamps import STEP

__all__ = ["plans"]

_EVENTS = ("quote", "trade", "bar", "data", "features", "prediction", "order", "fill")
_FORCES = (None, None, None, None, "ioc", "fok", "gtd")
_KINDS = ("order",) * 9 + ("cancel", "cancel", "modify", "modify", "bracket", "oco", "cancel_all")
_COLUMNS = {"signals": ["key", "value"], "funding": ["rate"]}


@st.composite
def deeds(draw: st.DrawFn, kinds: Sequence[str] = _KINDS) -> dict[str, Any]:
    """Draw one thing to do; sides and sizes that are left open are decided by what is seen."""
    return {
        "kind": draw(st.sampled_from(kinds)),
        "instrument": draw(st.integers(0, 2)),
        "side": draw(st.sampled_from([0, 0, 1, -1])),
        "lots": draw(st.integers(1, 6)),
        "offset": draw(st.sampled_from([None, None, 2, 0, 1, -1, -1, -2, -3, 4])),
        "stop": draw(st.sampled_from([None] * 7 + [1, 2, -1])),
        "force": draw(st.sampled_from(_FORCES)),
        "expires": draw(st.none() | st.integers(0, 30).map(lambda steps: steps * STEP)),
        "post_only": draw(st.integers(0, 5)) == 0,
        "reduce_only": draw(st.integers(0, 14)) == 0,
        "random": draw(st.integers(0, 4)) == 0,
        "width": draw(st.integers(1, 4)),
        "one": draw(st.booleans()),
        "again": draw(st.sampled_from([None, None, None, 0, STEP, 4 * STEP])),
    }


@st.composite
def plans(
    draw: st.DrawFn,
    kinds: Mapping[str, Set[str]],
    loops: Mapping[str, int],
    *,
    may_ask: bool = True,
    steps: int = 100,
) -> dict[str, Any]:
    """Draw the plan of a `DrawnTrader`.

    Args:
        draw: Hypothesis.
        kinds: Kinds of records that each instrument has.
        loops: Names of the inference loops, and how many columns the model of each reads.
        may_ask: Whether it may submit requests of its own, which takes the run into lockstep.
        steps: Length of the run in steps of 5 ms.
    """
    heard = sorted({kind for held in kinds.values() for kind in held & _COLUMNS.keys()})
    asks: Any = None
    if loops and may_ask and draw(st.integers(0, 4)) == 0:
        asks = draw(st.sampled_from([[name, width] for name, width in loops.items()]))
    often = st.sampled_from([1, 2, 3, 5])
    every = draw(st.dictionaries(st.sampled_from(_EVENTS), often, min_size=1, max_size=4))
    timers = draw(st.lists(st.integers(0, steps), min_size=2, max_size=8))
    has_depth = any("depth" in held for held in kinds.values())
    chosen = draw(st.lists(deeds(), min_size=2, max_size=8))
    if asks is not None:
        chosen.append({**chosen[0], "kind": "ask"})
    return {
        "every": every,
        "timers": [after * STEP for after in timers],
        "deeds": chosen,
        "most": draw(st.sampled_from([8, 20, 40])),
        "kinds": {kind: _COLUMNS[kind] for kind in heard},
        "data": [[kind, name] for name, held in kinds.items() for kind in heard if kind in held],
        "loops": list(loops),
        "asks": asks,
        "reads_depth": has_depth and draw(st.booleans()),
    }
