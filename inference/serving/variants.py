"""Which variant an attempt goes to: an A/B split, or the best within a latency budget."""

from __future__ import annotations

from clock.randomness import fold, uniform
from inference.serving import layout as f
from inference.serving.breaker import is_open
from inference.serving.memory import Floats, Ints, Keys
from inference.serving.queues import step


@step
def split(m: Ints, p: Floats, keys: Keys, request: int) -> int:
    """Return the place of the variant that a request's identity falls to, whatever the attempt."""
    key = fold(fold(keys[m[f.SPLIT_KEY]], m[request + f.INSTRUMENT]), m[request + f.KEY_B])
    u = uniform(fold(fold(fold(key, m[request + f.KEY_C]), m[request + f.KEY_D]), 0))
    shares, last = m[f.SHARES_P], m[f.VARIANT_COUNT] - 1
    for place in range(last):
        if u * p[shares + last] < p[shares + place]:
            return place
    return last


@step
def most_accurate(m: Ints, within: int, now: int) -> int:
    """Return the most accurate variant that is not open and expected in time, or -1."""
    for rank in range(m[f.VARIANT_COUNT]):
        place = m[m[f.BY_ACCURACY] + rank]
        v = m[f.VARIANTS] + place * f.VARIANT_SIZE
        if not is_open(m, v, now) and (within < 0 or m[v + f.ESTIMATE] <= within):
            return place
    return -1


@step
def fastest(m: Ints, now: int) -> int:
    """Return the variant expected first, of those that are not open if there are any."""
    best, best_open = -1, True
    for place in range(m[f.VARIANT_COUNT]):
        v = m[f.VARIANTS] + place * f.VARIANT_SIZE
        opened = is_open(m, v, now)
        if best >= 0:
            other = m[f.VARIANTS] + best * f.VARIANT_SIZE
            if opened and not best_open:
                continue
            if opened == best_open and m[v + f.ESTIMATE] >= m[other + f.ESTIMATE]:
                continue
        best, best_open = place, opened
    return best


@step
def choose_variant(m: Ints, p: Floats, keys: Keys, request: int, now: int) -> int:
    """Return the place of the variant for a request's next attempt, or -1 where none will do."""
    if m[f.ROUTING] == f.ONE_VARIANT:
        return 0
    if m[f.ROUTING] == f.SPLIT:
        return split(m, p, keys, request)
    every = m[f.EXPLORE]
    if every > 0 and m[request + f.NUMBER] % every == every - 1:
        place = most_accurate(m, -1, now)
        if place >= 0:
            return place
    place = most_accurate(m, m[f.BUDGET], now)
    if place >= 0 or m[f.OTHERWISE_REJECT] == 1:
        return place
    return fastest(m, now)


@step
def learn_latency(m: Ints, v: int, latency: int) -> None:
    """Move what is expected of a variant an eighth of the way to an attempt's latency."""
    m[v + f.ESTIMATE] += (latency - m[v + f.ESTIMATE]) >> 3
