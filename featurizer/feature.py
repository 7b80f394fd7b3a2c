"""What a feature is: its inputs, its parameters, and a push.

A definition is an immutable set of parameters. Its state is an object of its own, made by
`start()` and handed to every `push`, so that two graphs share nothing. There are three ways to
write one, from the shortest to the fastest:

* `Pointwise`: `value(*columns)`, a NumPy expression of the newest record;
* `Stepwise`: `update(state, time, *values)` and `read(state, time)`, plain Python;
* `FeatureDefinition`: `push(state, batch)` over whole columns, usually by a compiled operator.

Inputs are ordered, windowed and joined by `receipt_time`: what was visible to us when.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict

from clock.units import Duration

__all__ = [
    "Batch",
    "FeatureDefinition",
    "Held",
    "Input",
    "Market",
    "Output",
    "Pointwise",
    "PositiveDuration",
    "Stepwise",
    "output",
]

Array: TypeAlias = NDArray[Any]


def _positive(duration_ns: int) -> int:
    if duration_ns <= 0:
        raise ValueError("must be longer than zero")
    return duration_ns


PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A duration longer than zero, in ns; written `250ms`."""


@dataclass(frozen=True, slots=True)
class Market:
    """Columns of one kind of market record, as an input of a feature.

    Attributes:
        kind: Name of the kind, such as `quotes`.
        columns: Own columns of the kind; each arrives as `float64`.
        instrument: Whose records; None stands for the definition's own instrument.
    """

    kind: str
    columns: tuple[str, ...]
    instrument: str | None = None


class Batch(NamedTuple):
    """What one push brings to one feature. Every array is read-only, but for `room`.

    Updates are the records of the inputs in their total order; where a feature has inputs on
    several streams, each update holds the latest value of every input, NaN before the first.

    Attributes:
        times: When each update became visible. Shape (n,), never decreasing.
        columns: The inputs' columns, in their order. Each: shape (n,).
        read_times: Instants at which the value is read. Shape (m,), never decreasing.
        read_counts: How many of these updates each read includes. Shape (m,), 0 to n.
        picks: `read_counts - 1`, then n - 1: where the last update of each read, and of all, is.
            Shape (m + 1,); -1 where there is none in this batch.
        materialise: Whether the value after every update is wanted too.
        each: Whether there is one read with each update, just after it.
        room: Where the values at the reads may be put, which saves a copy; or None. Shape (m,).
    """

    times: Array
    columns: tuple[Array, ...]
    read_times: Array
    read_counts: Array
    picks: Array
    materialise: bool
    each: bool = False
    room: Array | None = None


class Output(NamedTuple):
    """What one push gives.

    Attributes:
        reads: Values at the reads. Shape (m,).
        updates: Values after every update where `Batch.materialise`, else anything. Shape (n,).
    """

    reads: Array
    updates: Array


output: Callable[[tuple[Array, Array]], Output] = partial(tuple.__new__, Output)
"""An `Output` of a pair, at half of what naming the fields costs: live, that shows."""


class FeatureDefinition(BaseModel):
    """A feature: parameters as pydantic fields, `inputs()`, `start()` and `push()`.

    Promises, checked by `featurizer.checks.check_feature`: a value depends on the updates so far
    and the instant of reading, never on how they were cut into batches, on what comes later, on
    which other instants were read, or on another feature's state; nothing handed in is changed.

    Attributes:
        held: True if the value holds from one update to the next; False if it is read at the
            instant of emission (a time window empties in silence).
        joined: True if the records of the first input alone are updates; each then holds the other
            inputs as of it, in the total order (an as-of join).
        tolerance: Relative difference by which the run's start may still show in a value once
            `settling_ns` have passed; 0 where it must not show in a single bit.
        formula, unit, warm_up, source: For `docs/features.md`: how it is worked out, in what unit,
            from when on it has a value, and where the formula comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    held: ClassVar[bool] = True
    joined: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0.0
    formula: ClassVar[str] = ""
    unit: ClassVar[str] = ""
    warm_up: ClassVar[str] = ""
    source: ClassVar[str] = ""

    instrument: str | None = None
    """Whose records; None stands for the scenario's first instrument."""

    @property
    def settling_ns(self) -> int:
        """How long after its first value the run's start may still show in a value."""
        return 0

    @abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """Return the inputs: market columns, names of other features, or definitions."""

    @abstractmethod
    def start(self) -> Any:
        """Return a new state, which pickles and shares nothing with another."""

    @abstractmethod
    def push(self, state: Any, batch: Batch) -> Output:
        """Absorb a batch into the state; return the values at its reads (and updates)."""

    def shares(self) -> object:
        """Return what features of the same inputs have in common that one state may serve.

        None, as most features have a state of their own. Where it is equal, they are worked out
        together: `start_together` and `push_together` then stand for `start` and `push`.
        """
        return None

    @classmethod
    def start_together(cls, features: Sequence[Any]) -> Any:
        """Return a state that serves all of some features, which share the same."""
        raise NotImplementedError

    @classmethod
    def push_together(cls, state: Any, batch: Batch) -> Sequence[Output]:
        """Absorb a batch; return what `push` would of each feature, in their order."""
        raise NotImplementedError


