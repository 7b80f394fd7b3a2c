"""What runs in a replica: one loaded model, timed on the host's steady clock.

It knows nothing of Ray: `deploy` wraps it for Ray Serve.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.wall import steady_clock_id, steady_ns
from inference.ray_serve.processors import bind_thread

if TYPE_CHECKING:
    from inference.models import ModelSpec

__all__ = ["Answer", "Description", "ReplicaModel", "Served"]

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class ReplicaModel(NamedTuple):
    """Which model a replica loads, and from where; everything is said, nothing inherited.

    The model's path is the deployer's: a replica looks its URI up again, on its own host.
    """

    model: ModelSpec
    registry_root: str
    tracking_uri: str
    """`MLFLOW_TRACKING_URI`, or an empty text for the store below `registry_root`."""
    python_path: tuple[str, ...] = ()
    warm_up_rows: int = 3
    threads: int = 1
    processors: tuple[int, ...] = ()
    """What models run on, one a replica in turn; none: wherever the kernel puts them."""


class Description(NamedTuple):
    """What a replica says of the model that it serves."""

    feature_names: tuple[str, ...]
    batch_invariant: bool
    accepts_nan: bool
    model_uri: str
    version: str
    digest: str
    clock: str
    """`steady_clock_id` of the replica's host."""


class Answer(NamedTuple):
    """One value and its stamps, in raw nanoseconds of the replica's steady clock."""

    value: float
    started_at: int
    completed_at: int
    clock: str
    batch_size: int
    error: str = ""
    """What the model did wrong, where the value is none."""


class Served:
    """A loaded, warmed-up predictor that answers rows.

    Args:
        spec: The model.
        width: Executions at once; more than one run in threads.
        blocking: Whether an execution holds the replica's event loop.
        rank: Which of the replicas this is, from 0.
        hangs_after_ns: How long an execution may take before `check` calls it hanging.
    """

    def __init__(
        self,
        spec: ReplicaModel,
        width: int,
        *,
        blocking: bool,
        hangs_after_ns: int,
        rank: int = 0,
    ) -> None:
        _pin_threads(spec.threads)
        for folder in spec.python_path:
            if folder not in sys.path:
                sys.path.append(folder)
        if spec.tracking_uri:
            os.environ["MLFLOW_TRACKING_URI"] = spec.tracking_uri
        else:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        from inference.errors import PredictorError
        from inference.registry import Registry

        model = spec.model
        found = Registry(Path(spec.registry_root)).resolve(model.uri)
        if found.digest != model.digest:
            raise PredictorError(
                f"`{model.uri}` must be the model that was deployed: got digest {found.digest}, "
                f"deployed was {model.digest}. Deploy again."
            )
        self.spec = spec
        self.predictor = model._replace(path=found.path).load()
        self.clock = steady_clock_id()
        self._blocking = blocking
        self._processor = spec.processors[rank % len(spec.processors)] if spec.processors else None
        self._bound = threading.local()
        self._hangs_after_ns = hangs_after_ns
        self._started: dict[int, int] = {}  # when what runs began, by a number of its own
        self._executions = count()
        self._pool = ThreadPoolExecutor(max_workers=width, thread_name_prefix="predict")
        self._pool.submit(self._bind).result()  # a processor that is not there is told now
        self._warm_up()

    def describe(self) -> Description:
        """Say which model this is."""
        predictor = self.predictor
        return Description(
            tuple(predictor.feature_names),
            predictor.batch_invariant,
            predictor.accepts_nan,
            self.spec.model.uri,
            predictor.version,
            predictor.digest,
            self.clock,
        )

    async def answer(self, rows: list[bytes]) -> list[Answer]:
        """Predict rows together, each the bytes of float64 values, and stamp the execution.

        A model that raises, or answers in another shape, makes an answer with an error for each.
        """
        if self._blocking:
            return self._execute(rows)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._execute, rows)

    def predict_many(self, content: bytes, size: int) -> bytes:
        """Return the bytes of one float64 a row, for the bytes of *size* rows.

        Raises:
            ModelFailedError: If the model raises, or answers in another shape.
        """
        self._bind()
        values = np.frombuffer(content, np.float64).reshape(size, -1)
        if self.predictor.batch_invariant:
            return self._predict(values).tobytes()
        return b"".join(self._predict(values[i : i + 1]).tobytes() for i in range(size))

    def check(self) -> None:
        """Tell a hanging model by an exception.

        Raises:
            ModelFailedError: If an execution has taken too long.
        """
        from inference.errors import ModelFailedError

        longest = steady_ns() - min(list(self._started.values()), default=steady_ns())
        if longest > self._hangs_after_ns:
            raise ModelFailedError(
                f"a model must answer within `health_check_timeout` "
                f"({self._hangs_after_ns / 1e9:g} s): it has been at it for {longest / 1e9:.1f} s."
            )

    def _execute(self, rows: list[bytes]) -> list[Answer]:
        from inference.errors import ModelFailedError

        self._bind()
        size = len(rows)
        values = np.frombuffer(b"".join(rows), np.float64).reshape(size, -1)
        number = next(self._executions)
        started = self._started[number] = steady_ns()
        try:
            found = self._predict(values)
        except ModelFailedError as error:
            stamps = (started, steady_ns(), self.clock, size)
            return [Answer(float("nan"), *stamps, str(error))] * size
        finally:
            del self._started[number]
        stamps = (started, steady_ns(), self.clock, size)
        return [Answer(value, *stamps) for value in found.tolist()]

    def _bind(self) -> None:
        if self._processor is not None and not getattr(self._bound, "done", False):
            bind_thread(self._processor)
            self._bound.done = True

    def _predict(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        from inference.errors import ModelFailedError

        try:
            found = np.asarray(self.predictor.predict(values), np.float64)
        except Exception as error:
            raise ModelFailedError(f"the model raised {type(error).__name__}: {error}") from error
        if found.shape != (len(values),):
            raise ModelFailedError(
                f"a model must return one value a row: got shape {found.shape} for "
                f"{len(values)} rows."
            )
        return found

    def _warm_up(self) -> None:
        """Predict a few times, so that the first request does not pay for what is made then."""
        row = np.zeros((1, len(self.predictor.feature_names)))
        for _ in range(self.spec.warm_up_rows):
            # zeros may be what it refuses: it then fails in front of whoever asks for a real row
            with suppress(Exception):
                self.predictor.predict(row)


def _pin_threads(threads: int) -> None:
    for name in _THREADS:
        os.environ[name] = str(threads)
    with suppress(ImportError):  # what is loaded already reads no environment any more
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        threadpool_limits(threads)
