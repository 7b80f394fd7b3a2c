"""What the venue lets in at its door: a limit on orders, and refusals while it is overloaded.

Both act when a message arrives at the venue, before the matching engine hears of it, and answer
with a report like any other. Cancels always pass: a venue under load wants fewer orders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, assert_never

import numpy as np

from backtester.errors import ScenarioError
from backtester.execution_config import ActivityOverload, DeclaredOverload
from backtester.orders import Reason
from clock.randomness import fold, stream_key, uniform

if TYPE_CHECKING:
    from backtester.execution_config import ExecutionConfig, Overload, RateLimit
    from featurizer.market import Records

__all__ = ["Admission", "OverloadWatch", "RateLimiter"]


class RateLimiter:
    """Lets in at most so many orders of those that arrived within `(now - per, now]`.

    Orders it turned away do not count: who keeps knocking is let in as soon as there is room.

    >>> from backtester.execution_config import RateLimit
    >>> limiter = RateLimiter(RateLimit(orders=2, per="1s"))
    >>> [limiter.lets_in(now) for now in (0, 1, 2, 10**9 - 1, 10**9, 10**9)]
    [True, True, False, False, True, False]
    """

    def __init__(self, config: RateLimit) -> None:
        self._most, self._per_ns = config.orders, config.per
        self._arrivals: deque[int] = deque()

    def lets_in(self, now: int) -> bool:
        """Count an order that arrives, and return whether the venue takes it."""
        arrivals = self._arrivals
        while arrivals and arrivals[0] <= now - self._per_ns:
            arrivals.popleft()
        if len(arrivals) >= self._most:
            return False
        arrivals.append(now)
        return True


class OverloadWatch:
    """Whether the venue is overloaded when an order for an instrument arrives.

    Args:
        config: What makes an overload, and how much of what arrives meanwhile is refused.
        seed: The scenario's seed; which orders are refused is drawn by what they are.
    """

    def __init__(self, config: Overload, seed: int) -> None:
        self._refuses = config.refuses
        self._key = stream_key(seed, "overload")
        self._quotes: dict[str, np.ndarray] = {}
        self._per_ns = config.per if isinstance(config, ActivityOverload) else 0
        self._overloaded = _watch(config, self._quotes)

    def open_window(self, quotes: Mapping[str, Records]) -> None:
        """Take the venue's next window of quotes, by instrument; what is too old is forgotten."""
        for name, records in quotes.items():
            times = records.event_time
            before = self._quotes.get(name)
            if before is not None and len(before):
                # nothing arrives before the last of these any more
                kept = before[before.searchsorted(before[-1] - self._per_ns, side="right") :]
                times = np.concatenate([kept, times])
            self._quotes[name] = times

    def refuses(self, instrument: str, now: int, sent_at: int, ordinal: int) -> bool:
        """Return whether an order that arrives is refused.

        Args:
            instrument: What it is for.
            now: Instant of its arrival; the venue's quotes up to and at *now* count.
            sent_at: When it was sent.
            ordinal: Its place among the messages sent then.
        """
        if not self._overloaded(instrument, now):
            return False
        if self._refuses == 1.0:
            return True
        key = self._key
        for part in (sent_at, ordinal):
            key = np.uint64(fold(key, part))
        return bool(uniform(key) < self._refuses)


class Admission:
    """The venue's door, as a scenario describes it.

    Args:
        config: The scenario's execution.
        seed: Its seed.
        without_quotes: Instruments of which the catalog holds no quotes.

    Raises:
        ScenarioError: If overloads are told by quotes that there are none of.
    """

    def __init__(
        self, config: ExecutionConfig, seed: int, without_quotes: Sequence[str] = ()
    ) -> None:
        limit, overload = config.rate_limit, config.overload
        if isinstance(overload, ActivityOverload) and without_quotes:
            raise ScenarioError(
                "`execution.overload` of kind activity needs quotes of "
                f"{', '.join(without_quotes)}: the catalog holds none. Ingest them, or declare "
                "when the venue is overloaded (`kind: declared`)."
            )
        self._limiter = RateLimiter(limit) if limit is not None else None
        self._watch = OverloadWatch(overload, seed) if overload is not None else None
        self.is_open = self._limiter is None and self._watch is None
        """Whether nothing is ever refused: nobody need ask."""

    def open_window(self, quotes: Mapping[str, Records]) -> None:
        """Take the venue's next window of quotes, by instrument."""
        if self._watch is not None:
            self._watch.open_window(quotes)

    def refusal(self, instrument: str, now: int, sent_at: int, ordinal: int) -> Reason:
        """Return why an order or a change that arrives is turned away, or NONE.

        An overloaded venue does not count what it turns away towards the limit.
        """
        if self._watch is not None and self._watch.refuses(instrument, now, sent_at, ordinal):
            return Reason.OVERLOAD
        if self._limiter is not None and not self._limiter.lets_in(now):
            return Reason.RATE_LIMIT
        return Reason.NONE


def _watch(config: Overload, quotes: Mapping[str, np.ndarray]) -> Callable[[str, int], bool]:
    match config:
        case ActivityOverload():
            return lambda instrument, now: _busy(quotes.get(instrument), now, config)
        case DeclaredOverload():
            return lambda _, now: any(o.start <= now < o.until for o in config.during)
        case _:
            assert_never(config)


def _busy(times: np.ndarray | None, now: int, config: ActivityOverload) -> bool:
    if times is None:
        return False
    begin, end = times.searchsorted([now - config.per, now], side="right")
    return bool(end - begin > config.quotes)
