"""How an order moves up its queue when the quantity displayed at its price changes.

Formulas and their source: docs/venue.md, section 5.
"""

from __future__ import annotations

from backtester.venue.queue_config import BACK, LOGARITHM, POWER
from clock.compiled import kernel
from clock.elementary import exp, log

__all__ = ["moved_up"]


@kernel
def moved_up(
    ahead: float, shown: int, traded: int, displayed: int, code: float, exponent: float
) -> float:
    """Return the lots ahead of an order once its level displays another quantity.

    Args:
        ahead: Lots ahead before.
        shown: Lots displayed before.
        traded: Lots traded there since then.
        displayed: Lots displayed now.
        code: Which model.
        exponent: Of a power.
    """
    change = shown - displayed - traded
    if change < 0 or code == BACK:
        return min(ahead, float(displayed))
    behind = shown - ahead
    share = 0.0
    if code == POWER:
        share = _part(_power(behind, exponent), _power(ahead, exponent))
    elif code == LOGARITHM:
        share = _part(log(1.0 + max(behind, 0.0)), log(1.0 + ahead))
    moved = ahead - (1.0 - share) * change + min(behind - share * change, 0.0)
    return max(min(moved, float(displayed)), 0.0)


@kernel
def _power(x: float, exponent: float) -> float:
    return exp(exponent * log(x)) if x > 0.0 else 0.0


@kernel
def _part(behind: float, front: float) -> float:
    both = behind + front
    return behind / both if both > 0.0 else 1.0
