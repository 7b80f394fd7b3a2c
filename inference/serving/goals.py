"""What a plan is asked for, goal and load, and what it finds: trials of its options."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clock.errors import InputError
from clock.latency import Gamma, Uniform
from clock.sampler import Sampler
from clock.units import format_duration, parse_duration

__all__ = ["Goal", "Load", "Option", "Plan", "Trial"]

_SECOND: Final = 1_000_000_000
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of a quantile of the latency, asked to visible, over all requests.

    A request without an answer counts as infinitely late.
    """

    quantile: float
    bound_ns: int

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Return the goal that a text such as `p99=20ms` states.

        Raises:
            InputError: If it states none.
        """
        name, separator, bound = text.partition("=")
        match = _QUANTILE.fullmatch(name.strip())
        if not separator or match is None or not 0 < float(match[1]) < 100:
            raise InputError(
                f"`--slo` must bound a quantile of the latency: got {text!r}. Write it as p99=20ms."
            )
        return cls(float(f"{match[1]}e-2"), parse_duration(bound))

    def __str__(self) -> str:
        return f"{self.name} <= {format_duration(self.bound_ns)}"

    @property
    def name(self) -> str:
        """The quantile's name, as `p99`."""
        return f"p{self.quantile * 100:g}"


@dataclass(frozen=True, slots=True)
class Load:
    """Poisson arrivals: `rate` a second, `requests` of them, of which a share repeats."""

    rate: float
    requests: int = 20_000
    repeats: float = 0.0
    seed: int = 0

    def instants(self) -> NDArray[np.int64]:
        """Return when each request is asked, ns, rising."""
        gap = Gamma.model_construct(mean=round(_SECOND / self.rate), shape=1.0)
        gaps = Sampler(gap, self.seed, "plan/arrivals").draw_many(0, np.arange(self.requests))
        return np.cumsum(np.maximum(gaps, 1))

    def cells(self) -> NDArray[np.float64]:
        """Return what each request asks about: a number of its own, or what the one before did."""
        part = Uniform.model_construct(low=0, high=_SECOND)
        drawn = Sampler(part, self.seed, "plan/repeats").draw_many(0, np.arange(self.requests))
        new = drawn >= self.repeats * _SECOND
        new[0] = True
        return np.cumsum(new).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Option:
    """A way of batching that a plan tries."""

    batching: dict[str, Any] | None

    def __str__(self) -> str:
        if self.batching is None:
            return "none"
        size = self.batching["max_batch_size"]
        wait = self.batching.get("batch_wait_timeout") or self.batching.get("max_queue_delay", "0s")
        return f"{self.batching['kind']} {size}, wait {wait}"


@dataclass(frozen=True, slots=True)
class Trial:
    """One simulated deployment under one load.

    Attributes:
        option: Its batching.
        replicas: Its replicas.
        latency_ms: Quantiles of the latency over all requests; infinite where too few are answered.
        goal_ms: The quantile of the goal, over the whole run and over its second half: the larger.
        answered: Share of the requests that were answered.
        throughput: Answers a second.
        utilisation: Busy share of what the replicas could execute.
        batch_size: Requests an execution, in the mean.
        meets: Whether the goal is met.
    """

    option: Option
    replicas: int
    latency_ms: dict[str, float]
    goal_ms: float
    answered: float
    throughput: float
    utilisation: float
    batch_size: float
    meets: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What a search found.

    Attributes:
        goal: What was asked for.
        load: Under which load.
        best: The trial with the fewest replicas that meets it, the fastest of those; None where no
            trial does.
        choices: The fewest replicas of each option that meet it, or its last trial.
        trials: Every trial, in order of simulation.
        remarks: What the plan leaves out.
    """

    goal: Goal
    load: Load
    best: Trial | None
    choices: list[Trial]
    trials: list[Trial]
    remarks: list[str] = field(default_factory=list)
