"""Arrivals: when each request of a load is due, decided before the first one is sent."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.errors import InputError
from clock.latency import Gamma, Uniform
from clock.sampler import Sampler

__all__ = ["Arrivals", "Bursts", "bursts", "gaps", "poisson", "thinned"]

_SECOND: Final = 1_000_000_000
Ints = NDArray[np.int64]


class Arrivals(NamedTuple):
    """When the requests of one open-loop load are due.

    `at` are nanoseconds from the start of the load, int64, never falling. `rate` is the number of
    requests a second that was asked for; `observed_rate` is what the instants came to.
    """

    name: str
    rate: float
    at: Ints

    @property
    def observed_rate(self) -> float:
        """Requests a second between the first and the last."""
        span = int(self.at[-1] - self.at[0]) if len(self.at) > 1 else 0
        return (len(self.at) - 1) * _SECOND / span if span else 0.0


class Bursts(NamedTuple):
    """A load that is on and off in turn, by the clock.

    `factor` is how many times the mean rate arrives while it is on; the rest arrives while it is
    off. With `on_ns` of 250 ms, `off_ns` of 750 ms and a factor of 2, a quarter of the time brings
    half of the requests.
    """

    on_ns: int = 250_000_000
    off_ns: int = 750_000_000
    factor: float = 2.0


def poisson(rate: float, requests: int, seed: int, stream: str, name: str = "poisson") -> Arrivals:
    """Return a Poisson process: the requests are counted, not the time.

    Args:
        rate: Requests a second in the mean.
        requests: How many.
        seed: The scenario's seed.
        stream: Which process of this seed; two of one stream are the same.
        name: What the load is called.
    """
    return Arrivals(name, rate, np.cumsum(gaps(_SECOND / rate, requests, seed, stream)))


def bursts(
    rate: float,
    requests: int,
    seed: int,
    stream: str,
    shape: Bursts = Bursts(),  # noqa: B008 - immutable
    name: str = "bursts",
) -> Arrivals:
    """Return a Poisson process whose rate is high and low in turn, `rate` in the mean.

    It begins with a burst.

    Raises:
        InputError: If a burst would have to hold more than all requests.
    """
    period = shape.on_ns + shape.off_ns
    high, share = rate * shape.factor, shape.on_ns * shape.factor / period
    if share > 1 or shape.factor <= 0:
        raise InputError(
            f"bursts of {shape.factor:g} times the mean rate, on for {shape.on_ns / period:.0%} of "
            f"the time, would hold {share:.0%} of the requests: it must be at most 100 %. Lower "
            "the factor, or shorten the bursts."
        )
    low = rate * (1 - share) * period / shape.off_ns if shape.off_ns else 0.0
    # a process of one request a unit of "work", laid out over a clock that runs at two speeds
    work = np.cumsum(gaps(_SECOND, requests, seed, stream)) / _SECOND
    of_on = high * shape.on_ns / _SECOND
    whole, rest = np.divmod(work, of_on + low * shape.off_ns / _SECOND)
    with np.errstate(divide="ignore", invalid="ignore"):
        late = shape.on_ns + (rest - of_on) / low * _SECOND
    inside = np.where(rest <= of_on, rest / high * _SECOND, late)
    at = np.rint(whole * period + inside).astype(np.int64)
    return Arrivals(name, rate, np.maximum.accumulate(at))


def thinned(
    instants: Ints,
    rate: float,
    requests: int,
    seed: int,
    stream: str,
    *,
    first: int = 0,
    name: str = "market",
) -> Arrivals:
    """Return recorded instants of which so many are kept, each as likely, that a rate results.

    What the recording does on its own time is kept: its bursts, its pauses, its ties. Of one that
    is too slow for the rate all are kept, and it is played so many times faster.

    Args:
        instants: Recorded instants, ns, never falling.
        rate: Requests a second over the whole recording.
        requests: How many to keep, from `first` on.
        seed: The scenario's seed.
        stream: Which thinning of this seed.
        first: Kept requests to pass over first, so that parts of one recording do not overlap.
        name: What the load is called.

    Raises:
        InputError: If the recording holds too few.
    """
    span = (int(instants[-1]) - int(instants[0])) / _SECOND if len(instants) > 1 else 0.0
    share = rate * span / len(instants) if len(instants) else 0.0
    part = Uniform.model_construct(low=0, high=_SECOND)
    drawn = Sampler(part, seed, stream).draw_many(0, np.arange(max(len(instants), 1)))
    kept = instants[drawn[: len(instants)] < share * _SECOND][first : first + requests]
    if len(kept) < requests:
        raise InputError(
            f"the recorded arrivals must hold {first + requests} requests at {rate:g} a second: "
            f"got {first + len(kept)}, from {len(instants)} records in {span:.1f} s. Ask for "
            "fewer requests, or take a longer range."
        )
    offsets = kept - kept[0]
    return Arrivals(name, rate, offsets if share <= 1 else (offsets / share).astype(np.int64))


def gaps(mean_ns: float, count: int, seed: int, stream: str) -> Ints:
    """Return exponential times between events, ns, at least 1; zeros where the mean is 0."""
    if mean_ns <= 0:
        return np.zeros(count, np.int64)
    gap = Gamma.model_construct(mean=round(mean_ns), shape=1.0)
    return np.maximum(Sampler(gap, seed, stream).draw_many(0, np.arange(count)), 1)
