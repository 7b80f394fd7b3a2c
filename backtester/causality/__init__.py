"""Show that nothing looked ahead, or what did."""

from backtester.causality.laws import (
    assert_ahead_equals_lockstep,
    assert_chunk_invariant,
    assert_conserves,
    assert_deterministic,
    assert_future_blind,
    assert_in_order,
    assert_known_at,
)

__all__ = [
    "assert_ahead_equals_lockstep",
    "assert_chunk_invariant",
    "assert_conserves",
    "assert_deterministic",
    "assert_future_blind",
    "assert_in_order",
    "assert_known_at",
]
