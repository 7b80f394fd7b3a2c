"""An engine and a trader that note what is read, and assert law 1 of it.

Whatever a strategy is handed passes here, by `ctx` or by a callback. The stamps that are compared
with the present are not those that the lookup went by, but those of the window's own records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backtester.bar_source import NoQuotes
from backtester.book_view import BookView
from backtester.engine import Engine
from backtester.lineage.recorder import Lineage
from backtester.lineage.refs import HeardReport, ReadAnswer, ReadRecord, ReadRow, Ref, RungTimer
from backtester.orders import CancelRequest, ModifyRequest, Order, Report
from backtester.records import FeatureRow, Prediction
from backtester.sources import MarketSource, Place
from backtester.trader import Trader

__all__ = ["WatchedEngine", "WatchedTrader"]


class WatchedEngine(Engine):
    """An engine that keeps lineage; see `Engine`.

    Args:
        lineage: Where to.
        args: As of `Engine`.
    """

    def __init__(self, lineage: Lineage, *args: Any) -> None:
        self.lineage = lineage
        self._report: Report | None = None
        super().__init__(*args)
        self.trader = WatchedTrader(self, lineage)

    def timed(self, name: str, callback: Callable[..., None]) -> Callable[..., None]:
        """Return a callback that keeps the strategy busy, and whose reads are noted."""
        timed, lineage = super().timed(name, callback), self.lineage
        waker = self._wakers().get(name, self._record_delivered)

        def run(context: Any, *items: Any) -> None:
            outer = lineage.begin(name, waker(*items))
            timed(context, *items)
            lineage.end(outer)

        return run

    def start(self) -> None:
        """Call `on_start`."""
        self.lineage.begin("on_start", None)
        super().start()

    def stop(self, *, heard: bool = True) -> None:
        """Call `on_stop`."""
        self.lineage.begin("on_stop", None)
        super().stop(heard=heard)

    # --- deliveries ----------------------------------------------------------------------------

    def _wakers(self) -> dict[str, Callable[[Any], Ref]]:
        return {
            "on_features": self._row_delivered,
            "on_prediction": self._answer_delivered,
            "on_order": self._report_delivered,
            "on_fill": self._fill_delivered,
            "on_timer": RungTimer,
        }

    def _record_delivered(self, _: Any) -> Ref:
        place = self.place()
        assert isinstance(place.source, MarketSource)
        found = self.lineage.market.at(place.source.stream, place.at)
        assert found is not None
        self._check("a delivery", _named(found), found.receipt_time, place)
        return found

    def _row_delivered(self, row: FeatureRow) -> Ref:
        place = self.place()
        self._check("a delivery", f"a feature row of {row.instrument}", row.visible_at, place)
        return ReadRow(self.rows.count(place) - 1)  # type: ignore[union-attr]  # there are rows

    def _answer_delivered(self, answer: Prediction) -> Ref:
        self._check("a delivery", _answer_named(answer), answer.visible_at, self.place())
        return ReadAnswer(answer.loop, answer.number)

    def _report_delivered(self, report: Report) -> Ref:
        now = self.clock.now
        what = f"report {report.number} of order {report.order}"
        self._check("a delivery", what, report.venue_time, self.place())
        word = report.kind.word
        return HeardReport(report.number, word, report.instrument, report.venue_time, now)

    def _fill_delivered(self, _: Any) -> Ref:
        assert self._report is not None
        return self._report_delivered(self._report)

    def _hear(self, report: Report) -> None:
        self._report = report
        super()._hear(report)

    # --- reads ---------------------------------------------------------------------------------

    def latest_quote(self, instrument: str | None) -> Any:
        """Return the newest quote that is visible now."""
        quote = super().latest_quote(instrument)
        source = self.quotes[self.instrument_name(instrument)]
        if not isinstance(source, NoQuotes):
            self._read_market("ctx.quote", source, quote)
        return quote

    def latest_book(self, instrument: str | None, levels: int | None) -> BookView:
        """Return our view of a book, from what is visible now."""
        book = super().latest_book(instrument, levels)
        name = self.instrument_name(instrument)
        source: Any = self.depth.get(name) or self.quotes[name]
        if not isinstance(source, NoQuotes):
            self._read_market("ctx.book", source)
        return book

    def latest_data(self, kind: str, instrument: str | None) -> Any:
        """Return the newest record of a user's kind that is visible now."""
        record = super().latest_data(kind, instrument)
        source: Any = self.data[self.instrument_name(instrument), kind]
        self._read_market("ctx.data", source, record)
        return record

    def latest_row(self, instrument: str | None = None) -> FeatureRow | None:
        """Return the newest feature row that is visible now."""
        row = super().latest_row(instrument)
        if row is not None:
            place, lineage = self.place(), self.lineage
            what = f"a feature row of {row.instrument}"
            self._check("ctx.features", what, row.visible_at, place, self.rows)
            number = self.rows.count(place) - 1  # type: ignore[union-attr]  # there are rows
            if instrument is not None and len(self.instruments) > 1:
                number = lineage.rows.newest_of(self.instruments.index(instrument), number + 1)
            lineage.read(ReadRow(number))
        return row

    def latest_prediction(
        self, loop: str | None, instrument: str | None = None
    ) -> Prediction | None:
        """Return the newest answer of a loop that is visible now."""
        answer = super().latest_prediction(loop, instrument)
        if answer is not None:
            self._check_answer("ctx.inference.latest", answer, self.place())
            self.lineage.read(ReadAnswer(answer.loop, answer.number))
        return answer

    def mid(self, instrument: str) -> float:
        """Return our newest mid of an instrument."""
        mid = super().mid(instrument)
        source = self._measured_by(instrument)
        if source is not None:
            self._read_market("ctx.portfolio", source)
        return mid

    def decision(self, instrument: str, place: Place) -> tuple[float, int]:
        """Return our mid, and the age of the newest event behind what we decide on."""
        found = super().decision(instrument, place)
        source = self._measured_by(instrument)
        if source is not None:
            self._read_market("the mid of a decision", source)
        for answers in self.predictions.values():
            answer = answers.latest(place)
            if answer is not None:
                self._check_answer("the staleness of a decision", answer, place)
        return found

    def submit_request(
        self, values: tuple[float, ...], loop: str | None, instrument: str | None
    ) -> int:
        """Send a strategy's own request to a loop's deployment."""
        place = self.place()
        number = super().submit_request(values, loop, instrument)
        self.lineage.asked(self._loop(loop), number, place.now, place.rank)
        return number

    def _measured_by(self, instrument: str) -> MarketSource | None:
        source = self.quotes[instrument]
        return source.bars if isinstance(source, NoQuotes) else source

    # --- law 1 ---------------------------------------------------------------------------------

    def _read_market(self, where: str, source: MarketSource, shown: Any = None) -> None:
        place = self.place()
        index = source.seen(place) - 1
        found = self.lineage.market.at(source.stream, index)
        if found is None:
            return
        self._check(where, _named(found), found.receipt_time, place, source, index)
        if shown is not None and index >= 0 and not _same(shown, source.item(index)):
            self.lineage.refuse(where, f"another one than {_named(found)}", place.now, place.now)
        self.lineage.read(found)

    def _check_answer(self, where: str, answer: Prediction, place: Place) -> None:
        source: Any = self.predictions[answer.loop]
        rank = None
        if answer.visible_at == place.now and len(source.times):
            # an answer that came after a poll of its instant carries the poll's rank
            own = (source.times == answer.visible_at) & (source.tie == answer.number)
            rank = int(source.ranks[own][0]) if own.any() else None
        what = _answer_named(answer)
        self._check(
            where, what, answer.visible_at, place, None if rank is None else source, rank=rank
        )

    def _check(
        self,
        where: str,
        what: str,
        stamp: int,
        place: Place,
        source: Any = None,
        index: int = -1,
        *,
        rank: int | None = None,
    ) -> None:
        """Refuse what is not visible at a place, by its instant or by its turn within that."""
        now = self.clock.now
        if stamp < now:
            return
        if stamp > now or (source is not None and not _had_its_turn(source, index, rank, place)):
            self.lineage.refuse(where, what, stamp, now)


