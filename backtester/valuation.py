"""What several currencies are worth in one: the currency of the report.

The rate of a currency is fixed by the scenario (`portfolio.rates`), or it is the mid of an
instrument that trades the one for the other, or a product of such; the shortest chain counts, and
of those as short the first, spot before perpetuals, in the scenario's order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from backtester.account import Account
from backtester.account_units import Units
from backtester.errors import ScenarioError
from featurizer.market import Array

__all__ = ["Rate", "Valuation"]


class Rate(NamedTuple):
    """How many units of the report's currency one unit of another is worth.

    Attributes:
        steps: Instruments whose mids lead from the one to the other, and whether one over the mid
            counts; empty where it is fixed.
        fixed: A fixed rate, by which their product is multiplied.
    """

    steps: tuple[tuple[str, bool], ...]
    fixed: float = 1.0

    def of(self, mids: Mapping[str, Array] | Mapping[str, float]) -> Any:
        """Return the rate at mids of the instruments; NaN before they are quoted."""
        rate: Any = self.fixed
        for instrument, is_inverted in self.steps:
            rate = rate / mids[instrument] if is_inverted else rate * mids[instrument]
        return rate


class Valuation:
    """Values the wallets and positions of an account in the currency of the report.

    Args:
        units: Integers of the instruments.
        currency: The currency of the report.
        currencies: Every currency that is held or traded.
        rates: Fixed rates, by currency.

    Raises:
        ScenarioError: If nothing says what a currency is worth.
    """

    def __init__(
        self,
        units: Units,
        currency: str,
        currencies: Sequence[str],
        rates: Mapping[str, Decimal] | None = None,
    ) -> None:
        self.units = units
        self.currency = currency
        fixed = {name: float(rate) for name, rate in (rates or {}).items()} | {currency: 1.0}
        quotes = (units[name].quote for name in units.instruments)
        self.rates = {name: self._rate(name, fixed) for name in (*currencies, *quotes)}

    def _rate(self, name: str, fixed: Mapping[str, float]) -> Rate:
        """Return the shortest way to the report's currency, the first of those as short."""
        reached: dict[str, tuple[tuple[str, bool], ...]] = {name: ()}
        waiting = deque([name])
        while waiting:
            here = waiting.popleft()
            if here in fixed:
                return Rate(reached[here], fixed[here])
            for instrument, there, is_inverted in self._ways(here):
                if there not in reached:
                    reached[there] = (*reached[here], (instrument, is_inverted))
                    waiting.append(there)
        raise ScenarioError(
            f"`portfolio.rates` must say what one {name} is worth in {self.currency}: no "
            f"instrument of the scenario leads from the one to the other. Add `rates: "
            f"{{{name}: …}}`, or report in another currency with `portfolio.quote`."
        )

    def _ways(self, currency: str) -> Iterator[tuple[str, str, bool]]:
        units = self.units
        for instrument in sorted(units.instruments, key=lambda i: not units[i].is_spot):
            base, quote = units[instrument].base, units[instrument].quote
            if base == currency:
                yield instrument, quote, False
            elif quote == currency:
                yield instrument, base, True

    def rate(self, currency: str, mids: Mapping[str, float]) -> float:
        """Return what one unit of a currency is worth at the mids of the instruments."""
        return float(self.rates[currency].of(mids))

    def unrealised(self, account: Account, instrument: str, mid: float) -> float:
        """Return the profit of a position at a mid over its cost, in its own currency."""
        unit = self.units[instrument]
        lots = account.position(instrument)
        if not lots:
            return 0.0
        worth = self.worth(instrument, lots, mid)
        return (float(worth) - account.bases[instrument] * unit.multiplier) / (
            self.units.per_currency
        )

    def worth(self, instrument: str, lots: Array | int, mid: Array | float) -> Array | float:
        """Return what lots of a perpetual are worth at mids, in ledger units, signed as a basis."""
        unit = self.units[instrument]
        ticks = mid / float(unit.tick_size)
        if unit.is_inverse:
            return -(lots * (unit.inverse[0] / unit.inverse[1])) / ticks
        return lots * ticks * unit.multiplier

    def equity(self, account: Account, mids: Mapping[str, float]) -> float:
        """Return everything that an account holds, in the currency of the report.

        Args:
            account: The account.
            mids: Price of each instrument; NaN where it was never quoted.

        Returns:
            The value, NaN where it needs a price that is not known.
        """
        per_currency, total = self.units.per_currency, 0.0
        for name in account.wallets:
            amount = account.balance(name) / per_currency
            for instrument in self.units.instruments:
                unit = self.units[instrument]
                if unit.currency == name and not unit.is_spot:
                    amount += self.unrealised(account, instrument, mids[instrument])
            if amount:
                total += amount * self.rate(name, mids)
        return total

    def opening(self, account: Account, mids: Mapping[str, float]) -> float:
        """Return the opening balances at given mids, in the currency of the report."""
        return sum(
            wallet.opening / self.units.per_currency * self.rate(name, mids)
            for name, wallet in account.wallets.items()
            if wallet.opening
        )
