"""The compiled heart of a synthetic market: one quote after another, in integers of ticks and lots.

State is explicit and draws are keyed by the number of the quote, so a market made in chunks has
the bits of the market made at once.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from clock.compiled import kernel
from clock.randomness import fold, uniform

__all__ = ["COLUMNS", "PARAMS", "REALS", "WHOLES", "generate"]

COLUMNS: Final = ("event", "bid", "ask", "bid_lots", "ask_lots", "aggressor", "price", "lots")
"""Rows of the output: instant, prices in ticks, quantities in lots, the trade just before it."""

PARAMS: Final = (
    "interval_ns", "pressure_ns", "drift", "noise", "anchor_ns", "anchor",
    "wide_share", "trade_share", "lots", "visibility", "lean", "resolution_ns",
)  # fmt: skip
WHOLES: Final = ("made", "instant", "bid", "ask", "stamped")
REALS: Final = ("pressure", "fair", "bid_noise", "ask_noise")

_DRAWS: Final = 16


@kernel
def _normal(key: np.uint64, part: int) -> float:
    # Irwin-Hall: four uniforms need no transcendental, and tails beyond 3.5 are no loss here
    total = 0.0
    for i in range(4):
        total += uniform(fold(key, part * 4 + i))
    return (total - 2.0) * 1.7320508075688772


@kernel
def generate(
    key: np.uint64,
    params: NDArray[np.float64],
    wholes: NDArray[np.int64],
    reals: NDArray[np.float64],
    until: int,
    out: NDArray[np.int64],
) -> int:
    """Make quotes before `until` until the output is full; return how many were made.

    The pressure is an Ornstein-Uhlenbeck process of unit variance. It moves the fair price, tilts
    the displayed sizes, and decides who takes. `wholes` and `reals` hold the state: they end as
    of the last quote made, and a quote at or after `until` is left to the next call.

    Args:
        key: Of the instrument's stream.
        params: Values of `PARAMS`.
        wholes: State, values of `WHOLES`.
        reals: State, values of `REALS`.
        until: First instant after the market.
        out: Shape (8 * rows,): the rows of `COLUMNS`, one after another.
    """
    rows = len(out) // 8
    for row in range(rows):
        draw = fold(key, wholes[0])
        step = max(1.0, math.floor(-math.log(uniform(fold(draw, 40))) * params[0]))
        instant = wholes[1] + int(step)
        if instant >= until:
            return row
        old_bid, old_ask = wholes[2], wholes[3]
        decay = math.exp(-step / params[1])
        seconds = step * 1e-9
        before = reals[0]
        reals[0] = before * decay + math.sqrt(1.0 - decay * decay) * _normal(draw, 0)
        # the mean of the pressure over the step, were there no news in it
        moved = params[2] * 0.5 * (before + reals[0]) * seconds
        pulled = (params[5] - reals[1]) * -math.expm1(-step / params[4])
        reals[1] += moved + pulled + params[3] * math.sqrt(seconds) * _normal(draw, 1)
        width = 2 if uniform(fold(draw, 41)) < params[6] else 1
        bid = math.floor(reals[1] - 0.5 * (width - 1))
        # sizes are sticky noise, tilted by the pressure
        reals[2] = 0.8 * reals[2] + 0.6 * _normal(draw, 2)
        reals[3] = 0.8 * reals[3] + 0.6 * _normal(draw, 3)
        tilt = params[9] * reals[0]
        bid_lots = 1 + int(params[8] * math.exp(0.5 * reals[2] + tilt))
        ask_lots = 1 + int(params[8] * math.exp(0.5 * reals[3] - tilt))
        side, price, lots = 0, 0, 0
        if old_bid > 0 and uniform(fold(draw, 42)) < params[7]:
            buys = 1.0 / (1.0 + math.exp(-params[10] * reals[0]))
            side = 1 if uniform(fold(draw, 43)) < buys else -1
            price = old_ask if side > 0 else old_bid
            lots = 1 + int(-math.log(uniform(fold(draw, 44))) * params[8] * 0.2)
        wholes[0] += 1
        wholes[1] = instant
        wholes[2], wholes[3] = bid, bid + width
        stamp = instant - instant % int(params[11])
        out[row] = stamp
        out[rows + row] = bid
        out[2 * rows + row] = bid + width
        out[3 * rows + row] = bid_lots
        out[4 * rows + row] = ask_lots
        out[5 * rows + row] = side
        out[6 * rows + row] = price
        out[7 * rows + row] = lots
    return rows
