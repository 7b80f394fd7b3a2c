"""What a run notes about the origin of its decisions while it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backtester.lineage.refs import Behind, Decision, ReadAnswer, ReadRecord, Ref, lookahead
from backtester.lineage.rows import RowTable, TracedGraph
from featurizer.errors import LookaheadError
from featurizer.market import Records, StreamKey

if TYPE_CHECKING:
    from backtester.engine import Engine
    from featurizer.graph import FeatureGraph

__all__ = ["Lineage", "MarketStamps"]


class MarketStamps:
    """The stamps of the records that a window's sources hold, taken from the window itself."""

    def __init__(self) -> None:
        self._records: Mapping[StreamKey, Records] = {}
        self._before: dict[StreamKey, ReadRecord] = {}

    def open_window(self, records: Mapping[StreamKey, Records]) -> None:
        """Hold the records received in the next window."""
        self._records = records

    def close_window(self) -> None:
        """Keep the newest record of each stream and forget the others."""
        for stream, records in self._records.items():
            if len(records):
                self._before[stream] = _stamps(records, len(records) - 1)
        self._records = {}

    def at(self, stream: StreamKey, index: int) -> ReadRecord | None:
        """Return a record of the window; at -1 the newest of earlier windows, None without any."""
        if index < 0:
            return self._before.get(stream)
        return _stamps(self._records[stream], index)


def _stamps(records: Records, index: int) -> ReadRecord:
    return ReadRecord(
        records.instrument,
        records.kind,
        records.event_time[index].item(),
        records.receipt_time[index].item(),
        records.sequence[index].item(),
    )


class Lineage:
    """Notes what each callback was woken by and has read, and takes it down with its messages.

    Attributes:
        market: Stamps of the records of the present window.
        rows: The feature rows of the run, with the records behind each.
        decisions: By (order, change): change 0 is the order itself; a change carries its place,
            from 1, among all changes of the run, and order 0 where it is about all orders.
        requests: Those that the strategy asked for itself, by loop and number.
    """

    def __init__(self) -> None:
        self.market = MarketStamps()
        self.rows = RowTable()
        self.decisions: dict[tuple[int, int], Decision] = {}
        self.requests: dict[ReadAnswer, Decision] = {}
        self.callback = ""
        self._behind: dict[Ref, str] = {}
        self._is_ours = False
        self._changes = 0
        self._error: LookaheadError | None = None

    # --- what a run is built of ----------------------------------------------------------------

    def engine(self, *args: Any) -> Engine:
        """Return an engine that notes what is read; see `Engine`."""
        from backtester.lineage.watched import WatchedEngine

        return WatchedEngine(self, *args)

    def graph(self, *args: Any, **options: Any) -> FeatureGraph:
        """Return a graph that keeps what is behind its rows; see `FeatureGraph`."""
        graph = TracedGraph(*args, **options)
        graph.trace_into(self.rows)
        return graph

    def open_window(self, records: Mapping[StreamKey, Records]) -> None:
        """Hold the records received in the next window."""
        self.market.open_window(records)

    def close_window(self) -> None:
        """Forget the window's records.

        Raises:
            LookaheadError: If something broke law 1 and the strategy caught the error.
        """
        self.market.close_window()
        if self._error is not None:
            raise self._error

    # --- callbacks -----------------------------------------------------------------------------

    def begin(self, callback: str, waker: Ref | None) -> tuple[str, dict[Ref, str]]:
        """Note that a callback begins; return what to hand to `end`."""
        outer = self.callback, self._behind
        self.callback = callback
        self._behind = {} if waker is None else {waker: "woke"}
        return outer

    def end(self, outer: tuple[str, dict[Ref, str]]) -> None:
        """Note that a callback has ended."""
        self.callback, self._behind = outer

    def read(self, ref: Ref) -> None:
        """Note what the strategy has just read; what we read for ourselves is passed over."""
        if not self._is_ours:
            self._behind.setdefault(ref, "read")

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Return a context in which it is not the strategy that reads."""
        self._is_ours = True
        try:
            yield
        finally:
            self._is_ours = False

    # --- messages ------------------------------------------------------------------------------

    def order(self, number: int, now: int, rank: int, sent_at: int) -> None:
        """Take down an order with what is behind it."""
        self.decisions[number, 0] = self._decision(now, rank, sent_at)

    def change(self, order: int, now: int, rank: int, sent_at: int) -> None:
        """Take down a cancel or another change with what is behind it."""
        self._changes += 1
        self.decisions[order, self._changes] = self._decision(now, rank, sent_at)

    def asked(self, loop: str, number: int, now: int, rank: int) -> None:
        """Take down a request of the strategy's own with what is behind it."""
        self.requests[ReadAnswer(loop, number)] = self._decision(now, rank, now)

    def _decision(self, now: int, rank: int, sent_at: int) -> Decision:
        behind: Behind = tuple(self._behind.items())
        return Decision(self.callback, now, int(rank), sent_at, behind)

    # --- law 1 ---------------------------------------------------------------------------------

    def refuse(self, where: str, what: str, stamp: int, now: int) -> None:
        """Raise the error of something seen before its time; see `lookahead`."""
        error = lookahead(where, what, stamp, now)
        self._error = self._error or error
        raise error
