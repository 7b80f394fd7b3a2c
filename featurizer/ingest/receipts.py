"""When a record reached us: recorded in the file, or declared by the user; never assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clock.units import format_duration
from featurizer.errors import MarketDataError
from featurizer.ingest.convert import TimeFormat, instants
from featurizer.ingest.files import Batch
from featurizer.market import Array

__all__ = ["Receipts"]


@dataclass(frozen=True)
class Receipts:
    """Where `receipt_time` comes from: one of the two.

    Attributes:
        column: Column of the file that holds it.
        feed_latency_ns: What every record is declared to take from its event to us.
    """

    column: str | None = None
    feed_latency_ns: int | None = None

    def check(self, where: object) -> None:
        """Refuse a file that says nothing of receipts, and one of which both are said.

        Raises:
            MarketDataError: If there is neither a column nor a declared latency, or both.
        """
        if self.column is None and self.feed_latency_ns is None:
            raise MarketDataError(
                f"{where}: it must be known when each record reached us: got neither a receipt "
                f"column nor a feed latency. Map a column with `--columns receipt_time=…`, or "
                f"declare the latency of your feed, as in `--feed-latency 20ms`."
            )
        if self.column is not None and self.feed_latency_ns is not None:
            raise MarketDataError(
                f"{where}: receipts must be recorded or declared, not both: got column "
                f"`{self.column}` and `--feed-latency {format_duration(self.feed_latency_ns)}`. "
                f"Give one of them."
            )

    def of(self, batch: Batch, event: Array, format_: TimeFormat) -> Array:
        """Return `receipt_time` of the rows of a batch. Shape (n,), ns."""
        if self.column is not None:
            return instants(batch, self.column, format_)
        return event + self.feed_latency_ns

    def note(self) -> dict[str, Any] | None:
        """Return what the catalog keeps of a declared latency; None where receipts are recorded."""
        if self.feed_latency_ns is None:
            return None
        return {"method": "declared feed latency", "feed_latency_ns": self.feed_latency_ns}

    def remarks(self) -> list[str]:
        """Return the sentence that says that receipts are declared, if they are."""
        if self.feed_latency_ns is None:
            return []
        return [
            f"Receipts are declared, not recorded: every record reaches us "
            f"{format_duration(self.feed_latency_ns)} after its event."
        ]
