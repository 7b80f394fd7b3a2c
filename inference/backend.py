"""Backend: a real deployment as a loop sees it: one request out, one reply back, no waiting."""

from __future__ import annotations

from concurrent.futures import Future
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inference.rows import MISSING
from inference.schedule import Outcome, Reason

__all__ = ["Backend", "Reply"]


class Reply(NamedTuple):
    """What became of one attempt; instants in nanoseconds of the host's steady clock, UTC.

    An instant that was never reached, or that the deployment did not tell, is MISSING: of a replica
    on another host only the two stamps of our own side, `sent_at` and `received_at`, are known.
    `value` is NaN unless `outcome` is COMPLETED.
    """

    outcome: Outcome
    value: float
    sent_at: int
    received_at: int
    started_at: int = MISSING
    """The model began to work on it, or on the batch that it is in."""
    completed_at: int = MISSING
    replica: str = ""
    batch_size: int = 1
    reason: Reason = Reason.NONE
    error: str = ""
    """What went wrong, in a sentence; empty where nothing did."""


@runtime_checkable
class Backend(Protocol):
    """A deployment that answers in real time.

    `submit` never waits and never raises for what happens to a request later: that is in its reply.
    Every future ends, with a reply or by being cancelled.
    """

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns of a row, in the model's order."""

    def submit(self, values: NDArray[np.float64]) -> Future[Reply]:
        """Send one row of features, shape (n_features,), and return what will hold its reply.

        The future ends in a thread of the backend's; cancelling it takes the request back where
        the deployment can, and otherwise drops its reply.
        """

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one value a row, shape (n,), for rows of shape (n, n_features); waits for them.

        Raises:
            ModelFailedError: If the deployment answers a row with an error, or not at all.
        """

    def close(self) -> None:
        """Give up what is under way and let go of the deployment, which goes on; idempotent."""
