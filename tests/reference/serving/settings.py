"""What a loop's block of a scenario says, in plain values: durations in ns, defaults as documented.

Only what decides timing and outcome is read. A block is the mapping of the scenario file; an `int`
stands for nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clock.units import parse_duration
from tests.reference.scenario import Loop

SECOND = 1_000_000_000
FOREVER = 2**62

DEPLOYMENT_KEYS = (
    "num_replicas",
    "max_ongoing_requests",
    "max_queued_requests",
    "service_time",
    "latency",
    "network",
    "replica_speeds",
    "cold_start",
    "warm_up",
    "router",
    "batching",
    "queue",
    "circuit_breaker",
    "autoscaling_config",
    "faults",
)


def duration(value: Any) -> int:
    """Return nanoseconds."""
    return value if isinstance(value, int) else parse_duration(value)


@dataclass(frozen=True)
class Batching:
    """`kind` is none, ray or triton; the rest belongs to one of them."""

    kind: str = "none"
    max_batch_size: int = 1
    wait: int = 0
    concurrent: int = 1
    blocking: bool = False
    preferred: tuple[int, ...] = ()

    @property
    def natural_limit(self) -> int:
        """As many requests as a replica can execute at once."""
        return self.max_batch_size * self.concurrent


@dataclass(frozen=True)
class Breaker:
    """Opens at `threshold` failures in a row, or at a share of `rate_millionths`."""

    threshold: int | None
    rate_millionths: int | None
    window: int
    min_requests: int
    open_for: int
    probes: int
    counts: tuple[str, ...]
    fallback: Any


@dataclass(frozen=True)
class Autoscaling:
    """Ray's names; instants and intervals in ns."""

    min_replicas: int
    max_replicas: int
    initial_replicas: int
    target: float
    look_back: int
    upscale_delay: int
    downscale_delay: int
    to_zero_delay: int
    upscaling_factor: float
    downscaling_factor: float
    metrics_interval: int
    record_interval: int
    control_interval: int


@dataclass(frozen=True)
class Fault:
    """One entry of `faults`; `replica` is an index, or None for any."""

    kind: str
    place: int
    at: tuple[int, ...] = ()
    every: int = 0
    lasts: int = 0
    replica: int | None = None
    factor: float = 1.0
    probability: float = 1.0
    restart: Any = 0


@dataclass(frozen=True)
class Variant:
    """One deployment; the only one of a loop is called ""."""

    name: str
    num_replicas: int
    max_ongoing: int
    max_queued: int
    service_time: Any
    latency: Any
    network_out: Any
    network_back: Any
    speeds: tuple[float, ...]
    cold_start: Any
    warm_up: tuple[int, float]
    router: str
    hop_latency: Any
    batching: Batching
    discipline: str
    priorities: Mapping[str, int]
    breaker: Breaker | None
    autoscaling: Autoscaling | None
    faults: tuple[Fault, ...]
    accuracy: float = 0.0
    expected_latency: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class Retry:
    """When an attempt that ended badly is followed by another."""

    max_attempts: int = 1
    backoff: int = 0
    multiplier: float = 2.0
    max_backoff: int = FOREVER
    jitter: float = 0.0
    attempt_timeout: int | None = None
    on: tuple[str, ...] = ()
    ratio_millionths: int = 0
    burst_millionths: int | None = None


@dataclass(frozen=True)
class Cache:
    """`steps` has one entry a feature of the model; 0 asks for the same bits."""

    steps: tuple[float, ...]
    ttl: int
    max_entries: int
    hit_latency: Any


@dataclass(frozen=True)
class Routing:
    """How a variant is chosen; `kind` is only, split or latency_budget."""

    kind: str = "only"
    budget: int = 0
    otherwise: str = "fastest"
    explore_every: int | None = None


