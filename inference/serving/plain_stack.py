"""The plain deployment: replicas in turn, each serving one request at a time, and nothing else.

Most scenarios are like that, and for them this compiles in a moment and runs several times as fast.
It gives the records of the whole stack, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clock.base import NEVER
from clock.sampler import Sampler
from inference.rows import Rows
from inference.schedule import NO_CHANGES, Attempts, Outcome, Outcomes, as_submissions
from inference.serving import deployment, own
from inference.serving import state as f
from inference.serving.policies.service import Affine, Measured, Profile, Table
from inference.serving.records import Collected, Setting
from inference.serving.widen import attempts_of, plain_outcomes

if TYPE_CHECKING:
    from inference.config import InferenceConfig

__all__ = ["PlainStack", "is_plain"]

_POLLING = {"continuous": f.CONTINUOUS, "every": f.EVERY, "on_feature": f.ON_FEATURE}
_LEGS = ("network_out", "service_time", "network_back", "latency")
_NONE = np.empty(0, np.int64)


def is_plain(config: InferenceConfig) -> bool:
    """Tell whether a loop needs nothing but replicas that serve one request at a time, in turn."""
    return (
        not config.variants
        and config.timeout is None
        and config.retry is None
        and config.cache is None
        and config.router.kind == "round_robin"
        and config.queue.discipline == "fifo"
        and config.batching is None
        and config.ongoing_limit == 1
        and config.max_queued_requests == -1
        and not isinstance(config.service_time, Affine | Table | Profile | Measured)
        and set(config.replica_speeds) == {1.0}
        and config.warm_up is None
        and config.circuit_breaker is None
        and config.autoscaling_config is None
        and not config.faults
    )


class PlainStack:
    """The deployment of a plain loop."""

    def __init__(self, config: InferenceConfig, given: Setting) -> None:
        """Build an idle deployment."""
        self.config, self.start = config, given.start
        models: Any = (
            config.network.out,
            config.service_time,
            config.network.back,
            config.latency,
        )
        self._samplers = tuple(
            Sampler(model, given.seed, f"inference/{given.name}/{leg}", given.base)
            for model, leg in zip(models, _LEGS, strict=True)
        )
        self._specs = tuple(sampler.spec for sampler in self._samplers)
        self._state = f.new_state(
            given.columns, config.num_replicas, instruments=len(given.instruments)
        )
        scalars = self._state.scalars
        scalars[f.MAX_IN_FLIGHT] = config.in_flight_limit
        scalars[f.POLLING] = _POLLING[config.polling.kind]
        scalars[f.REPLACE] = config.on_new == "replace"
        scalars[f.ACCEPTS_NAN] = given.accepts_nan
        scalars[f.LOOP_INDEX] = given.index
        if config.polling.period is not None:
            scalars[f.PERIOD] = config.polling.period
            scalars[f.NEXT_POLL] = given.start

    def run(self, rows: Rows, until: int, rank: int) -> int:
        """Run everything strictly before (until, rank); return how many rows were taken."""
        first = 0
        while True:
            given: list[Any] = [*self._state, self._specs, *rows, first, until, rank]
            status, first = deployment.run(*given)
            if status == deployment.DONE:
                return int(first)
            grow = f.more_slots if status == deployment.NEEDS_SLOTS else f.more_room
            self._state = grow(self._state)

    def collect(self) -> Collected | None:
        """Return what happened since the last call, None for nothing."""
        state = self._state
        asked, ended = int(state.scalars[f.SUBMITTED]), int(state.scalars[f.OUTCOMES])
        if not asked and not ended:
            return None
        state.scalars[f.SUBMITTED] = state.scalars[f.OUTCOMES] = 0
        outcomes = plain_outcomes(
            state.records[: f.OUTCOME_FIELDS, :ended].copy(), np.full(ended, np.nan)
        )
        return Collected(
            as_submissions(state.records[f.OUTCOME_FIELDS :, :asked].copy()),
            outcomes,
            np.zeros(ended, np.int64),
            state.asked[:ended].copy(),
            attempts_of(outcomes),
            NO_CHANGES,
            None,
        )

    def submit(self, values: NDArray[np.float64], now: int, row: tuple[int, int, int, int]) -> int:
        """Ask a strategy's own request; it leaves with the next run."""
        self._state, number = own.submit(self._state, values, now, row)
        return number

    def next_due(self, row_at: int) -> tuple[int, int]:
        """Return the instant and rank of what is due first; *row_at* is the next row's instant."""
        scalars, table = self._state.scalars, self._state.table
        if scalars[f.SIZE + f.SENDING]:
            return self.sending_at, 0
        return deployment.next_event(scalars, table, row_at)

    @property
    def sending_at(self) -> int:
        """The instant at which a strategy's own requests wait to leave, NEVER where none does."""
        state = self._state
        slots = f.slots_in(state, f.SENDING)
        return int(state.table[slots[0], f.SENT_AT]) if len(slots) else NEVER

    def finish(self, until: int) -> tuple[Outcomes, Attempts]:
        """Return what is under way at a watermark."""
        outcomes = own.unfinished(self._state, until)
        return outcomes, attempts_of(outcomes)

    def statistics(self, until: int) -> dict[str, dict[str, int]]:
        """Return what the replicas did in [start, until)."""
        had = (until - self.start) * self.config.num_replicas
        busy = own.busy_ns(self._state, until)
        return {"": {"busy_ns": busy, "replica_ns": had, "slot_ns": had}}

    @property
    def width(self) -> int:
        """Number of features of a request."""
        return self._state.values.shape[1]

    @property
    def needed(self) -> NDArray[np.int64]:
        """No value is asked for again."""
        return _NONE

    @property
    def counts(self) -> dict[str, int]:
        """Requests by outcome so far, all of them as `submitted`, and rows passed over."""
        scalars = self._state.scalars
        counted = {kind.name.lower(): int(scalars[f.COUNTS + kind]) for kind in Outcome}
        submitted = int(scalars[f.NEXT_NUMBER])
        counted["in_flight"] = submitted - sum(counted.values())
        return {
            "submitted": submitted,
            **counted,
            "rows": int(scalars[f.ROWS_SEEN]),
            "skipped": int(scalars[f.SKIPPED]),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only repeats the samplers: pickle forgets that an array is read-only."""
        return {key: value for key, value in vars(self).items() if key != "_specs"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        specs: list[Any] = [sampler.spec for sampler in self._samplers]
        for array in (array for arrays in specs for array in arrays):
            array.flags.writeable = False
        self._specs = tuple(specs)
