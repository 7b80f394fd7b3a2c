"""The serving of a run in a few lines: where latency comes from, how busy, what policies did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["serving_rows"]

_SATURATED = 0.95
"""Busy share of the replicas beyond which requests outrun them."""

Row = tuple[str, str, str]


def serving_rows(serving: dict[str, Any]) -> Iterator[Row]:
    """Yield rows of a summary's `serving`: what, how much, and what it means."""
    for loop, numbers in serving.items():
        yield from _legs(loop, numbers, several=len(serving) > 1)
        yield from _requests(numbers)
        for name, deployment in numbers["deployments"].items():
            label = loop if name == "default" else f"{loop}, {name}"
            yield from _deployment(label, deployment)
        for remark in numbers["remarks"]:
            yield "remark", "", remark


def _legs(loop: str, numbers: dict[str, Any], *, several: bool) -> Iterator[Row]:
    means = {leg: points["mean"] for leg, points in numbers["legs_ms"].items()}
    shown = [f"{leg.replace('_', ' ')} {_ms(ms)}" for leg, ms in means.items() if ms]
    if shown:
        total = sum(ms for ms in means.values() if ms)
        of = f" of {loop}" if several else ""
        yield "mean latency", _ms(total), f"ms{of}: {', '.join(shown)}"


def _requests(numbers: dict[str, Any]) -> Iterator[Row]:
    requests = numbers["requests"]
    if requests["hit_rate"] is not None:
        text = f"{requests['cache_hits']:,} answers from the cache"
        yield "cache hits", f"{requests['hit_rate']:.1%}", text
    if requests["fallbacks"]:
        yield "fallbacks", f"{requests['fallbacks']:,}", "answers while a circuit breaker was open"
    retries = numbers["attempts"] - requests["asked"]
    if retries > 0:
        yield "attempts", f"{numbers['attempts']:,}", f"for {requests['asked']:,} requests"
    if requests["reasons"]:
        counts = (f"{n:,} {why.replace('_', ' ')}" for why, n in requests["reasons"].items())
        yield "because", "", ", ".join(counts)


def _deployment(label: str, numbers: dict[str, Any]) -> Iterator[Row]:
    if numbers["utilisation"] is not None:
        yield "utilisation", f"{numbers['utilisation']:.1%}", f"{label}{_too_much(numbers)}"
    metrics = numbers["metrics"]
    size = metrics["serve_actual_batch_size"]
    if size["max"] > 1:
        wait = metrics["serve_batch_wait_time_ms"]["p50"]
        text = f"requests a batch in the mean, {size['max']} at most; first waits {_ms(wait)} ms"
        yield "batches", f"{size['mean']:.3g}", f"{text} (p50)"
    replicas = numbers["replicas"]
    if replicas["limit"] != replicas["start"]:
        text = f"replicas in the mean, {replicas['start']} at first, {replicas['limit']} at most"
        yield "replicas", f"{replicas['mean']:.3g}", text
    breaker = numbers["breaker"]
    if breaker is not None:
        text = f"times open, {breaker['open_share']:.1%} of the run"
        yield "circuit breaker", f"{breaker['opened']:,}", text


def _too_much(numbers: dict[str, Any]) -> str:
    """Return what to say of a deployment that is asked for more than it can do."""
    offered = numbers["offered_load"]
    if offered is not None and offered > 1:
        return (
            f": asked for {offered:.2f} times what it can serve, requests arrive faster than they "
            "are served"
        )
    if numbers["utilisation"] > _SATURATED:
        return ": requests arrive faster than they are served"
    return ""


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