Input: TypeAlias = Market | str | FeatureDefinition


class Held:
    """A value that holds until the next update: NaN before the first."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.nan

    def repeated(self, count: int) -> Array:
        """Return the value held, so many times."""
        reads = np.empty(count)
        reads[:] = self.value
        return reads

    def read(self, picked: Array, batch: Batch) -> Array:
        """Return the values at the reads; hold the last one.

        Args:
            picked: Values at `batch.picks`; where a pick is -1, anything. Shape (m + 1,).
            batch: The batch they belong to.
        """
        reads = picked[:-1]
        counts = batch.read_counts
        if len(counts) and counts[0] == 0:  # reads before the first update see what was held
            reads[: counts.searchsorted(0, side="right")] = self.value
        if len(batch.times):
            self.value = picked[-1]
        return reads


class Pointwise(FeatureDefinition):
    """A feature that depends on the newest record alone.

    Example:
        >>> class WeightedMid(Pointwise):
        ...     def inputs(self):
        ...         return (Market("quotes", ("bid_price", "ask_price")),)
        ...     def value(self, bid, ask):
        ...         return 0.25 * bid + 0.75 * ask
        >>> WeightedMid().value(100.0, 104.0)
        103.0
    """

    takes_numbers: ClassVar[bool] = False
    """Whether `value` also takes plain `np.float64` in place of columns: faster, live."""

    @abstractmethod
    def value(self, *columns: Any) -> Any:
        """Return the values of some records, each from its own fields alone.

        Only arithmetic that rounds alike for one record and for many (`+ - * /`, comparisons,
        `np.sqrt`): `np.exp` and `np.log` do not promise that.

        Args:
            columns: The inputs' columns, any of the records. Each: shape (k,).

        Returns:
            Shape (k,).
        """

    def start(self) -> Held:
        """Return a state that holds one value."""
        return Held()

    def push(self, state: Held, batch: Batch) -> Output:
        """Work out the values that are read, and no others unless they are wanted."""
        n, m = len(batch.times), len(batch.read_times)
        if not n:
            return Output(state.repeated(m), batch.times)
        if n == 1 and m < 2:  # a live record
            if self.takes_numbers:
                updates = np.array((self.value(*[column[0] for column in batch.columns]),))
            else:
                updates = np.asarray(self.value(*batch.columns), np.float64)
            reads = updates if m and batch.read_counts[0] else state.repeated(m)
            state.value = updates[0]
            return output((reads, updates))
        if batch.each:
            updates = np.asarray(self.value(*batch.columns), np.float64)
            state.value = updates[-1]
            return Output(updates, updates)
        if batch.materialise:
            updates = np.asarray(self.value(*batch.columns), np.float64)
            return Output(state.read(updates[batch.picks], batch), updates)
        picked = self.value(*[column[batch.picks] for column in batch.columns])
        return Output(state.read(np.asarray(picked, np.float64), batch), batch.times)


class Stepwise(FeatureDefinition):
    """A feature in plain Python, one update at a time: slow, and nothing to learn.

    Example:
        >>> class Count(Stepwise):
        ...     def inputs(self):
        ...         return (Market("trades", ("price",)),)
        ...     def start(self):
        ...         return [0]
        ...     def update(self, state, time, price):
        ...         state[0] += 1
        ...     def read(self, state, time):
        ...         return state[0]
    """

    @abstractmethod
    def update(self, state: Any, time: int, *values: float) -> None:
        """Absorb one update, visible from *time* on."""

    @abstractmethod
    def read(self, state: Any, time: int) -> float:
        """Return the value at *time*, at or after the last update; change nothing."""

    def push(self, state: Any, batch: Batch) -> Output:
        """Walk through updates and reads in their order."""
        rows = list(zip(*[column.tolist() for column in batch.columns], strict=True))
        times = batch.times.tolist()
        reads, updates, done = [], [], 0
        counts = [*batch.read_counts.tolist(), len(times)]
        for upto, now in zip(counts, [*batch.read_times.tolist(), None], strict=True):
            for i in range(done, upto):
                self.update(state, times[i], *rows[i])
                if batch.materialise:
                    updates.append(self.read(state, times[i]))
            done = upto
            if now is not None:
                reads.append(self.read(state, now))
        return Output(np.array(reads, np.float64), np.array(updates, np.float64))
