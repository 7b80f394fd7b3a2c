"""From a configuration to the memory of an idle stack: codes, numbers, replicas, first events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clock.bank import LatencyBank
from clock.base import NEVER
from inference.rows import MISSING
from inference.schedule import Outcome
from inference.serving import layout as f
from inference.serving.cache import ENTRY_FIELDS
from inference.serving.models import Models
from inference.serving.policies.batching import RayBatching, TritonBatching
from inference.serving.policies.deployment import Deployment, Variant
from inference.serving.policies.routing import LatencyBudget, Split
from inference.serving.records import Setting
from inference.serving.tables import Memory, more_room, more_rows

if TYPE_CHECKING:
    from inference.config import InferenceConfig
    from inference.serving.policies.breaker import CircuitBreaker
    from inference.serving.policies.faults import Fault

__all__ = ["build"]

Ints = NDArray[np.int64]

_FOREVER = 1 << 62
_MILLION = 1_000_000
_ROWS = 128
_ROUTERS = {
    "round_robin": f.ROUND_ROBIN,
    "least_loaded": f.LEAST_LOADED,
    "power_of_two": f.POWER_OF_TWO,
}
_DISCIPLINES = {"fifo": f.FIFO, "newest_first": f.NEWEST_FIRST, "priority": f.PRIORITY}
_POLLING = {"continuous": f.CONTINUOUS, "every": f.EVERY, "on_feature": f.ON_FEATURE}
_FALLBACKS = {
    "none": f.REFUSE,
    "last_value": f.LAST_VALUE,
    "constant": f.SAY_CONSTANT,
    "variant": f.OTHER_VARIANT,
}
_FAULTS = {
    "crash": f.CRASH,
    "slow": f.SLOW,
    "error_rate": f.ERROR_RATE,
    "stuck_batch": f.STUCK_BATCH,
    "lost_reply": f.LOST_REPLY,
    "network_pause": f.NETWORK_PAUSE,
}


class _Builder:
    def __init__(self, config: InferenceConfig, given: Setting) -> None:
        self.config, self.given = config, given
        self.deployments = config.deployments
        self.models = Models(given.seed, given.base)
        faults = sum(len(one.faults) for one in self.deployments.values())
        self.first_variant = f.SCALARS
        self.first_fault = f.SCALARS + len(self.deployments) * f.VARIANT_SIZE
        self.first_number = self.first_fault + faults * f.FAULT_SIZE
        self.head = np.zeros(self.first_number, np.int64)
        self.numbers: list[int] = []
        self.floats: list[float] = []
        self.events: list[list[int]] = []
        self.faults_made = 0

    def keep(self, numbers: Sequence[int]) -> int:
        """Keep whole numbers behind the blocks; return their address."""
        self.numbers += numbers
        return self.first_number + len(self.numbers) - len(numbers)

    def keep_floats(self, numbers: Sequence[float]) -> int:
        """Keep other numbers; return their place."""
        self.floats += [float(number) for number in numbers]
        return len(self.floats) - len(numbers)

    def event(self, at: int, order: int, key_1: int, key_2: int, node: int) -> None:
        """Plan an event of the start."""
        self.events.append([at, order, key_1, key_2, node, 0, 0, 0, 0])

    # --- the loop ------------------------------------------------------------------------------

    def loop(self) -> None:
        """Write the scalars."""
        m, config, given = self.head, self.config, self.given
        stream = f"inference/{given.name}/"
        m[[f.SERVE_AT, f.NEXT_POLL]] = NEVER
        m[[f.TIMER_RAN_AT, f.OWN_AT]] = MISSING
        m[[f.ASKED_ROW, f.NEWEST]] = -1
        m[f.MAX_IN_FLIGHT], m[f.POLLING] = config.in_flight_limit, _POLLING[config.polling.kind]
        m[f.REPLACE], m[f.ACCEPTS_NAN] = config.on_new == "replace", given.accepts_nan
        m[f.LOOP_INDEX], m[f.STARTED] = given.index, given.start
        if config.polling.period is not None:
            m[f.PERIOD], m[f.NEXT_POLL] = config.polling.period, given.start
        m[f.VARIANTS], m[f.VARIANT_COUNT] = self.first_variant, len(self.deployments)
        m[f.INSTRUMENTS], m[f.COLUMNS] = len(given.instruments), self.keep(given.columns)
        m[f.LAST_ANSWERS] = self.keep([-1] * len(given.instruments))
        m[f.ANSWERED_ROWS] = self.keep([-1] * len(given.instruments))
        m[f.READS_VALUES] = config.reads_values
        m[f.KEEPS_SERVED] = given.keeps_served or config.reads_values
        most = sum(one.most_replicas for one in self.deployments.values())
        m[f.SPARE] = 64 + 2 * most
        self._deadlines(stream)
        self._routing(stream)
        self._cache(stream)

    def _deadlines(self, stream: str) -> None:
        m, config = self.head, self.config
        if config.timeout is not None:
            m[f.TIMEOUT], m[f.CANCELS] = config.timeout.after, config.timeout.cancel
        m[f.JITTER_KEY] = self.models.key(stream + "retry_jitter")
        m[f.TOKENS] = m[f.RETRY_BURST] = _FOREVER
        retry = config.retry
        if retry is None:
            return
        m[f.MAX_ATTEMPTS], m[f.ATTEMPT_TIMEOUT] = retry.max_attempts, retry.attempt_timeout or 0
        m[f.RETRY_ON] = sum(1 << Outcome[cause.upper()] for cause in set(retry.on))
        m[f.BACKOFF_P] = self.keep_floats(
            [retry.backoff, retry.multiplier, retry.longest_backoff_ns, retry.jitter]
        )
        if retry.budget is not None:
            m[f.RETRY_RATIO] = int(retry.budget.ratio * _MILLION + 0.5)
            m[f.TOKENS] = m[f.RETRY_BURST] = int(retry.budget.burst * _MILLION + 0.5)

    def _routing(self, stream: str) -> None:
        m, routing = self.head, self.config.routing
        variants = list(self.config.variants.values())
        m[f.SPLIT_KEY] = self.models.key(stream + "split")
        if isinstance(routing, Split):
            m[f.ROUTING] = f.SPLIT
            running, sums = 0.0, []
            for variant in variants:
                running += variant.share or 0.0
                sums.append(running)
            m[f.SHARES_P] = self.keep_floats(sums)
        elif isinstance(routing, LatencyBudget):
            m[f.ROUTING], m[f.BUDGET] = f.LATENCY_BUDGET, routing.budget
            m[f.OTHERWISE_REJECT] = routing.otherwise == "reject"
            m[f.EXPLORE] = routing.explore_every or 0
            places = sorted(range(len(variants)), key=lambda place: -variants[place].accuracy)
            m[f.BY_ACCURACY] = self.keep(places)

    def _cache(self, stream: str) -> None:
        m, cache = self.head, self.config.cache
        if cache is None:
            return
        m[f.CACHE_SIZE], m[f.CACHE_TTL] = cache.max_entries, cache.ttl
        m[f.HIT_MODEL] = self.models.add(cache.hit_latency, stream + "hit")
        m[f.STEPS_P] = self.keep_floats(cache.steps(self.given.features))
        m[f.CACHE_FREE] = 1
        m[f.CACHE_MASK] = (1 << cache.max_entries.bit_length()) - 1

    # --- a variant -----------------------------------------------------------------------------

    def variant(self, place: int, name: str, deployment: Deployment) -> None:
        """Write the block of a variant."""
        at = self.first_variant + place * f.VARIANT_SIZE
        v = self.head[at : at + f.VARIANT_SIZE]
        stream = f"inference/{self.given.name}/" + (f"{name}/" if name else "")
        v[f.V_INDEX], v[f.ROUTER] = place, _ROUTERS[deployment.router.kind]
        v[f.MAX_ONGOING] = deployment.ongoing_limit
        v[f.MAX_QUEUED] = deployment.max_queued_requests
        v[[f.LAST_ARRIVAL, f.LAST_VISIBLE, f.PAUSED_UNTIL]] = MISSING
        v[f.ALIVE_SINCE] = self.given.start
        v[f.SPEEDS_P] = self.keep_floats(deployment.replica_speeds)
        v[f.SPEED_COUNT] = len(deployment.replica_speeds)
        if deployment.warm_up is not None:
            v[f.WARM_UP] = deployment.warm_up.requests
            v[f.WARM_P] = self.keep_floats([deployment.warm_up.factor])
        if isinstance(deployment, Variant):
            v[f.ESTIMATE] = deployment.expected_latency or 0
        self._batching(v, deployment)
        self._queue(v, deployment)
        self._latencies(v, deployment, stream)
        self._autoscaler(v, deployment, at)
        if deployment.circuit_breaker is not None:
            self._breaker(v, deployment.circuit_breaker)
        for ordinal, fault in enumerate(deployment.faults):
            self._fault(fault, ordinal, at, place, stream)

    def _batching(self, v: Ints, deployment: Deployment) -> None:
        batching = deployment.batching
        v[f.SLOTS] = deployment.ongoing_limit if batching is None else batching.executions
        if batching is not None:
            v[f.MAX_BATCH] = batching.max_batch_size
        if isinstance(batching, RayBatching):
            v[f.BATCHING], v[f.BATCH_WAIT] = f.RAY_BATCHES, batching.batch_wait_timeout
            v[f.BLOCKING] = batching.function == "blocking"
        elif isinstance(batching, TritonBatching):
            v[f.BATCHING], v[f.BATCH_WAIT] = f.TRITON_BATCHES, batching.max_queue_delay
            v[f.PREFERRED] = self.keep(batching.preferred_batch_sizes)
            v[f.PREFERRED_COUNT] = len(batching.preferred_batch_sizes)

    def _queue(self, v: Ints, deployment: Deployment) -> None:
        queue = deployment.queue
        v[f.DISCIPLINE] = _DISCIPLINES[queue.discipline]
        v[f.OWN_PRIORITY] = queue.priorities.get("own", 0)
        ranks = [queue.priorities.get(name, 0) for name in self.given.instruments]
        v[f.PRIORITIES] = self.keep(ranks)

    def _latencies(self, v: Ints, deployment: Deployment, stream: str) -> None:
        models, network = self.models, deployment.network
        v[f.OUT_MODEL] = models.add(network.out, stream + "network_out")
        v[f.BACK_MODEL] = models.add(network.back, stream + "network_back")
        v[f.LATENCY_MODEL] = models.add(deployment.latency, stream + "latency")
        v[f.CANCEL_MODEL] = models.add(network.out, stream + "cancel")
        v[f.HOP_MODEL] = models.add(deployment.router.hop_latency, stream + "hop")
        v[f.COLD_MODEL] = models.add(deployment.cold_start, stream + "cold_start")
        v[f.ROUTER_KEY] = models.key(stream + "router")
        v[f.ERROR_KEY] = models.key(stream + "error")
        v[f.LOST_KEY] = models.key(stream + "lost")
        kind, each, numbers = models.service(deployment, stream + "service_time")
        v[f.SERVICE], v[f.PER_ITEM] = kind, each
        if kind == f.ANY_SIZE:
            v[f.SERVICE_MODEL] = numbers[0]
        else:
            v[f.SERVICE_MODEL], v[f.SERVICE_COUNT] = self.keep(numbers), len(numbers) // 2

    def _breaker(self, v: Ints, breaker: CircuitBreaker) -> None:
        if breaker.failure_rate is None:
            v[f.B_KIND], v[f.B_FAILURES] = f.IN_A_ROW, breaker.failure_threshold or 0
        else:
            v[f.B_KIND], v[f.B_RATE] = f.BY_RATE, int(breaker.failure_rate * _MILLION + 0.5)
            v[f.B_RING] = self.keep([0] * breaker.window)
        v[f.B_WINDOW], v[f.B_LEAST] = breaker.window, breaker.min_requests
        v[f.B_OPEN_FOR], v[f.B_PROBES] = breaker.open_for, breaker.half_open_probes
        for cause in set(breaker.counts):
            v[f.B_COUNTS] |= 1 << (f.NAN_ANSWER if cause == "nan" else Outcome[cause.upper()])
        v[f.B_FALLBACK] = _FALLBACKS[breaker.fallback.kind]
        if breaker.fallback.variant is not None:
            v[f.B_FALLBACK_TO] = list(self.deployments).index(breaker.fallback.variant)

    def _autoscaler(self, v: Ints, deployment: Deployment, at: int) -> None:
        scaling, start = deployment.autoscaling_config, self.given.start
        v[f.S_TARGET] = deployment.start_replicas
        if scaling is None:
            return
        v[f.S_ON], v[f.S_MIN], v[f.S_MAX] = 1, scaling.min_replicas, scaling.max_replicas
        v[f.S_LOOK_BACK], v[f.S_UP] = scaling.look_back_period, scaling.upscale_delay
        to_zero = scaling.downscale_to_zero_delay
        v[f.S_DOWN] = scaling.downscale_delay
        v[f.S_ZERO] = scaling.downscale_delay if to_zero is None else to_zero
        v[f.S_RECORD], v[f.S_PUSH] = scaling.record_interval, scaling.metrics_interval
        v[f.S_TICK] = scaling.control_interval
        v[f.S_P] = self.keep_floats(
            [
                scaling.target_ongoing_requests,
                scaling.upscaling_factor,
                scaling.downscaling_factor,
            ]
        )
        for order in (f.SAMPLE, f.PUSH, f.TICK):
            self.event(start, order, int(v[f.V_INDEX]), 0, at)

    def _fault(self, fault: Fault, ordinal: int, variant: int, place: int, stream: str) -> None:
        at = self.first_fault + self.faults_made * f.FAULT_SIZE
        self.faults_made += 1
        b, start = self.head[at : at + f.FAULT_SIZE], self.given.start
        b[f.F_KIND], b[f.F_VARIANT], b[f.F_PLACE] = _FAULTS[fault.kind], variant, ordinal
        replica = getattr(fault, "replica", "any")
        b[f.F_REPLICA] = -1 if replica == "any" else replica
        b[f.F_LASTS] = getattr(fault, "lasts", 0)
        amount = getattr(fault, "factor", getattr(fault, "probability", 0.0))
        b[f.F_P] = self.keep_floats([amount, fault.every or 0])
        b[f.F_EVERY] = fault.every is not None
        b[f.F_KEY] = self.models.key(f"{stream}faults/{ordinal}")
        if fault.kind == "crash":
            b[f.F_RESTART] = self.models.add(fault.restart, stream + "restart")
        key = (place << 20) + ordinal
        if fault.every is not None:
            self.event(start, f.FAULT_BEGINS, key, -1, at)
        for k, instant in enumerate(fault.at or ()):
            self.event(start + instant, f.FAULT_BEGINS, key, k, at)


def build(config: InferenceConfig, given: Setting) -> tuple[Memory, LatencyBank]:
    """Return the memory of an idle stack, and its latency models."""
    builder = _Builder(config, given)
    builder.loop()
    for place, (name, deployment) in enumerate(builder.deployments.items()):
        builder.variant(place, name, deployment)
    first_row = builder.first_number + len(builder.numbers)
    m = np.concatenate((builder.head, np.array(builder.numbers, np.int64)))
    m[f.ROWS] = first_row
    columns = len(given.columns)
    memory = Memory(
        m=m,
        h=np.zeros((len(builder.events) + _ROWS, f.EVENT_FIELDS), np.int64),
        w=np.zeros((1, f.WORK_FIELDS), np.int64),
        o=np.zeros((_ROWS, f.RECORD_FIELDS), np.int64),
        e=_cache_entries(config, columns),
        p=np.array([*builder.floats, 0.0]),
        values=np.zeros((1, columns)),
        y=np.zeros((_ROWS, 2 * columns)),
    )
    events = sorted(builder.events)  # a sorted array is a heap
    memory.h[: len(events)] = np.array(events, np.int64).reshape(-1, f.EVENT_FIELDS)
    m[f.HEAP] = len(events)
    replicas = [one.start_replicas for one in builder.deployments.values()]
    memory = more_rows(memory, _ROWS + sum(replicas) + int(m[f.SPARE]))
    for place, count in enumerate(replicas):
        at = builder.first_variant + place * f.VARIANT_SIZE
        memory = _first_replicas(memory, at, count, given.start)
    return memory, builder.models.bank()


def _cache_entries(config: InferenceConfig, columns: int) -> Ints:
    most = 0 if config.cache is None else config.cache.max_entries
    room = max(most + 1, 1 << most.bit_length())
    entries = np.zeros((room, ENTRY_FIELDS + columns), np.int64)
    entries[1:most, 1] = np.arange(2, most + 1)  # the chain of free entries
    return entries


def _first_replicas(memory: Memory, v: int, count: int, start: int) -> Memory:
    """Make the replicas of the start: they are ready."""
    m, o = memory.m, memory.o
    while m[f.CHANGES] + count + 1 > len(o):
        memory = more_room(memory)
        o = memory.o
    change = slice(f.O_CHANGE, f.O_CHANGE + 5)
    before = 0
    for index in range(count):
        r = int(m[f.FREE])
        m[f.FREE] = m[r + f.NEXT]
        m[[r + f.KIND, r + f.NEXT, r + f.PREV]] = f.IS_REPLICA, 0, before
        m[[r + f.INDEX, r + f.R_VARIANT, r + f.R_STATE]] = index, v, f.READY
        m[[r + f.TIMER_AT, r + f.STARTS, r + f.LENGTH]] = NEVER, 1, -1
        m[v + f.REPLICAS if before == 0 else before + f.NEXT] = r
        m[v + f.REPLICAS + 1] = before = r
        o[m[f.CHANGES], change] = start, m[v + f.V_INDEX], f.REPLICA_CHANGED, index, f.READY
        m[f.CHANGES] += 1
    m[f.LIVE] += count
    m[[v + f.REPLICAS + 2, v + f.READY_COUNT, v + f.ALIVE, v + f.NEXT_INDEX]] = count
    return memory
