"""The latency models of a loop and its variants, each with a stream of its own, as one bank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clock.bank import LatencyBank, make_bank
from clock.compiled import readonly
from clock.draws import EMPIRICAL, KEYED, LatencySpec
from clock.errors import LatencyError
from clock.latency import ZERO_LATENCY, LatencyModel
from clock.randomness import stream_key
from clock.recorded import read_profile
from clock.sampler import Sampler
from inference.serving import layout as f
from inference.serving.policies.deployment import Deployment
from inference.serving.policies.service import Affine, Measured, Profile, Table

__all__ = ["Models"]


class Models:
    """Collects models; each is known by its number from then on.

    Args:
        seed: The scenario's seed.
        base: Folder at which relative paths of recorded latencies start.
    """

    def __init__(self, seed: int, base: Path | None) -> None:
        self._seed, self._base = seed, base
        self._specs: list[LatencySpec] = []

    def add(self, model: LatencyModel, stream: str) -> int:
        """Add a model under the name of its stream."""
        self._specs.append(Sampler(model, self._seed, stream, self._base).spec)
        return len(self._specs) - 1

    def key(self, stream: str) -> int:
        """Add a stream from which only uniform numbers are drawn."""
        return self.add(ZERO_LATENCY, stream)

    def service(self, deployment: Deployment, stream: str) -> tuple[int, int, list[int]]:
        """Add a service time; return its kind, what a request adds, and its models.

        The models are one number, or pairs of a batch size and a number, by size.
        """
        time = deployment.service_time
        if isinstance(time, Affine):
            return f.ANY_SIZE, time.per_item, [self.add(time.base, stream)]
        if isinstance(time, Table):
            pairs = [(size, self.add(time.sizes[size], stream)) for size in sorted(time.sizes)]
            return f.BY_SIZE, 0, [part for pair in pairs for part in pair]
        if isinstance(time, Profile):
            return f.BY_SIZE, 0, self._profile(time, deployment, stream)
        if isinstance(time, Measured):
            self._specs.append(_keyed(stream_key(self._seed, stream)))
            return f.ANY_SIZE, 0, [len(self._specs) - 1]
        return f.ANY_SIZE, 0, [self.add(time, stream)]

    def bank(self) -> LatencyBank:
        """Return all models."""
        return make_bank(self._specs)

    def _profile(self, time: Profile, deployment: Deployment, stream: str) -> list[int]:
        path = (self._base or Path()) / time.path
        recorded = read_profile(path, time.size_column, time.latency_column)
        most = 1 if deployment.batching is None else deployment.batching.max_batch_size
        if max(recorded) < most:
            raise LatencyError(
                f"{path}: `{time.size_column}` must reach `max_batch_size`: got sizes up to "
                f"{max(recorded)}, batches up to {most}. Measure larger ones, or lower "
                "`max_batch_size`."
            )
        models = []
        for size, latencies in recorded.items():
            self._specs.append(_recorded(latencies, stream_key(self._seed, stream)))
            models += [size, len(self._specs) - 1]
        return models


def _recorded(latencies: NDArray[np.int64], key: np.uint64) -> LatencySpec:
    return LatencySpec(
        key=readonly(np.array([key], np.uint64)),
        codes=readonly(np.array([EMPIRICAL], np.int64)),
        ranges=readonly(np.array([[0, len(latencies)]], np.int64)),
        params=readonly(np.zeros((1, 3))),
        instants=readonly(np.zeros(len(latencies), np.int64)),
        table=readonly(latencies),
    )


def _keyed(key: np.uint64) -> LatencySpec:
    none = readonly(np.empty(0, np.int64))
    return LatencySpec(
        key=readonly(np.array([key], np.uint64)),
        codes=readonly(np.array([KEYED], np.int64)),
        ranges=readonly(np.zeros((1, 2), np.int64)),
        params=readonly(np.zeros((1, 3))),
        instants=none,
        table=none,
    )
