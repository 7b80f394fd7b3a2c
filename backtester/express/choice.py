"""Which runs may go by the express lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester.sources import QuoteSource
from backtester.venue.book import TopOfBook

if TYPE_CHECKING:
    from backtester.engine import Engine

__all__ = ["may_go"]


def may_go(engine: Engine) -> bool:
    """Return whether a scenario asks for nothing that only the venue in Python knows.

    That is: books of quotes, linear contracts, fees that are shares, no funding, no limits of our
    own, an open door at the venue, and no way to act again and again within one instant.
    """
    venue, latencies = engine.venue, engine.latencies
    units, clearing = venue.units, venue.clearing
    ways = (latencies.new, latencies.cancel, latencies.modify)
    back = (latencies.acknowledgement, latencies.fill)
    stands_still = any(way.is_zero for way in ways) and any(way.is_zero for way in back)
    return (
        engine.risk is None
        and engine.gateway.is_open
        and not engine.money.has_funding
        and not stands_still
        and all(isinstance(book, TopOfBook) for book in venue.books.values())
        and all(isinstance(quotes, QuoteSource) for quotes in engine.quotes.values())
        and all(not units[name].is_spot and not units[name].is_inverse for name in venue.books)
        and all(clearing.fees.shares(name) is not None for name in venue.books)
    )
