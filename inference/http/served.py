"""Served: one deployment as the service asks it, wherever its model runs."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inference.errors import ModelFailedError

__all__ = ["About", "BusyError", "DownError", "Load", "Scored", "Served"]

Floats = NDArray[np.float64]


class About(NamedTuple):
    """What a deployment says of itself; it does not change while the service runs."""

    name: str
    model_id: str
    """The URI that the model was loaded from."""
    model_version: str
    """What the registry calls it; empty where it has no version."""
    feature_names: tuple[str, ...]
    accepts_nan: bool
    predictor: str = ""
    """Name of the predictor class, where it is known."""
    digest: str = ""
    """Digest of the model's content, where it is known."""
    backend: str = "local"
    replicas: int = 1


class Load(NamedTuple):
    """What a deployment holds now."""

    queued: int
    """Requests that no replica works on yet; -1 where that is not known."""
    processing: int
    """Requests that a replica works on, or, where the queue is not known, all under way."""


class Scored(NamedTuple):
    """Answers to the rows of one request, and how long each leg took where that is known."""

    values: Floats
    """Shape (n,), a value a row."""
    probabilities: Floats | None = None
    """Shape (n, n_classes), where the model has them."""
    queue_ns: int | None = None
    """From asking until the model began."""
    model_ns: int | None = None
    """In the model."""
    replica: str = ""


class BusyError(Exception):
    """The deployment holds as many requests as it may; the request was not begun."""


class DownError(Exception):
    """The deployment cannot be reached, or has no replica; the message says why."""


@runtime_checkable
class Served(Protocol):
    """A deployment behind the service; used from one event loop.

    `predict` may be cancelled: the answer is then dropped.
    """

    @property
    def about(self) -> About:
        """What it is."""

    @property
    def load(self) -> Load:
        """What it holds now; cheap, as it is read with every scrape."""

    async def predict(self, values: Floats) -> Scored:
        """Return the answers to rows of shape (n, n_features), in the model's order, n >= 1.

        Raises:
            BusyError: If the deployment's queue is full.
            DownError: If it cannot be reached.
            ModelFailedError: If the model raised, or answered in the wrong shape.
            TimeoutError: If the deployment itself gave up waiting.
        """

    async def readiness(self) -> str:
        """Return why it cannot answer now, an empty text where it can."""

    async def close(self) -> None:
        """Let go of it; idempotent. What is under way may still end."""


def checked(values: Floats, rows: int, name: str) -> Floats:
    """Return a model's answer to *rows* rows as it must be.

    Raises:
        ModelFailedError: If it is not one value a row.
    """
    found = np.asarray(values, np.float64)
    if found.shape != (rows,):
        raise ModelFailedError(
            f"{name} must return one value a row: got shape {found.shape} for {rows} rows."
        )
    return found
