"""A deployment that answers when a test says so, on a host whose time a test moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clock.wall import WallClock
from inference.backend import Reply
from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.rows import MISSING
from inference.schedule import Outcome, Reason
from tests.inference.serving_cases import COLUMNS, INSTRUMENTS, READ
from tests.inference.serving_oracle import Model

Floats = NDArray[np.float64]


class Host:
    """A host whose time passes when it is moved, or while somebody sleeps."""

    def __init__(self, time: int = 0) -> None:
        self.time = time

    def read(self) -> int:
        return self.time

    def sleep(self, duration_ns: int) -> None:
        self.time += duration_ns

    def clock(self, **given: Any) -> WallClock:
        return WallClock(self.read, self.sleep, **given)


class Sent:
    """One row that was sent, and the future that waits for its reply."""

    def __init__(self, values: Floats, sent_at: int, host: Host) -> None:
        self.values, self.sent_at, self._host = values, sent_at, host
        self.future: Future[Reply] = Future()

    def answer(
        self,
        value: float,
        outcome: Outcome = Outcome.COMPLETED,
        reason: Reason = Reason.NONE,
        **more: Any,
    ) -> None:
        """Let the reply come now."""
        if not self.future.cancelled():
            now = self._host.time
            self.future.set_result(Reply(outcome, value, self.sent_at, now, reason=reason, **more))

    def fail(self, error: str = "it broke") -> None:
        """Let it fail now."""
        self.answer(np.nan, Outcome.FAILED, Reason.ERROR, error=error)


class ScriptedBackend:
    """Keeps what it is sent until the test answers."""

    feature_names: Sequence[str] = READ

    def __init__(self, host: Host, on_submit: Callable[[Sent], None] | None = None) -> None:
        self.host, self.on_submit = host, on_submit
        self.sent: list[Sent] = []
        self.closed = False

    def submit(self, values: Floats) -> Future[Reply]:
        sent = Sent(values.copy(), self.host.time, self.host)
        self.sent.append(sent)
        if self.on_submit is not None:
            self.on_submit(sent)
        return sent.future

    def predict(self, values: Floats) -> Floats:
        return np.zeros(len(values))

    def close(self) -> None:
        self.closed = True
        for sent in self.sent:
            sent.future.cancel()

    @property
    def waiting(self) -> list[Sent]:
        return [sent for sent in self.sent if not sent.future.done()]


def live_loop(
    config: InferenceConfig, clock: WallClock, backend: Any, **given: Any
) -> InferenceLoop:
    """Return a loop of the drawn cases' columns on a real deployment."""
    model: Any = given.pop("predictor", None) or Model(3.0)
    return InferenceLoop(
        config,
        model,
        **{
            "start": 0,
            "column_names": COLUMNS,
            "seed": 7,
            "instruments": len(INSTRUMENTS),
            "instrument_names": INSTRUMENTS,
            "clock": clock,
            "backend": backend,
            **given,
        },
    )


def never(stamp: int) -> bool:
    return stamp == MISSING