@dataclass(frozen=True)
class Client:
    """What a loop itself does, and the variants that it may ask."""

    variants: tuple[Variant, ...]
    places: int
    timeout: int | None = None
    cancel: bool = False
    retry: Retry = field(default_factory=Retry)
    cache: Cache | None = None
    routing: Routing = field(default_factory=Routing)


def read_client(loop: Loop, features: Sequence[str]) -> Client:
    """Return the settings of a loop whose model reads *features*."""
    own = {
        "num_replicas": loop.num_replicas,
        "service_time": loop.service_time,
        "latency": loop.latency,
        "network": {"out": loop.network_out, "back": loop.network_back},
    }
    block = {**own, **loop.serving}
    shared = {key: value for key, value in block.items() if key in DEPLOYMENT_KEYS}
    named = block.get("variants") or {"": {}}
    variants = tuple(_variant(name, {**shared, **given}) for name, given in named.items())
    timeout = block.get("timeout")
    after = timeout if isinstance(timeout, Mapping) else {"after": timeout}
    most = [v.autoscaling.max_replicas if v.autoscaling else v.num_replicas for v in variants]
    natural = sum(n * v.max_ongoing for n, v in zip(most, variants, strict=True))
    return Client(
        variants=variants,
        places=natural if loop.max_in_flight is None else loop.max_in_flight,
        timeout=None if timeout is None else duration(after["after"]),
        cancel=bool(after.get("cancel", False)),
        retry=_retry(block.get("retry")),
        cache=_cache(block.get("cache"), features),
        routing=_routing(block.get("routing")),
    )


def _variant(name: str, block: Mapping[str, Any]) -> Variant:
    network, warm = block.get("network", {}), block.get("warm_up")
    router = _kind(block.get("router", "round_robin"))
    queue = block.get("queue", "fifo")
    queue = {"discipline": queue} if isinstance(queue, str) else queue
    batching = _batching(block.get("batching"))
    scaling = _autoscaling(block.get("autoscaling_config"))
    warm_up = (0, 1.0) if warm is None else (warm.get("requests", 5), warm.get("factor", 3.0))
    return Variant(
        name=name,
        num_replicas=block.get("num_replicas", 1) if scaling is None else scaling.initial_replicas,
        max_ongoing=block.get("max_ongoing_requests") or batching.natural_limit,
        max_queued=block.get("max_queued_requests", -1),
        service_time=block.get("service_time", 0),
        latency=block.get("latency", 0),
        network_out=network.get("out", 0),
        network_back=network.get("back", 0),
        speeds=tuple(block.get("replica_speeds", (1.0,))),
        cold_start=block.get("cold_start", 0),
        warm_up=warm_up,
        router=router["kind"],
        hop_latency=router.get("hop_latency", 0),
        batching=batching,
        discipline=queue.get("discipline", "fifo"),
        priorities=queue.get("priorities", {}),
        breaker=_breaker(block.get("circuit_breaker")),
        autoscaling=scaling,
        faults=tuple(_fault(n, fault) for n, fault in enumerate(block.get("faults", ()))),
        accuracy=block.get("accuracy", 0.0),
        expected_latency=duration(block.get("expected_latency") or 0),
        share=block.get("share") or 0.0,
    )


def _kind(value: Any) -> Mapping[str, Any]:
    return {"kind": value} if isinstance(value, str) else value


def _batching(value: Any) -> Batching:
    if value in (None, "none"):
        return Batching()
    block = _kind(value)
    if block["kind"] == "ray":
        return Batching(
            "ray",
            block.get("max_batch_size", 10),
            duration(block.get("batch_wait_timeout", "10ms")),
            block.get("max_concurrent_batches", 1),
            block.get("function", "yielding") == "blocking",
        )
    return Batching(
        "triton",
        block.get("max_batch_size", 8),
        duration(block.get("max_queue_delay", 0)),
        block.get("instances", 1),
        preferred=tuple(block.get("preferred_batch_sizes", ())),
    )


