"""Drawn inference loops without policies: polling, replicas, and four places for a latency."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["LATENCIES", "ZERO", "inference_loops"]

LATENCIES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([0, 0, "5ms", "10ms", "25ms"]),
    st.sampled_from(
        [
            {"kind": "lognormal", "median": "8ms", "p99": "40ms"},
            {"kind": "uniform", "low": "0ms", "high": "20ms"},
        ]
    ),
)
"""None, whole steps of the grid of instants, or drawn for each message."""

ZERO: st.SearchStrategy[Any] = st.just(0)


@st.composite
def inference_loops(
    draw: st.DrawFn, latencies: st.SearchStrategy[Any] = LATENCIES
) -> dict[str, Any]:
    """Draw a loop of any polling and a deployment of one to three replicas, without a model."""
    polling = draw(
        st.sampled_from(
            [
                {"kind": "on_feature"},
                {"kind": "continuous"},
                {"kind": "every", "period": "5ms"},
                {"kind": "every", "period": "20ms"},
            ]
        )
    )
    return {
        "num_replicas": draw(st.integers(1, 3)),
        "max_in_flight": draw(st.sampled_from([None, None, 1, 2, 5])),
        "on_new": draw(st.sampled_from(["replace", "queue"])),
        "polling": polling,
        "service_time": draw(latencies),
        "latency": draw(latencies),
        "network": {"out": draw(latencies), "back": draw(latencies)},
    }
