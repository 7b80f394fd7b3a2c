"""Which records the venue reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from backtester.errors import ScenarioError
from backtester.venue.bar_book import BAR_COLUMNS
from backtester.venue.book import QUOTE_COLUMNS
from backtester.venue.depth_book import DEPTH_COLUMNS
from backtester.venue.venue import BookKind
from featurizer.market import TRADES, StreamRequest

if TYPE_CHECKING:
    from featurizer.catalog import Catalog

__all__ = ["book_kinds", "venue_requests"]

_COLUMNS: Mapping[BookKind, tuple[str, ...]] = {
    "quotes": QUOTE_COLUMNS,
    "depth": DEPTH_COLUMNS,
    "bars": BAR_COLUMNS,
}
_TRADE_COLUMNS = ("price", "quantity", "aggressor")


def book_kinds(
    asked: BookKind | None, instruments: Sequence[str], catalog: Catalog
) -> dict[str, BookKind]:
    """Return what each instrument's book is made of.

    Args:
        asked: `execution.book`.
        instruments: Ids in the order of the scenario.
        catalog: Holds the records.

    Raises:
        ScenarioError: If the catalog does not hold them.
    """
    held = set(catalog.streams())
    kinds: dict[str, BookKind] = {}
    for name in instruments:
        choices = [kind for kind in _COLUMNS if (name, kind) in held and asked in (None, kind)]
        if not choices:
            raise ScenarioError(
                f"`execution.book` needs {asked or 'quotes, depth or bars'} of {name}: the catalog "
                f"at {catalog.root} holds none. Ingest them, or choose another book."
            )
        kinds[name] = choices[0]
    return kinds


def venue_requests(kinds: Mapping[str, BookKind], catalog: Catalog) -> list[StreamRequest]:
    """Return the streams that the venue reads: every book, and the trades that there are."""
    held = set(catalog.streams())
    requests = []
    for name, kind in kinds.items():
        requests.append(StreamRequest(name, kind, _COLUMNS[kind]))
        if kind != "bars" and (name, TRADES.name) in held:
            requests.append(StreamRequest(name, TRADES.name, _TRADE_COLUMNS))
    return requests