def _breaker(block: Mapping[str, Any] | None) -> Breaker | None:
    if block is None:
        return None
    rate = block.get("failure_rate")
    return Breaker(
        threshold=block.get("failure_threshold", 5 if rate is None else None),
        rate_millionths=None if rate is None else int(rate * 1e6 + 0.5),
        window=block.get("window", 20),
        min_requests=block.get("min_requests", 10),
        open_for=duration(block.get("open_for", "1s")),
        probes=block.get("half_open_probes", 1),
        counts=tuple(block.get("counts", ("failed", "timed_out", "rejected"))),
        fallback=block.get("fallback", "none"),
    )


def _autoscaling(block: Mapping[str, Any] | None) -> Autoscaling | None:
    if block is None:
        return None
    low, initial = block.get("min_replicas", 1), block.get("initial_replicas")
    down = duration(block.get("downscale_delay", "600s"))
    to_zero = block.get("downscale_to_zero_delay")
    return Autoscaling(
        min_replicas=low,
        max_replicas=block.get("max_replicas", 1),
        initial_replicas=low if initial is None else initial,
        target=float(block.get("target_ongoing_requests", 2)),
        look_back=duration(block.get("look_back_period", "30s")),
        upscale_delay=duration(block.get("upscale_delay", "30s")),
        downscale_delay=down,
        to_zero_delay=down if to_zero is None else duration(to_zero),
        upscaling_factor=float(block.get("upscaling_factor", 1)),
        downscaling_factor=float(block.get("downscaling_factor", 1)),
        metrics_interval=duration(block.get("metrics_interval", "10s")),
        record_interval=duration(block.get("record_interval", "500ms")),
        control_interval=duration(block.get("control_interval", "100ms")),
    )


def _fault(place: int, block: Mapping[str, Any]) -> Fault:
    at, replica = block.get("at", ()), block.get("replica", "any")
    listed = at if isinstance(at, list | tuple) else [at]
    return Fault(
        kind=block["kind"],
        place=place,
        at=tuple(duration(instant) for instant in listed),
        every=duration(block.get("every") or 0),
        lasts=duration(block.get("for", "1s")),
        replica=None if replica == "any" else replica,
        factor=block.get("factor", 1.0),
        probability=block.get("probability", 1.0),
        restart=block.get("restart", 0),
    )


def _retry(block: Mapping[str, Any] | None) -> Retry:
    if block is None:
        return Retry()
    budget, longest = block.get("budget"), block.get("max_backoff")
    backoff, each = duration(block.get("backoff", "5ms")), block.get("attempt_timeout")
    ratio, burst = (0.0, None) if budget is None else (budget.get("ratio", 0.2), None)
    if budget is not None:
        burst = int(budget.get("burst", 10.0) * 1e6 + 0.5)
    return Retry(
        max_attempts=block.get("max_attempts", 3),
        backoff=backoff,
        multiplier=float(block.get("multiplier", 2.0)),
        max_backoff=max(3600 * SECOND, backoff) if longest is None else duration(longest),
        jitter=float(block.get("jitter", 0.0)),
        attempt_timeout=None if each is None else duration(each),
        on=tuple(block.get("on", ("failed", "rejected", "timed_out"))),
        ratio_millionths=int(ratio * 1e6 + 0.5),
        burst_millionths=burst,
    )


def _cache(block: Mapping[str, Any] | None, features: Sequence[str]) -> Cache | None:
    if block is None:
        return None
    step = block.get("step", 0.0)
    steps = [step.get(name, 0.0) if isinstance(step, Mapping) else step for name in features]
    hit = block.get("hit_latency", 0)
    ttl, most = duration(block["ttl"]), block.get("max_entries", 1000)
    return Cache(tuple(float(one) for one in steps), ttl, most, hit)


def _routing(value: Any) -> Routing:
    if value is None:
        return Routing()
    block = _kind(value)
    return Routing(
        block["kind"],
        duration(block.get("budget", 0)),
        block.get("otherwise", "fastest"),
        block.get("explore_every"),
    )
