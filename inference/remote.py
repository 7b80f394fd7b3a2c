"""RemotePredictor: a model whose rows real replicas predict, for a run in simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference.background import Background
from inference.errors import FeatureMismatchError

if TYPE_CHECKING:
    from inference.backend import Backend
    from inference.predictors.base import Predictor, TrainingRecord

__all__ = ["RemotePredictor"]

Floats = NDArray[np.float64]

_LEAST_ROWS = 64
"""Fewer rows are not worth a message of their own."""


class RemotePredictor:
    """What is known of a model here, and replicas elsewhere that hold it.

    Rows of a model that is `batch_invariant` are spread over the replicas; those of another one go
    out in exactly the batches that they are asked in, several at a time.
    """

    def __init__(self, model: Predictor, backend: Backend, *, replicas: int) -> None:
        """Take a client of the replicas; it is closed by whoever made it.

        Args:
            model: The same model, loaded here: what it says of itself holds for the replicas.
            backend: Their client.
            replicas: How many there are.

        Raises:
            FeatureMismatchError: If the replicas hold a model of other features.
        """
        if tuple(backend.feature_names) != tuple(model.feature_names):
            raise FeatureMismatchError(
                "the replicas must hold the model that the run loaded: it reads "
                f"{list(model.feature_names)}, theirs reads {list(backend.feature_names)}."
            )
        self.feature_names: tuple[str, ...] = tuple(model.feature_names)
        self.batch_invariant: bool = model.batch_invariant
        self.accepts_nan: bool = model.accepts_nan
        self.digest: str = model.digest
        self.version: str = model.version
        self.training: TrainingRecord | None = model.training
        self.replicas = replicas
        self.backend = backend
        self._senders = Background(2 * replicas, "rows-to-replicas")

    def predict(self, values: Floats) -> Floats:
        """Return one value a row, shape (n,), for features of shape (n, n_features)."""
        parts = min(self.replicas, len(values) // _LEAST_ROWS) if self.batch_invariant else 1
        if parts < 2:
            return self.backend.predict(values)
        return np.concatenate(self.predict_each(np.array_split(values, parts)))

    def predict_each(self, batches: Sequence[Floats]) -> list[Floats]:
        """Return the values of each batch, all of them asked at the same time."""
        asked = [self._senders.submit(self.backend.predict, batch) for batch in batches]
        return [future.result() for future in asked]

    def close(self) -> None:
        """Let the senders end."""
        self._senders.close()
