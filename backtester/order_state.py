"""The states of an order, and which report may follow in which: drawn in `docs/venue.md`.

The venue walks this machine as things happen, our belief as their reports arrive.
"""

from __future__ import annotations

from types import MappingProxyType

from backtester.codes import Code
from backtester.errors import OrderStateError
from backtester.orders import Order, ReportKind, Role

__all__ = ["ENDED", "TRANSITIONS", "OrderState", "accepted_state", "next_state"]


class OrderState(Code):
    """Where an order stands."""

    SENT = 0
    """On its way to the venue, or refused without our knowing."""
    HELD = 1
    """In a bracket, until the entry fills."""
    WAITING = 2
    """A stop, until it is triggered."""
    OPEN = 3
    """May trade."""
    PARTLY_FILLED = 4
    FILLED = 5
    CANCELED = 6
    EXPIRED = 7
    REJECTED = 8


ENDED = frozenset((OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED))
"""States that nothing leaves."""

_S, _K = OrderState, ReportKind
_LIVE = (_S.HELD, _S.WAITING, _S.OPEN, _S.PARTLY_FILLED)

_NEXT = {
    (_S.SENT, _K.REJECTED): (_S.REJECTED,),
    (_S.SENT, _K.ACCEPTED): (_S.OPEN, _S.WAITING, _S.HELD),
    (_S.HELD, _K.RELEASED): (_S.OPEN, _S.WAITING),
    (_S.WAITING, _K.TRIGGERED): (_S.OPEN,),
    (_S.OPEN, _K.FILLED): (_S.PARTLY_FILLED, _S.FILLED),
    (_S.PARTLY_FILLED, _K.FILLED): (_S.PARTLY_FILLED, _S.FILLED),
    **{(state, _K.CANCELED): (_S.CANCELED,) for state in _LIVE},
    **{(state, _K.EXPIRED): (_S.EXPIRED,) for state in _LIVE},
    **{(state, _K.MODIFIED): (state,) for state in _LIVE},
    **{(state, _K.MODIFY_REJECTED): (state,) for state in _S},
    **{(state, _K.CANCEL_REJECTED): (state,) for state in _S},
}
TRANSITIONS = MappingProxyType(_NEXT)
"""Every legal pair of state and report, with the states it may lead to."""


def accepted_state(order: Order) -> OrderState:
    """Return the state in which an order is once it is accepted."""
    if order.role is Role.EXIT:
        return OrderState.HELD
    return OrderState.WAITING if order.type.is_stop else OrderState.OPEN


def next_state(
    order: Order, state: OrderState, kind: ReportKind, *, is_filled: bool = False
) -> OrderState:
    """Return the state that a report leads to.

    Args:
        order: The order.
        state: Its state before.
        kind: What the report tells.
        is_filled: Whether nothing is left of the order; matters for FILLED alone.

    Raises:
        OrderStateError: If the report cannot follow in that state.

    Example:
        >>> next_state(None, OrderState.OPEN, ReportKind.FILLED, is_filled=True).name
        'FILLED'
    """
    choices = _NEXT.get((state, kind))
    if choices is None:
        raise OrderStateError(
            f"`{kind.name}` must not follow in state {state.name} of order "
            f"{order.number if order else '?'}: docs/venue.md draws what may."
        )
    if len(choices) == 1:
        return choices[0]
    if kind is _K.FILLED:
        return _S.FILLED if is_filled else _S.PARTLY_FILLED
    if kind is _K.RELEASED:
        return _S.WAITING if order.type.is_stop else _S.OPEN
    return accepted_state(order)
