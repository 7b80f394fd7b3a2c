"""The resting orders of one instrument, as columns for the scan, kept in the order of visits."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtester.venue.live import LiveOrder
from backtester.venue.matching import (
    CURSOR_WIDTH,
    EVENT_ORDER,
    GONE,
    LEFT,
    LEFT_SELL,
    LOTS,
    NEXT,
    OPEN,
    ORDER_WIDTH,
    ROW,
    STATUS,
    TRIGGERED,
    WAITING,
    peek,
    scan,
)
from backtester.venue.tape import NO_TAPE, Tape

__all__ = ["RestingOrders"]

Array = NDArray[Any]

_FIRST_CAPACITY = 16


class RestingOrders:
    """Resting orders and waiting stops, and how far the tape has been resolved for them.

    Args:
        model: Code and exponent of the queue model.
    """

    def __init__(self, model: Array) -> None:
        self._model = model
        self._live: list[LiveOrder] = []
        self._keys: list[tuple[int, int, int]] = []
        self._tape = NO_TAPE
        self._cursor = np.zeros(CURSOR_WIDTH, np.int64)
        self._has_gone = False
        self._orders = np.zeros((_FIRST_CAPACITY, ORDER_WIDTH), np.int64)
        self._ahead = np.zeros(_FIRST_CAPACITY)
        self._make_scratch()

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Any:
        return iter(self._live)

    def open_window(self, tape: Tape, row: int = 0) -> None:
        """Go on with another tape, from a row of it."""
        self._tape = tape
        self._cursor[ROW] = row
        self._cursor[NEXT] = 0

    def resume(self, resting: list[LiveOrder], queue: Array, ahead: Array) -> None:
        """Take over orders in the order of visits, with their columns."""
        size = len(resting)
        room = max(2 * size, _FIRST_CAPACITY)
        self._orders, self._ahead = np.zeros((room, ORDER_WIDTH), np.int64), np.zeros(room)
        self._orders[:size], self._ahead[:size] = queue, ahead
        self._live, self._keys = list(resting), [_key(live) for live in resting]
        self._make_scratch()

    def add(self, live: LiveOrder, displayed: int, ahead: float) -> None:
        """Let an order rest.

        Args:
            live: The order.
            displayed: Lots displayed at its price, or `UNKNOWN`.
            ahead: Lots of others ahead of it.
        """
        self._insert(live, (_key(live), live.limit_ticks, displayed, OPEN), ahead)

    def add_stop(self, live: LiveOrder) -> None:
        """Let a stop wait."""
        self._insert(live, ((2, 0, live.rank), live.order.stop_ticks, 0, WAITING), 0.0)

    def remove(self, live: LiveOrder) -> None:
        """Forget an order; its column stays until `settle`, where a scan stands in the middle."""
        place = self._live.index(live)
        if self._cursor[NEXT] or self._has_gone:
            self._orders[place, STATUS] = GONE
            self._has_gone = True
            return
        del self._live[place], self._keys[place]
        size = len(self._live)
        if place < size:
            self._orders[place:size] = self._orders[place + 1 : size + 1]
            self._ahead[place:size] = self._ahead[place + 1 : size + 1]

    def set_lots(self, live: LiveOrder) -> None:
        """Take over an order's open lots; it keeps its place."""
        self._orders[self._live.index(live), LOTS] = live.left

    def settle(self) -> None:
        """Close the gaps of orders that are gone."""
        if not self._has_gone:
            return
        self._has_gone = False
        size = len(self._live)
        kept = np.flatnonzero(self._orders[:size, STATUS] != GONE)
        self._orders[: len(kept)] = self._orders[kept]
        self._ahead[: len(kept)] = self._ahead[kept]
        self._live = [self._live[place] for place in kept]
        self._keys = [self._keys[place] for place in kept]

    def scan(self, end: int) -> int:
        """Go on to a row of the tape, or to what happens before it: DONE, FILL or TRIGGER."""
        return int(
            scan(
                self._tape.rows,
                end,
                self._orders,
                self._ahead,
                len(self._live),
                self._model,
                self._cursor,
            )
        )

    def peek(self, end: int) -> int:
        """Return the first row before *end* at which something happens, -1 if nothing does."""
        return int(
            peek(
                self._tape.rows,
                end,
                self._orders,
                self._ahead,
                len(self._live),
                self._model,
                self._cursor,
                self._scratch,
            )
        )

    def fill(self) -> tuple[LiveOrder, int, int]:
        """Return order, lots and row of the fill that the scan stopped for."""
        _, _, _, _, row, place, lots = self._cursor.tolist()
        return self._live[place], lots, row

    def filled(self, live: LiveOrder, lots: int) -> None:
        """Take lots off the order that the scan stopped for, and off what its record had left."""
        side = LEFT if live.side > 0 else LEFT_SELL
        self._orders[self._cursor[EVENT_ORDER], LOTS] -= lots
        self._cursor[side] = max(int(self._cursor[side]) - lots, 0)

    def triggered(self) -> list[LiveOrder]:
        """Return the stops that were triggered, and forget them."""
        status = self._orders[: len(self._live), STATUS]
        found = [self._live[place] for place in np.flatnonzero(status == TRIGGERED)]
        status[status == TRIGGERED] = GONE
        self._has_gone = self._has_gone or bool(found)
        return found

    @property
    def row(self) -> int:
        """Row that the scan has come to."""
        return int(self._cursor[ROW])

    def _insert(
        self,
        live: LiveOrder,
        column: tuple[tuple[int, int, int], int, int, int],
        ahead: float,
    ) -> None:
        key, ticks, shown, status = column
        self.settle()
        size = len(self._live)
        if size == len(self._ahead):
            self._orders = np.concatenate([self._orders, self._orders])
            self._ahead = np.concatenate([self._ahead, self._ahead])
            self._make_scratch()
        place = bisect_left(self._keys, key)
        if place < size:
            self._orders[place + 1 : size + 1] = self._orders[place:size]
            self._ahead[place + 1 : size + 1] = self._ahead[place:size]
        self._orders[place] = (live.side, ticks, live.left, shown, 0, status)
        self._ahead[place] = ahead
        self._live.insert(place, live)
        self._keys.insert(place, key)

    def _make_scratch(self) -> None:
        self._scratch = (self._orders.copy(), self._ahead.copy(), self._cursor.copy())


def _key(live: LiveOrder) -> tuple[int, int, int]:
    """Return what resting orders are visited by: side, price, rank."""
    if live.side > 0:
        return (0, -live.limit_ticks, live.rank)
    return (1, live.limit_ticks, live.rank)
