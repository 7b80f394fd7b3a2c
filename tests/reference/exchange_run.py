"""The naive venue on a clock: records and messages of a whole run, instant by instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from tests.reference.exchange import Exchange
from tests.reference.exchange_orders import (
    NEVER,
    Ask,
    Bracket,
    Cancel,
    Event,
    Message,
    Modify,
    Pair,
)


class Trade(NamedTuple):
    """A print: instant, sequence, ticks, lots, and who took (+1 a buyer)."""

    instant: int
    sequence: int
    ticks: int
    lots: int
    aggressor: int


class Quote(NamedTuple):
    """Best bid and ask."""

    instant: int
    sequence: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Depth(NamedTuple):
    """The total of one level."""

    instant: int
    sequence: int
    side: int
    ticks: int
    lots: int
    is_snapshot: bool = False


Row = Trade | Quote | Depth


class Sent(NamedTuple):
    """A message and the instant at which it leaves us."""

    at: int
    message: Message


@dataclass(frozen=True)
class Latencies:
    """Constant latency of each kind of message on its way to the venue."""

    new: int = 0
    cancel: int = 0
    modify: int = 0

    def of(self, message: Message) -> int:
        """Return the latency of a message."""
        if isinstance(message, Cancel):
            return self.cancel
        return self.modify if isinstance(message, Modify) else self.new


def arrivals(script: Sequence[Sent], latencies: Latencies) -> list[tuple[int, Message]]:
    """Return messages with the instants of their arrival: one connection, nobody overtakes."""
    last, found = 0, []
    for at, message in script:
        last = max(last, at + latencies.of(message))
        found.append((last, message))
    return found


def asks_of(message: Message) -> list[Ask]:
    """Return the orders that a message brings."""
    if isinstance(message, Ask):
        return [message]
    if isinstance(message, Pair):
        return [message.first, message.second]
    if isinstance(message, Bracket):
        return [message.entry, message.take_profit, message.stop_loss]
    return []


def run(
    exchange: Exchange,
    records: Mapping[str, Sequence[Row]],
    script: Sequence[Sent],
    latencies: Latencies,
    until: int,
) -> list[Event]:
    """Play records and messages before an instant, in the published order of each instant.

    Args:
        exchange: A fresh venue.
        records: Rows of each instrument, in any order.
        script: Messages in the order of sending.
        latencies: Their way to the venue.
        until: The end; what is due at it does not happen.

    Returns:
        What the venue reports.
    """
    due = arrivals(script, latencies)
    instants = {row.instant for rows in records.values() for row in rows}
    instants |= {instant for instant, _ in due}
    instants |= {ask.expires_at for _, message in due for ask in asks_of(message)} - {NEVER}
    rows, messages = _by_instant(records), defaultdict(list)
    for arrival, message in due:
        messages[arrival].append(message)
    for instant in sorted(instant for instant in instants if instant < until):
        exchange.now = instant
        for name in exchange.books:
            _play(exchange, name, rows[name, instant])
            exchange.settle(name, instant)
        for message in messages[instant]:
            exchange.receive(message)
    return exchange.events


def _by_instant(records: Mapping[str, Sequence[Row]]) -> dict[tuple[str, int], list[Row]]:
    found: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for name, rows in records.items():
        for row in rows:
            found[name, row.instant].append(row)
    return found


def _play(exchange: Exchange, name: str, rows: Sequence[Row]) -> None:
    """Play the records of one instant: trades first, then the book, each by sequence."""
    trades = sorted(row for row in rows if isinstance(row, Trade))
    for trade in trades:
        exchange.trade(name, trade.ticks, trade.lots, trade.aggressor)
    book = [row for row in rows if not isinstance(row, Trade)]
    book.sort(key=lambda row: row.sequence)  # rows of one sequence stay as they are
    for is_snapshot, group in groupby(book, key=lambda row: getattr(row, "is_snapshot", False)):
        if is_snapshot:
            exchange.snapshot(name, [(row.side, row.ticks, row.lots) for row in group])
            continue
        for row in group:
            if isinstance(row, Quote):
                exchange.quote(name, *row[2:])
            else:
                exchange.depth(name, row.side, row.ticks, row.lots)
