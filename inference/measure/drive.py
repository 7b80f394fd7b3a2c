"""Load generators: LoadGen's four, and open-loop arrivals of any shape.

Single-stream: the next request leaves when the last is answered. Multi-stream: a query of several,
the next one when all are answered. Offline: all at once. Server: each at its instant, whatever the
answers do, and its latency counts from that instant, so that a deployment which slows the generator
down cannot hide it (coordinated omission).
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import Event
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.wall import utc_now
from inference.backend import Backend, Reply
from inference.errors import ModelFailedError
from inference.measure.loads import Arrivals, gaps
from inference.measure.log import Log, LogBuilder
from inference.rows import MISSING
from inference.schedule import Outcome, Reason

__all__ = ["PACER", "Pacer", "multi_stream", "offline", "server", "single_stream", "warm_up"]

Floats = NDArray[np.float64]

ANSWER_WITHIN_S: Final = 60.0
"""How long to wait for the answers after the last request has left."""

LEAD_NS: Final = 20_000_000
"""From the start of a load to its first possible request."""

SWITCH_S: Final = 0.0002
"""How long the client's thread may go on while the generator's request is due; Python's 5 ms are
longer than what is measured."""

_NEVER_SET: Final = Event()


def _nap(duration_ns: int) -> None:
    _NEVER_SET.wait(duration_ns / 1e9)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep garbage collection of what is there, and slow turns of threads, out of a load."""
    gc.collect()
    gc.freeze()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()


class Pacer(NamedTuple):
    """Waits for instants: sleeps until shortly before, then spins.

    It shares its processor with the deployment's client, so that it spins only as long as a sleep
    may be late.
    """

    read: Callable[[], int] = utc_now
    sleep: Callable[[int], None] = _nap
    spin_ns: int = 150_000

    def wait_until(self, instant: int) -> int:
        """Return the present once it is *instant* or later."""
        while (left := instant - self.read()) > self.spin_ns:
            self.sleep(left - self.spin_ns)
        while (present := self.read()) < instant:
            pass
        return present


PACER: Final = Pacer()
"""The host's."""


def single_stream(
    backend: Backend,
    rows: Floats,
    requests: int,
    pacer: Pacer = PACER,
    *,
    pause_ns: int = 0,
    seed: int = 0,
) -> Log:
    """Send one request at a time, the next when the last is answered.

    Args:
        backend: The deployment.
        rows: What to ask about, shape (n, n_features), again from the top where they end.
        requests: How many.
        pacer: Reads the host's time.
        pause_ns: Mean of a pause, exponential, before each: what has rested answers later.
        seed: Of the pauses.
    """
    return multi_stream(backend, rows, requests, 1, pacer, pause_ns=pause_ns, seed=seed)


def multi_stream(
    backend: Backend,
    rows: Floats,
    queries: int,
    size: int = 8,
    pacer: Pacer = PACER,
    *,
    pause_ns: int = 0,
    seed: int = 0,
) -> Log:
    """Send queries of several requests at once, the next when all of the last are answered.

    All requests of a query are due when it leaves. See `single_stream`.
    """
    built = LogBuilder()
    pauses = gaps(pause_ns, queries, seed, "measure/pauses")
    with _undisturbed():
        for query in range(queries):
            due = pacer.wait_until(pacer.read() + int(pauses[query]))
            sent = [
                (pacer.read(), backend.submit(rows[(query * size + i) % len(rows)]))
                for i in range(size)
            ]
            for submitted_at, future in sent:
                built.add(query, due, submitted_at, _reply(future, submitted_at, pacer))
    return built.build()


def offline(backend: Backend, rows: Floats, requests: int, pacer: Pacer = PACER) -> Log:
    """Send all requests at once, and wait for all. See `single_stream`."""
    return multi_stream(backend, rows, 1, requests, pacer)


def server(backend: Backend, rows: Floats, arrivals: Arrivals, pacer: Pacer = PACER) -> Log:
    """Send each request at its instant, whatever the answers do.

    What the generator was late is in the log. See `single_stream`.
    """
    sent: list[tuple[int, int, Future[Reply]]] = []
    count = len(rows)
    with _undisturbed():
        start = pacer.read() + LEAD_NS
        for place, offset in enumerate(arrivals.at.tolist()):
            due = start + offset
            submitted_at = pacer.wait_until(due)
            sent.append((due, submitted_at, backend.submit(rows[place % count])))
        wait_for([future for _, _, future in sent], ANSWER_WITHIN_S)
    built = LogBuilder()
    for due, submitted_at, future in sent:
        built.add(0, due, submitted_at, _reply(future, submitted_at, pacer))
    return built.build()


def warm_up(backend: Backend, rows: Floats, requests: int, pacer: Pacer = PACER) -> None:
    """Ask so often before measuring, and refuse to measure a deployment that does not answer.

    Raises:
        ModelFailedError: If no request is answered.
    """
    log = single_stream(backend, rows, requests, pacer)
    if not log.answered.any():
        reply = backend.submit(rows[0]).result(ANSWER_WITHIN_S)
        raise ModelFailedError(
            f"the deployment must answer before it is measured: {requests} requests had no answer "
            f"(the last one: {reply.error or reply.outcome.name.lower()})."
        )


def _reply(future: Future[Reply], submitted_at: int, pacer: Pacer) -> Reply:
    try:
        return future.result(ANSWER_WITHIN_S)
    except TimeoutError:
        future.cancel()
        return _lost("no answer in time", Outcome.TIMED_OUT, submitted_at)
    except BaseException as error:
        if not future.cancelled():
            raise
        return _lost(f"cancelled: {error}", Outcome.FAILED, submitted_at)


def _lost(error: str, outcome: Outcome, submitted_at: int) -> Reply:
    return Reply(outcome, np.nan, submitted_at, MISSING, reason=Reason.NONE, error=error)
