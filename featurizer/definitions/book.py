"""What waits in the book: at its best prices, and behind them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from featurizer.feature import (
    Batch,
    FeatureDefinition,
    Input,
    Market,
    Output,
    Pointwise,
    PositiveDuration,
)

if TYPE_CHECKING:
    from featurizer.operators.book import BookScan
    from featurizer.operators.quote_flow import QuoteFlow
    from featurizer.operators.windows import WindowSum

__all__ = ["DepthImbalance", "DepthWeightedMid", "Imbalance", "Liquidity", "OrderFlowImbalance"]

_DEPTH = ("side", "price", "quantity", "is_snapshot", "sequence")
_QUOTES = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")


class Imbalance(Pointwise):
    """(bid - ask) / (bid + ask) of the quantities at the best prices, from -1 to 1."""

    takes_numbers: ClassVar[bool] = True
    formula: ClassVar[str] = "(bid quantity - ask quantity) / (bid quantity + ask quantity)"
    unit: ClassVar[str] = "1, from -1 to 1"
    warm_up: ClassVar[str] = "the first quote"
    source: ClassVar[str] = "Cartea, Jaimungal and Penalva 2015"

    def inputs(self) -> tuple[Input, ...]:
        """Return the quantities at the best prices."""
        return (Market("quotes", ("bid_quantity", "ask_quantity")),)

    def value(self, bid: Any, ask: Any) -> Any:
        """Return the difference of the quantities over their sum."""
        return (bid - ask) / (bid + ask)


class FromDepth(FeatureDefinition):
    """A number read from a book that is rebuilt from snapshots and differences.

    NaN before the first snapshot, while a side is empty, and while the book is crossed. Within one
    message the book lies between two states: only rows emitted with each depth record see it so.
    """

    unit: ClassVar[str] = "1"
    warm_up: ClassVar[str] = "the first snapshot"

    def inputs(self) -> tuple[Input, ...]:
        """Return the depth records."""
        return (Market("depth", _DEPTH),)

    @abstractmethod
    def reading(self) -> tuple[int, float]:
        """Return what is read, and how far into the book: see `BookScan`."""

    def start(self) -> BookScan:
        """Return an empty book."""
        return self.start_together([self])

    def push(self, state: BookScan, batch: Batch) -> Output:
        """Apply the records to the book, and read it."""
        return state.scan(batch)[0]

    def shares(self) -> object:
        """Say that one book serves all that read it."""
        return FromDepth

    @classmethod
    def start_together(cls, features: Sequence[FromDepth]) -> BookScan:
        """Return an empty book, of which several numbers are read."""
        from featurizer.operators.book import BookScan

        return BookScan([feature.reading() for feature in features])

    @classmethod
    def push_together(cls, state: BookScan, batch: Batch) -> Sequence[Output]:
        """Apply the records to the book once, and read all."""
        return state.scan(batch)


class DepthImbalance(FromDepth):
    """(bids - asks) / (bids + asks) of the quantities of the best levels, from -1 to 1.

    Where a side has fewer levels, those that there are.
    """

    formula: ClassVar[str] = "(bids - asks) / (bids + asks), quantities of the best `levels` levels"
    unit: ClassVar[str] = "1, from -1 to 1"
    source: ClassVar[str] = "after Cao, Hansch and Wang 2009"

    levels: int = Field(5, ge=1)

    def reading(self) -> tuple[int, float]:
        """Return what is read, and how far into the book."""
        from featurizer.operators.book import IMBALANCE

        return IMBALANCE, self.levels


class DepthWeightedMid(FromDepth):
    """The average price of the best levels of both sides, each weighted by its quantity."""

    formula: ClassVar[str] = (
        "sum of price * quantity / sum of quantity, the best `levels` levels of both sides"
    )
    unit: ClassVar[str] = "quote currency"
    source: ClassVar[str] = "Cao, Hansch and Wang 2009, weighted price WP"

    levels: int = Field(5, ge=1)

    def reading(self) -> tuple[int, float]:
        """Return what is read, and how far into the book."""
        from featurizer.operators.book import WEIGHTED_PRICE

        return WEIGHTED_PRICE, self.levels


class Liquidity(FromDepth):
    """The quantity that waits on both sides at most so many basis points from the mid."""

    formula: ClassVar[str] = "sum of quantity of levels with |price - mid| <= mid * bps / 10000"
    unit: ClassVar[str] = "base currency, or contracts"
    source: ClassVar[str] = "definition"

    bps: float = Field(10.0, gt=0.0)

    def reading(self) -> tuple[int, float]:
        """Return what is read, and how far into the book."""
        from featurizer.operators.book import LIQUIDITY

        return LIQUIDITY, self.bps / 10_000.0


class OrderFlowImbalance(FeatureDefinition):
    """What orders added to the bid and took from the ask, net, over (now - window, now].

    Each quote is compared with the one before it. Read at the instant of emission; 0 where no
    quote came within the window; NaN until the second quote lies at or before now - window.
    """

    held = False
    formula: ClassVar[str] = (
        "sum of e in the window, e = bid quantity [bid >= bid before] - bid quantity before "
        "[bid <= bid before] - ask quantity [ask <= ask before] + ask quantity before "
        "[ask >= ask before]"
    )
    unit: ClassVar[str] = "base currency, or contracts"
    warm_up: ClassVar[str] = "the second quote at or before now - window"
    source: ClassVar[str] = "Cont, Kukanov and Stoikov 2014"

    window: PositiveDuration

    def inputs(self) -> tuple[Input, ...]:
        """Return the best prices and their quantities."""
        return (Market("quotes", _QUOTES),)

    def start(self) -> tuple[QuoteFlow, WindowSum]:
        """Return the last quote, and the contributions within two windows."""
        from featurizer.operators.quote_flow import QuoteFlow
        from featurizer.operators.windows import WindowSum

        return QuoteFlow(), WindowSum(self.window)

    def push(self, state: tuple[QuoteFlow, WindowSum], batch: Batch) -> Output:
        """Work out each quote's contribution, then sum them over the window."""
        flow = state[0].scan(batch.columns)
        return state[1].scan(flow, batch, batch.room)
