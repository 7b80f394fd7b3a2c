"""Drawn inference loops with every policy in every combination, as blocks of a scenario's YAML."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError

from backtester.causality.strategies.deployments import Block, deployments, latencies, ms, optional
from inference.config import InferenceConfig

__all__ = ["blocks", "pressed", "several"]

RETRIES = st.fixed_dictionaries(
    {"max_attempts": st.integers(1, 4), "backoff": ms(0, 8)},
    optional={
        "multiplier": st.sampled_from([1.0, 1.5, 2.0]),
        "max_backoff": ms(8, 20),
        "jitter": st.sampled_from([0.3, 1.0]),
        "attempt_timeout": ms(8, 20),
        "on": st.sampled_from([["failed"], ["rejected", "timed_out"], ["timed_out"]]),
        "budget": st.sampled_from([{"ratio": 0.3, "burst": 1}, {"ratio": 0.5, "burst": 2.5}]),
    },
)


def caches(features: Sequence[str]) -> st.SearchStrategy[Block]:
    """Draw a small cache of answers."""
    return st.fixed_dictionaries(
        {"ttl": ms(5, 120)},
        optional={
            "step": st.sampled_from([1.0, {features[0]: 2.0}]),
            "max_entries": st.integers(1, 3),
            "hit_latency": latencies(2),
        },
    )


TIMEOUTS = ms(20, 40) | st.builds(
    lambda after, cancel: {"after": after, "cancel": cancel}, ms(10, 30), st.booleans()
)
POLLINGS = st.sampled_from(["on_feature", "on_feature", "continuous", {"every": "4ms"}])
ANSWERS = ("none", "last_value", {"constant": 7.5})


@st.composite
def several(draw: st.DrawFn, nan: bool, instruments: Sequence[str] = ("SIM.ALPHA",)) -> Block:
    """Draw two or three variants, and how one of them is chosen."""
    names = ["big", "small", "spare"][: draw(st.integers(2, 3))]
    variants = {}
    for name in names:
        others = tuple({"variant": other} for other in names if other != name)
        variants[name] = draw(deployments((*ANSWERS, *others), nan, instruments))
        variants[name]["accuracy"] = draw(st.sampled_from([0.5, 0.6, 0.7]))
        variants[name]["expected_latency"] = draw(ms(0, 15))
    if draw(st.booleans()):
        shares = {2: [0.25, 0.75], 3: [0.5, 0.25, 0.25]}[len(names)]
        for name, share in zip(names, shares, strict=True):
            variants[name]["share"] = share
        return {"variants": variants, "routing": "split"}
    routing = {"kind": "latency_budget", "budget": draw(ms(5, 20))}
    routing |= draw(
        optional(otherwise=st.sampled_from(["fastest", "reject"]), explore_every=st.integers(1, 4))
    )
    return {"variants": variants, "routing": routing}


@st.composite
def blocks(
    draw: st.DrawFn,
    *,
    features: Sequence[str] = ("imbalance",),
    instruments: Sequence[str] = ("SIM.ALPHA",),
    nan: bool = False,
) -> Block:
    """Draw a loop's block of a scenario, without its model.

    Args:
        draw: Hypothesis.
        features: Columns that the model reads.
        instruments: Those of the run.
        nan: Whether breakers may count NaN answers, which takes the run into lockstep.
    """
    many = draw(st.integers(0, 2)) == 0
    alone = deployments(ANSWERS, nan, instruments)
    block = draw(several(nan, instruments) if many else alone)
    block["polling"] = draw(POLLINGS)
    block["max_in_flight"] = draw(st.sampled_from([1, 2, 5, 12, 12]))
    block["on_new"] = draw(st.sampled_from(["replace", "queue"]))
    block |= draw(optional(timeout=TIMEOUTS, retry=RETRIES, cache=caches(features)))
    return _possible(block, features)


HARD_TIMES: dict[str, Block] = {
    "crash": {
        "faults": [
            {"kind": "crash", "at": ["6ms", "15ms", "30ms"], "restart": "4ms"},
            {"kind": "error_rate", "at": 0, "for": "90ms", "probability": 0.5},
        ],
        "service_time": {"kind": "uniform", "low": "8ms", "high": "20ms"},
    },
    "lost": {"faults": [{"kind": "lost_reply", "at": 0, "for": "60ms", "probability": 0.5}]},
    "budget": {"expected_latency": "6ms"},
}


@st.composite
def pressed(
    draw: st.DrawFn,
    *,
    features: Sequence[str] = ("imbalance",),
    instruments: Sequence[str] = ("SIM.ALPHA",),
) -> Block:
    """Draw a block in which what is rare elsewhere happens often; see `blocks`."""
    block = draw(blocks(features=features, instruments=instruments))
    what = draw(st.sampled_from(sorted(HARD_TIMES)))
    if what == "budget":
        block = {**draw(several(False, instruments)), "polling": "on_feature", "max_in_flight": 12}
    for deployment in block.get("variants", {"": block}).values():
        deployment.update(HARD_TIMES[what])
    if what == "lost":
        block["timeout"] = {"after": "45ms", "cancel": draw(st.booleans())}
    elif what == "budget":
        routing = {"kind": "latency_budget", "budget": "5ms", "otherwise": "reject"}
        block["routing"] = {**routing, "explore_every": 3}
    return _possible(block, features)


def _possible(block: Block, features: Sequence[str]) -> Block:
    """Return a block, unless its policies contradict one another."""
    try:
        InferenceConfig.model_validate({"model_uri": "m", "features": list(features), **block})
    except ValidationError:
        reject()
    return block
