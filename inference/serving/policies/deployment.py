"""A deployment: one model, its replicas, and everything that decides when they answer."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from clock.latency import ZERO_LATENCY, LatencyModel
from clock.units import Duration
from inference.serving.policies.autoscaler import Autoscaling
from inference.serving.policies.base import Frozen, positive
from inference.serving.policies.batching import BatchingField
from inference.serving.policies.breaker import CircuitBreaker
from inference.serving.policies.faults import Fault
from inference.serving.policies.on_ray import RayActorOptions
from inference.serving.policies.routing import Queue, QueueField, Router, RouterField
from inference.serving.policies.service import ServiceTime, WarmUp

__all__ = ["DEPLOYMENT_FIELDS", "Deployment", "Network", "Variant"]


_SECOND = 1_000_000_000
_ON_RAY_ALONE = (
    "ray_actor_options",
    "processors",
    "health_check_period",
    "health_check_timeout",
    "graceful_shutdown_timeout",
    "predict_timeout",
)
"""What the real stack alone looks at."""

_DURATIONS_ON_RAY = _ON_RAY_ALONE[2:]


class Network(Frozen):
    """The way to the deployment and back; it occupies no replica."""

    out: LatencyModel = ZERO_LATENCY
    back: LatencyModel = ZERO_LATENCY


class Deployment(Frozen):
    """What a loop and each of its variants may say about a deployment, and what follows from it."""

    predictor_class_name: str = Field(
        default="XGBoostPredictor",
        min_length=1,
        description="XGBoostPredictor, OnnxPredictor, SklearnPredictor, PyfuncPredictor, or the "
        "dotted path of a class or function of your own.",
    )
    predictor_params: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments of the predictor's `load`."
    )
    trust_model_files: bool = Field(
        default=False,
        description="Whether a model file that is code (a pickle, a Python function) may be loaded "
        "though the configured registry did not give it.",
    )
    num_replicas: int = Field(default=1, ge=1, le=4096)
    max_ongoing_requests: int | None = Field(
        default=None,
        ge=1,
        description="Requests that a replica accepts at once. By default as many as it can execute:"
        " 1, with batching max_batch_size times its concurrent batches (Ray's default of 5 would "
        "give a model on the CPU five times its capacity).",
    )
    max_queued_requests: int = Field(
        default=-1, ge=-1, description="Requests that wait before more are rejected; -1: no limit."
    )
    service_time: ServiceTime = ZERO_LATENCY
    latency: LatencyModel = ZERO_LATENCY
    network: Network = Network()
    replica_speeds: tuple[float, ...] = Field(
        default=(1.0,), min_length=1, description="Speed of each replica, repeated over them."
    )
    cold_start: LatencyModel = ZERO_LATENCY
    warm_up: WarmUp | None = None
    router: RouterField = Router()
    batching: BatchingField = None
    queue: QueueField = Queue()
    circuit_breaker: CircuitBreaker | None = None
    autoscaling_config: Autoscaling | None = None
    faults: tuple[Fault, ...] = ()
    ray_actor_options: RayActorOptions = RayActorOptions()
    processors: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        description="On Ray Serve, on Linux: the processors that models run on, one a replica in "
        "turn. The client and the Ray that it starts keep off them. By default the kernel decides.",
    )
    health_check_period: Duration = Field(
        default=10 * _SECOND, description="On Ray Serve: between two checks of a replica."
    )
    health_check_timeout: Duration = Field(
        default=30 * _SECOND, description="On Ray Serve: a check that takes longer failed."
    )
    graceful_shutdown_timeout: Duration = Field(
        default=20 * _SECOND, description="On Ray Serve: for a replica to end its requests."
    )
    predict_timeout: Duration = Field(
        default=300 * _SECOND,
        description="On Ray Serve, with `backend: ray_serve`: how long the replicas may answer no "
        "part of the rows that a backtest waits for.",
    )

    @model_validator(mode="after")
    def _numbers_make_sense(self) -> Self:
        if self.max_queued_requests == 0:
            raise ValueError(
                "`max_queued_requests` must be -1 (no limit) or at least 1: got 0, with which even "
                "a request for an idle replica would be rejected on arrival."
            )
        if len(set(self.processors)) < len(self.processors):
            raise ValueError(
                f"`processors` must be distinct: got {list(self.processors)}. Replicas take them in"
                " turn; with more replicas than processors some share one."
            )
        for name in _DURATIONS_ON_RAY:
            positive(name, getattr(self, name))
        if not all(0 < speed < float("inf") for speed in self.replica_speeds):
            raise ValueError(
                f"`replica_speeds` must be above 0: got {list(self.replica_speeds)}. A speed of 0.5"
                " takes twice as long."
            )
        return self

    @model_validator(mode="after")
    def _one_decides_how_many(self) -> Self:
        scaling = self.autoscaling_config
        if scaling is not None and "num_replicas" in self.model_fields_set:
            raise ValueError(
                f"`num_replicas` must be left out where `autoscaling_config` decides: got "
                f"{self.num_replicas}, and from {scaling.min_replicas} to {scaling.max_replicas}. "
                "Remove one of them."
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_refused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        if self.autoscaling_config is not None:
            written.pop("num_replicas", None)
        for name in _ON_RAY_ALONE:  # a run that does not say them is the run that it was
            if name not in self.model_fields_set:
                written.pop(name, None)
        return written

    @property
    def start_replicas(self) -> int:
        """Replicas at the start of a run."""
        scaling = self.autoscaling_config
        return self.num_replicas if scaling is None else scaling.start_replicas

    @property
    def most_replicas(self) -> int:
        """The most replicas that it may have."""
        scaling = self.autoscaling_config
        return self.num_replicas if scaling is None else scaling.max_replicas

    @property
    def ongoing_limit(self) -> int:
        """Requests that a replica accepts at once."""
        if self.max_ongoing_requests is not None:
            return self.max_ongoing_requests
        return self.natural_limit

    @property
    def natural_limit(self) -> int:
        """Requests that a replica can execute at once: full batches in every slot, else one."""
        batching = self.batching
        return 1 if batching is None else batching.max_batch_size * batching.executions

    @property
    def reads_values(self) -> bool:
        """Whether the timing depends on predicted values, so that a run goes in lockstep."""
        return self.circuit_breaker is not None and self.circuit_breaker.reads_values


DEPLOYMENT_FIELDS: Final = tuple(Deployment.model_fields)
"""Fields that a variant takes from its loop when it does not give them."""


class Variant(Deployment):
    """One of several models that answer a loop, with a deployment of its own.

    What it does not say of its deployment holds as the loop says it.
    """

    model_uri: str = Field(default="", description="By default the loop's.")
    accuracy: float = Field(default=0.0, allow_inf_nan=False, description="More is better.")
    expected_latency: Duration | None = Field(
        default=None, description="What a latency budget expects before the first answer."
    )
    share: float | None = Field(default=None, ge=0, le=1, description="Its part of a split.")
