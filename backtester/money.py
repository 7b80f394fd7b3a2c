"""The money of a run: both accounts, the venue's clearing, and what it is all worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from backtester.account import Account, Booking, LedgerEntry, Units
from backtester.errors import BooksDisagreeError, ScenarioError
from backtester.orders import Report, ReportKind
from backtester.risk import RiskLimits
from backtester.valuation import Valuation
from backtester.venue.clearing import Clearing
from backtester.venue.funding import FundingPayments
from backtester.venue.liquidation import LiquidatingVenue, Liquidator
from clock.base import Clock
from clock.rank import Rank
from featurizer.market import Instrument, Records, StreamKey, StreamRequest

if TYPE_CHECKING:
    from backtester.engine import Engine
    from backtester.scenario import Scenario
    from featurizer.catalog import Catalog

__all__ = ["PAYMENTS", "Money", "book_report"]


class Money:
    """Everything of a run that is counted in ledger units.

    Args:
        scenario: Opening balances, fees, margin and funding.
        instruments: As they are defined at the start.

    Attributes:
        units: Integers of the instruments.
        clearing: The venue's money; its account of us is `clearing.account`.
        belief: Our account, fed by reports.
        valuation: What several currencies are worth in the report's.

    Raises:
        ScenarioError: If a balance is too large, a currency has no rate, or margin terms do not fit
            the leverage.
    """

    def __init__(self, scenario: Scenario, instruments: Sequence[Instrument]) -> None:
        portfolio, execution = scenario.portfolio, scenario.execution
        self.units = units = Units(instruments)
        opening = {name: units.from_decimal(held) for name, held in portfolio.balances.items()}
        account = Account(units, opening)
        self.belief = Account(units, opening)
        try:
            self.clearing = Clearing(
                account, Fraction(portfolio.leverage), execution.fees, execution.margin
            )
        except ValueError as error:
            raise ScenarioError(f"execution.margin: {error}") from error
        self.valuation = Valuation(units, portfolio.quote, list(account.wallets), portfolio.rates)
        self.liquidator: Liquidator | None = None
        self._funding: FundingPayments | None = None
        self._config, self._risk = execution.funding, execution.risk

    def entry_price(self, account: Account, instrument: str) -> float:
        """Return the mean price of a position, NaN where there is none."""
        lots, basis = account.position(instrument), account.bases.get(instrument, 0)
        unit = self.units[instrument]
        if not lots:
            return float("nan")
        if unit.is_inverse:
            ticks = -(lots * unit.inverse[0] / unit.inverse[1]) / basis
        else:
            ticks = basis / lots
        return ticks * float(unit.tick_size)

    def limits(self, engine: Engine) -> RiskLimits | None:
        """Return the limits that orders are tested against before they leave, if there are any.

        Args:
            engine: Knows what we believe.
        """
        if self._risk is None:
            return None
        return RiskLimits(
            self._risk,
            self.units,
            position=self.belief.position,
            open_lots=engine.manager.open_lots,
            mid=engine.mid,
            loss=lambda: self._loss(engine.mids()),
        )

    def _loss(self, mids: Mapping[str, float]) -> float:
        opening = self.valuation.opening(self.belief, mids)
        return opening - self.valuation.equity(self.belief, mids)

    @property
    def has_funding(self) -> bool:
        """Whether positions pay or receive funding."""
        return self._config is not None

    @property
    def account(self) -> Account:
        """The venue's account of us."""
        return self.clearing.account

    def open_venue(self, venue: LiquidatingVenue, clock: Clock, catalog: Catalog) -> None:
        """Join what happens by itself: liquidation, and the funding that the catalog tells of.

        Args:
            venue: Closes positions, and publishes what is paid.
            clock: The run's clock.
            catalog: Holds the records of funding.
        """
        self._venue, self._clock = venue, clock
        self.liquidator = Liquidator(self.clearing, clock, venue)
        if self._config is not None:
            names = self.units.instruments
            self._funding = FundingPayments(self._config, self.clearing, clock, catalog, names)

    @property
    def requests(self) -> list[StreamRequest]:
        """The streams that funding is told in."""
        return [] if self._funding is None else self._funding.requests

    def open_window(self, records: Mapping[StreamKey, Records]) -> None:
        """Go on with the next window; the venue has its market records already.

        Args:
            records: What happened at the venue in it, by stream.
        """
        if self._funding is not None:
            self._funding.open_window(records, self._pay)
        if self.liquidator is not None:
            self.liquidator.open_window()

    def _pay(self, instrument: str, now: int) -> None:
        assert self._funding is not None
        assert self.liquidator is not None
        paid = self._funding.payment(instrument, now, self._venue.twice_mids())
        if paid is not None:
            self._venue.publish([paid], now, Rank.VENUE_DATA)
            self.liquidator.after(now)

    def check(self, *, is_settled: bool) -> None:
        """Assert that both books balance, and agree where no report is on its way.

        Args:
            is_settled: Whether everything that the venue reported has reached us.

        Raises:
            BooksDisagreeError: If they do not; says what does not balance.
        """
        self.clearing.check()
        self.belief.check()
        differences = self.account.differences(self.belief) if is_settled else []
        if differences:
            raise BooksDisagreeError(
                "the venue's books and ours must agree once its reports are in. The venue's and "
                "ours: " + " ".join(differences)
            )


PAYMENTS: Mapping[ReportKind, Booking] = {
    ReportKind.FUNDING: Booking.FUNDING,
    ReportKind.INSURANCE: Booking.INSURANCE,
}
"""Reports about money but no order, and how they are booked."""


def book_report(account: Account, report: Report) -> LedgerEntry | None:
    """Book what a report tells of money in our own account; None where it tells of none."""
    fill = report.fill
    if fill is not None:
        return account.apply_fill(
            fill.instrument, fill.side * fill.lots, fill.ticks, fill.fee_units, fill.is_maker
        )
    booking = PAYMENTS.get(report.kind)
    if booking is None:
        return None
    return account.apply_payment(report.instrument, booking, report.amount_units)
