"""What a strategy sees of its own money: our belief."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester.errors import OrderError
from clock.nearest import nearest

if TYPE_CHECKING:
    from backtester.engine import Engine

__all__ = ["PortfolioView"]


class PortfolioView:
    """Our belief: what the reports received so far say that we hold, at the quotes we know.

    Amounts are in the currency of the scenario's first instrument (of an inverse contract, its
    base currency) where none is named.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def cash(self) -> float:
        """Cash."""
        account = self._engine.belief
        return account.units.to_float(account.cash)

    @property
    def fees(self) -> float:
        """Fees paid so far."""
        account = self._engine.belief
        return account.units.to_float(account.fees)

    @property
    def realised(self) -> float:
        """Profit realised so far, before fees."""
        account = self._engine.belief
        return account.units.to_float(account.realised)

    @property
    def funding(self) -> float:
        """Funding received so far; negative where more was paid."""
        account = self._engine.belief
        return account.units.to_float(account.funding)

    @property
    def equity(self) -> float:
        """Everything held at our newest mids, in the report's currency; NaN where one is missing.

        Positions in what was never quoted to us have no value yet.
        """
        engine = self._engine
        return engine.money.valuation.equity(engine.belief, engine.mids())

    def balance(self, currency: str) -> float:
        """Return what we hold of a currency, spot positions in it included.

        Args:
            currency: One that is traded, or that the scenario opens with.
        """
        account = self._engine.belief
        if currency not in account.wallets:
            raise OrderError(
                f"`currency` must be one that the scenario holds: got {currency!r}. "
                f"{nearest(currency, list(account.wallets))}"
            )
        return account.units.to_float(account.balance(currency))

    def position(self, instrument: str | None = None) -> float:
        """Return the signed position in base units (contracts).

        Of a spot instrument: bought less sold, whatever was held at the start.

        Args:
            instrument: Id; may be left out when the scenario has one.
        """
        engine = self._engine
        name = engine.instrument_name(instrument)
        lots = engine.belief.positions.get(name, 0)
        return float(lots * engine.belief.units[name].lot_size)

    def entry_price(self, instrument: str | None = None) -> float:
        """Return the mean price of the position, NaN where there is none.

        Args:
            instrument: Id; may be left out when the scenario has one.
        """
        engine = self._engine
        name = engine.instrument_name(instrument)
        return engine.money.entry_price(engine.belief, name)

    def unrealised(self, instrument: str | None = None) -> float:
        """Return the profit of a position at our newest mid, in its own currency, before fees.

        Args:
            instrument: Id; may be left out when the scenario has one.
        """
        engine = self._engine
        name = engine.instrument_name(instrument)
        return engine.money.valuation.unrealised(engine.belief, name, engine.mid(name))
