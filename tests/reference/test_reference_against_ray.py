"""The reference's batches against the queue of the installed Ray Serve, on a fake clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inference.ray_batches import Arrivals, Batch, rays_batches
from tests.reference.serving.hand import serve

pytest.importorskip("ray.serve", reason="the reference is held against an installed Ray Serve")
pytestmark = [
    pytest.mark.slow,
    # ray's own sources warn of what pydantic and asyncio will take away
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

STEP = 1_000_000
"""In microseconds; arrivals differ within a step, so that nothing else is due at their instant."""


@st.composite
def arrivals(draw: st.DrawFn) -> Arrivals:
    gaps = draw(st.lists(st.integers(0, 4), min_size=1, max_size=40))
    base, per_item = draw(st.integers(1, 6)), draw(st.integers(0, 2))
    return Arrivals(
        at=[STEP * int(step) + number for number, step in enumerate(np.cumsum(gaps))],
        max_batch_size=draw(st.integers(1, 6)),
        wait=STEP * draw(st.integers(0, 4)),
        slots=draw(st.integers(1, 3)),
        durations=lambda n: STEP * (base + per_item * n) + 1000,
        blocking=draw(st.booleans()),
    )


def batches_of_the_reference(asked: Arrivals) -> list[Batch]:
    sizes = {n: asked.durations(n) * 1000 for n in range(1, asked.max_batch_size + 1)}
    loop = serve(
        [instant / 1000 for instant in asked.at],
        until=1e12,
        max_ongoing_requests=len(asked.at) + 1,
        service_time={"kind": "table", "sizes": sizes},
        batching={
            "kind": "ray",
            "max_batch_size": asked.max_batch_size,
            "batch_wait_timeout": asked.wait * 1000,
            "max_concurrent_batches": asked.slots,
            "function": "blocking" if asked.blocking else "yielding",
        },
    )
    executions = loop.deployments[0].executions
    return sorted(
        Batch(one.started_at // 1000, tuple(sorted(a.request.number for a in one.members)))
        for one in executions
    )


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(arrivals())
def test_the_reference_makes_the_batches_of_rays_queue(
    monkeypatch: pytest.MonkeyPatch, asked: Arrivals
) -> None:
    with monkeypatch.context() as patched:
        theirs = rays_batches(asked, patched)
    assert batches_of_the_reference(asked) == theirs
