"""Plants that see, or show, what is not visible yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from backtester.sources import ItemSource, MarketSource, PredictionSource
from backtester.venue.book import TopOfBook
from clock.latency import ZERO_LATENCY
from clock.sampler import Sampler
from featurizer.catalog import Catalog
from featurizer.graph import FeatureGraph, FeatureRows
from featurizer.market import Records
from inference.loop import InferenceLoop
from tests.laws.markets import STEP
from tests.mutants.planting import Patch, after_graph, after_loop, frozen, wrap


def venue_one_quote_ahead(patch: Patch) -> None:
    """The venue matches against the next quote, where its window holds one."""

    def make(real: Any) -> Any:
        def advance(self: TopOfBook, now: int) -> None:
            after = self._times[self._times > now]
            real(self, int(after[0]) if len(after) else now)

        return advance

    wrap(patch, TopOfBook, "advance", make)


def records_before_their_receipt(patch: Patch) -> None:
    """Windows hand records over by event time: the feed latency is forgotten."""

    def make(real: Any) -> Any:
        def windows(self: Catalog, *args: Any, **options: Any) -> Iterator[Any]:
            for window in real(self, *args, **options):
                for key, records in window.venue.items():
                    columns = dict(records.columns, receipt_time=records.event_time)
                    window.ours[key] = Records(*key, columns)
                yield window

        return windows

    wrap(patch, Catalog, "windows", make)


def features_one_step_ahead(patch: Patch) -> None:
    """Features see each record 5 ms before it is received, where the window holds it."""

    def make(real: Any) -> Any:
        def push(self: FeatureGraph, records: Any, until: int) -> FeatureRows:
            early = {}
            for key, some in records.items():
                receipt = frozen(np.maximum(some.receipt_time - STEP, self.watermark))
                early[key] = Records(*key, dict(some.columns, receipt_time=receipt))
            return real(self, early, until)

        return push

    wrap(patch, FeatureGraph, "push", make)


def rows_without_compute_latency(patch: Patch) -> None:
    """Rows are readable as soon as they are emitted."""
    after_graph(patch, lambda rows: rows._replace(visible_at=rows.emitted_at))


def answers_one_leg_early(patch: Patch) -> None:
    """The pure delay of an answer is forgotten."""

    def make(real: Any) -> Any:
        def init(self: InferenceLoop, *args: Any, **options: Any) -> None:
            real(self, *args, **options)
            nothing = Sampler(ZERO_LATENCY, 0, "none").spec
            self._stack._specs = (*self._stack._specs[:3], nothing)

        return init

    wrap(patch, InferenceLoop, "__init__", make)


def latest_one_rank_early(patch: Patch) -> None:
    """`latest()` shows an answer to whatever runs at its instant, before its turn."""

    def seen(self: PredictionSource, place: Any) -> int:
        return int(self.times.searchsorted(place.now, side="right"))

    patch.setattr(PredictionSource, "seen", seen)


def quotes_of_the_whole_window(patch: Patch) -> None:
    """`ctx.quote` shows the last quote of the window."""
    patch.setattr(MarketSource, "seen", lambda self, place: len(self.times))
    patch.setattr(ItemSource, "seen", lambda self, place: len(self.times))


def latest_goes_back(patch: Patch) -> None:
    """An answer about an older row that comes late is taken for news."""
    after_loop(patch, lambda made: made._replace(superseded=np.zeros_like(made.superseded)))