class WatchedTrader(Trader):
    """A trader that takes down what is behind each message; see `Trader`.

    Args:
        engine: The trading plane.
        lineage: Where to.
    """

    def __init__(self, engine: WatchedEngine, lineage: Lineage) -> None:
        super().__init__(engine)
        self._lineage = lineage

    def _note(self, orders: Sequence[Order]) -> None:
        with self._lineage.ours():
            super()._note(orders)
        place = self._engine.place()
        for order in orders:
            self._lineage.order(order.number, place.now, place.rank, order.sent_at)

    def _is_refused(self, orders: Sequence[Order]) -> bool:
        with self._lineage.ours():
            return super()._is_refused(orders)

    def _is_change_refused(self, request: ModifyRequest) -> bool:
        with self._lineage.ours():
            return super()._is_change_refused(request)

    def _change(self, request: CancelRequest | ModifyRequest) -> None:
        with self._lineage.ours():
            super()._change(request)
        place = self._engine.place()
        self._lineage.change(request.order, place.now, place.rank, request.sent_at)


def _had_its_turn(source: Any, index: int, rank: int | None, place: Place) -> bool:
    """Return whether an item of the present instant comes before the place it is read from."""
    rank = int(source.rank) if rank is None else rank
    if place.source is None:
        return rank <= place.rank
    if place.source is source:
        return index <= place.at
    return (rank, *source.key) < (place.rank, *place.source.key)


def _same(shown: Any, held: Any) -> bool:
    """Return whether two records hold the same numbers; NaN is itself."""
    return all(a == b or (a != a and b != b) for a, b in zip(shown, held, strict=True))


def _named(record: ReadRecord) -> str:
    return f"record {record.sequence} of {record.kind} of {record.instrument}"


def _answer_named(answer: Prediction) -> str:
    return f"the answer to request {answer.number} of {answer.loop}"
