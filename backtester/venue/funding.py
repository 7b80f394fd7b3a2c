"""Funding of perpetuals: payments that the records of a user's kind tell of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from backtester.errors import ScenarioError
from backtester.venue.funding_config import FundingConfig
from backtester.venue.liquidation import payment
from clock.base import Clock
from clock.rank import Rank
from clock.units import format_instant
from featurizer.market import Records, StreamRequest

if TYPE_CHECKING:
    from backtester.venue.clearing import Clearing
    from backtester.venue.outcome import Outcome
    from featurizer.catalog import Catalog

__all__ = ["FundingPayments"]


class FundingPayments:
    """Puts the payments of each window on the clock.

    A payment is made at the rank of the venue's market data, after all quotes of its instant and
    before anything is matched: who holds the position then pays or receives. Records of one
    instrument that are due at one instant are revisions of one another: the last that happened by
    then holds.

    Args:
        config: Where the payments are told.
        clearing: The venue's money.
        clock: The run's clock.
        catalog: Where the records come from.
        instruments: Ids of the scenario's instruments, in order.

    Attributes:
        requests: The streams and columns to read; perpetuals of which the catalog holds none pay
            nothing.
    """

    def __init__(
        self,
        config: FundingConfig,
        clearing: Clearing,
        clock: Clock,
        catalog: Catalog,
        instruments: Sequence[str],
    ) -> None:
        self._config, self._clearing, self._clock = config, clearing, clock
        self._instruments = tuple(instruments)
        self._due: dict[tuple[str, int], tuple[float, float]] = {}
        perpetuals = [name for name in instruments if not clearing.units[name].is_spot]
        kind = catalog.kind(config.kind)
        self._number = kind.number
        wanted = [config.rate, config.due_time, config.mark_price]
        columns = tuple(name for name in wanted if name is not None)
        for column in columns:
            if column not in kind.columns:
                raise ScenarioError(
                    f"`execution.funding` must name columns of `{config.kind}`: got `{column}`. "
                    f"Known: {', '.join(kind.columns)}."
                )
        if config.due_time is not None and kind.columns[config.due_time] == "float64":
            raise ScenarioError(
                f"`execution.funding.due_time` must be a column of instants: got "
                f"`{config.due_time}` of float64. Name another one, or leave it out."
            )
        held = set(catalog.streams())
        self.requests = [
            StreamRequest(name, config.kind, columns)
            for name in perpetuals
            if (name, config.kind) in held
        ]
        if not self.requests:
            raise ScenarioError(
                f"`execution.funding` needs records of `{config.kind}` for a perpetual: the "
                f"catalog holds none for {', '.join(perpetuals) or 'this scenario, which has none'}"
                f". Ingest them, or leave `execution.funding` out."
            )

    def open_window(
        self, records: Mapping[tuple[str, str], Records], pay: Callable[[str, int], None]
    ) -> None:
        """Put the payments that a window tells of on the clock.

        Args:
            records: What happened at the venue in the window, by stream.
            pay: Called with the instrument and the instant when a payment is due.

        Raises:
            ScenarioError: If a record tells of a payment after it was due.
        """
        for request in self.requests:
            self._schedule(records[request.key], pay)

    def payment(self, instrument: str, now: int, twice_mids: Mapping[str, int]) -> Outcome | None:
        """Make the payment that is due now; None where nothing is held.

        Args:
            instrument: Id of the perpetual.
            now: The present instant.
            twice_mids: Twice the venue's mid of each instrument, in ticks.
        """
        rate, price = self._due.pop((instrument, now))
        if not self._clearing.account.position(instrument):
            return None
        if np.isfinite(price):
            mark = _exact(price) / Fraction(self._clearing.units[instrument].tick_size)
        else:
            mark = Fraction(twice_mids[instrument], 2)
        entry = self._clearing.funding(instrument, _exact(rate), mark)
        assert entry is not None
        return payment(entry, now, self._instruments)

    def _schedule(self, records: Records, pay: Callable[[str, int], None]) -> None:
        config, name = self._config, records.instrument
        happened = records.event_time.tolist()
        due = happened if config.due_time is None else records.columns[config.due_time].tolist()
        rates = records.columns[config.rate].tolist()
        prices = [float("nan")] * len(rates)
        if config.mark_price is not None:
            prices = records.columns[config.mark_price].tolist()
        for told, instant, rate, price in zip(happened, due, rates, prices, strict=True):
            self._check(name, told, instant, rate, price)
            if (name, instant) not in self._due:
                key = (self._instruments.index(name), self._number)
                self._clock.call_at(instant, partial(pay, name, instant), Rank.VENUE_DATA, key)
            self._due[(name, instant)] = (rate, price)

    def _check(self, name: str, told: int, due: int, rate: float, price: float) -> None:
        where = f"`{self._config.kind}` of {name} at {format_instant(told)}"
        if due < told:
            raise ScenarioError(
                f"{where}: `{self._config.due_time}` must not be before `event_time`: got "
                f"{format_instant(due)}. Mend the records, or leave `due_time` out."
            )
        if not np.isfinite(rate):
            raise ScenarioError(
                f"{where}: `{self._config.rate}` must be a number: got {rate}. Mend the records."
            )
        if self._config.mark_price is not None and not price > 0:
            raise ScenarioError(
                f"{where}: `{self._config.mark_price}` must be above zero: got {price}. "
                "Mend the records."
            )


def _exact(value: float) -> Fraction:
    # the shortest text of a float is what the source wrote
    return Fraction(Decimal(repr(value)))
