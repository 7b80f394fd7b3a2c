"""What perpetual positions must be backed by: initial and maintenance margin, exactly.

One wallet backs all perpetuals that are settled in its currency (cross margin, one netted position
an instrument). Everything is compared in whole numbers: amounts are doubled, so that a mid between
two ticks stays whole, and multiplied by the common denominator of the shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from backtester.account import Account
from backtester.account_units import Units
from backtester.strict import Strict
from backtester.venue.fee_models import DEFAULT
from featurizer.market import Array, ExactDecimal, PositiveDecimal

__all__ = ["Margin", "MarginModels", "MarginTerms"]

_MAINTENANCE = Fraction(1, 200)

Share = Annotated[ExactDecimal, Field(ge=0, allow_inf_nan=False)]


class MarginTerms(Strict):
    """Shares of the notional at the mark that back a perpetual."""

    initial: PositiveDecimal | None = Field(
        default=None, description="To open a position; by default one over `portfolio.leverage`."
    )
    maintenance: Share | None = Field(
        default=None,
        description="Below it the venue liquidates; by default 0.005, or half of the initial "
        "margin where that is less.",
    )
    liquidation_fee: Share = Field(
        default=Decimal(0), description="Of what the venue closes, on top of the taker fee."
    )

    @model_validator(mode="after")
    def _in_order(self) -> MarginTerms:
        if None not in (self.initial, self.maintenance) and self.maintenance >= self.initial:  # type: ignore[operator]  # neither is None
            raise ValueError(
                f"`maintenance` must be below `initial`: got {self.maintenance}, initial is "
                f"{self.initial}"
            )
        return self

    def shares(self, leverage: Fraction) -> tuple[Fraction, Fraction]:
        """Return initial and maintenance margin as shares of the notional.

        Raises:
            ValueError: If the maintenance margin is not below the initial one.
        """
        initial = 1 / leverage if self.initial is None else Fraction(self.initial)
        if self.maintenance is None:
            return initial, min(_MAINTENANCE, initial / 2)
        if Fraction(self.maintenance) >= initial:
            raise ValueError(
                f"`maintenance` must be below the initial margin, one over `portfolio.leverage` = "
                f"{float(initial):g}: got {self.maintenance}. Lower the leverage or the margin."
            )
        return initial, Fraction(self.maintenance)


def _as_map(value: Any) -> Any:
    fields = MarginTerms.model_fields
    return {DEFAULT: value} if isinstance(value, dict) and set(value) & set(fields) else value


MarginModels = Annotated[
    dict[str, MarginTerms],
    BeforeValidator(_as_map, json_schema_input_type=MarginTerms | dict[str, MarginTerms]),
]
"""Terms for all perpetuals, or for each instrument named, and `default` for the others."""


class Margin:
    """Tests whether what backs the perpetuals of a currency is enough.

    Args:
        units: Integers of the instruments.
        account: The account tested.
        leverage: Gives the initial margin where the terms do not.
        terms: Terms by instrument, `default` for those not named.

    Attributes:
        perpetuals: Ids of the perpetuals settled in each currency.
        liquidation_fees: Share charged of what is closed by force, by instrument.
    """

    def __init__(
        self,
        units: Units,
        account: Account,
        leverage: Fraction,
        terms: Mapping[str, MarginTerms] | None = None,
    ) -> None:
        self._units, self._account = units, account
        self.perpetuals: dict[str, list[str]] = {name: [] for name in account.wallets}
        self.liquidation_fees: dict[str, Fraction] = {}
        initial: dict[str, Fraction] = {}
        maintenance: dict[str, Fraction] = {}
        given, otherwise = terms or {}, (terms or {}).get(DEFAULT, MarginTerms())
        for name in units.instruments:
            if not units[name].is_spot:
                own = given.get(name, otherwise)
                initial[name], maintenance[name] = own.shares(leverage)
                self.liquidation_fees[name] = Fraction(own.liquidation_fee)
                self.perpetuals[units[name].currency].append(name)
        shares = (*initial.values(), *maintenance.values())
        self._scale = math.lcm(*(share.denominator for share in shares))
        self._initial = {name: int(share * self._scale) for name, share in initial.items()}
        self._terms = {
            currency: [
                (name, 0 if units[name].is_inverse else units[name].multiplier, self._initial[name])
                for name in names
            ]
            for currency, names in self.perpetuals.items()
        }
        self._maintenance = {name: int(share * self._scale) for name, share in maintenance.items()}

    @property
    def scale(self) -> int:
        """What every share is multiplied by, to be whole."""
        return self._scale

    def scaled(self, instrument: str) -> tuple[int, int]:
        """Return initial and maintenance share of a perpetual, times the scale."""
        return self._initial[instrument], self._maintenance[instrument]

    def unrealised(self, currency: str, twice_mids: Mapping[str, int]) -> int:
        """Return twice the unrealised profit of the perpetuals of a currency at their mids."""
        account, units = self._account, self._units
        total = 0
        for name in self.perpetuals[currency]:
            lots = account.positions.get(name, 0)
            if lots:
                total += units.twice_cost(name, lots, twice_mids[name])
                total -= 2 * account.bases[name] * units[name].multiplier
        return total

    def suffices(
        self,
        currency: str,
        locked: int,
        exposures: Mapping[str, int],
        twice_mids: Mapping[str, int],
    ) -> bool:
        """Return whether equity covers the initial margin.

        Args:
            currency: Of the wallet.
            locked: Ledger units of it that spot orders have reserved.
            exposures: Lots that each perpetual's position may come to, either sign.
            twice_mids: Best bid plus best ask of each instrument, in ticks.
        """
        account = self._account
        equity = 2 * (account.balance(currency) - locked)
        margin = 0
        # once for every order that arrives: one pass, and no call for what is linear
        for name, multiplier, share in self._terms[currency]:
            lots, exposure = account.positions.get(name, 0), exposures[name]
            if lots or exposure:
                mid = twice_mids[name]
                if multiplier:
                    equity += (lots * mid - 2 * account.bases.get(name, 0)) * multiplier
                    margin += share * abs(exposure) * mid * multiplier
                else:
                    cost = self._units.twice_cost
                    equity += cost(name, lots, mid) - 2 * account.bases.get(name, 0)
                    margin += share * abs(cost(name, exposure, mid))
        return margin <= equity * self._scale

    def free(
        self,
        currency: str,
        locked: int,
        exposures: Mapping[str, int],
        twice_mids: Mapping[str, int],
    ) -> int:
        """Return what spot orders may still reserve of a currency, in ledger units, rounded down.

        Unrealised losses count, unrealised profit buys nothing.
        """
        twice = 2 * (self._account.balance(currency) - locked)
        if self.perpetuals[currency]:
            twice += min(0, self.unrealised(currency, twice_mids))
            twice -= -(-self.initial(exposures, twice_mids) // self._scale)
        return twice // 2

    def initial(self, exposures: Mapping[str, int], twice_mids: Mapping[str, int]) -> int:
        """Return twice the initial margin of exposures, times the scale of the shares."""
        units = self._units
        total = 0
        for name, lots in exposures.items():
            if lots:
                total += self._initial[name] * abs(units.twice_cost(name, lots, twice_mids[name]))
        return total

    def cushion(self, currency: str, twice_mids: Mapping[str, int]) -> int:
        """Return twice what equity lies above the maintenance margin, times the scale.

        Below zero the venue liquidates.
        """
        account = self._account
        total = 2 * account.balance(currency) * self._scale
        for name in self.perpetuals[currency]:
            if account.positions.get(name, 0):
                total += self.contribution(name, twice_mids[name])
        return total

    def contribution(self, name: str, twice_mid: int) -> int:
        """Return what a position adds to the cushion of its currency at a mid.

        It rises with the mid for a long position and falls for a short one.
        """
        account = self._account
        lots = account.positions.get(name, 0)
        worth = self._units.twice_cost(name, lots, twice_mid)
        profit = worth - 2 * account.bases.get(name, 0) * self._units[name].multiplier
        return profit * self._scale - self._maintenance[name] * abs(worth)

    def near_shortfall(self, currency: str, twice_mids: Mapping[str, Array]) -> Array:
        """Return where, of many marks, the cushion may lie below zero, to the accuracy of floats.

        Args:
            currency: Of the wallet.
            twice_mids: Marks of each perpetual held. Shape (n,) each.

        Returns:
            Places, ascending; a superset of those where it does.
        """
        account, scale = self._account, self._scale
        total: Any = 2.0 * account.balance(currency) * scale
        size: Any = abs(total)
        for name, mids in twice_mids.items():
            unit, lots = self._units[name], account.position(name)
            if unit.is_inverse:
                worth = -4.0 * lots * (unit.inverse[0] / unit.inverse[1]) / mids
            else:
                worth = float(lots * unit.multiplier) * mids
            cost = 2.0 * account.bases[name] * unit.multiplier
            total = total + (worth - cost) * scale - self._maintenance[name] * np.abs(worth)
            size = size + (np.abs(worth) + abs(cost)) * scale
        # rounding to whole units, of each inverse position, and of the floats themselves
        slack = 4.0 * scale * len(twice_mids) + 1e-12 * size
        return np.flatnonzero(total < slack)

    def held(self, currency: str) -> list[str]:
        """Return the perpetuals of a currency in which there is a position."""
        return [name for name in self.perpetuals[currency] if self._account.position(name)]
