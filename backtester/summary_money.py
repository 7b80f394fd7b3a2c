"""The money of a summary, in the currency of the report and in each that was traded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtester.metrics import annualised_ratio, drawdown
from clock.units import format_duration

if TYPE_CHECKING:
    from backtester.account import Wallet
    from backtester.run import Run

__all__ = ["money_of", "rounded"]

_FLOWS = ("realised", "maker_fees", "taker_fees", "funding", "insurance")


def money_of(run: Run, frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Return what a run earned and paid.

    Amounts are in the currency of the report. What arose in another one is taken at its rate at the
    end of the run; opening balances are taken at the first rates that the venue showed.
    """
    money = run.money
    account, valuation = money.account, money.valuation
    mids = run.venue.mids(run.until)
    rates = {name: valuation.rate(name, mids) for name in account.wallets}
    opening = valuation.opening(account, run.equity.first_mids)
    curve = frames["equity"]["equity"].to_numpy()
    profit = float(curve[-1]) - opening
    flows = {name: _converted(account.wallets, name, rates, run) for name in _FLOWS}
    fills = frames["fills"]
    return {
        "currency": valuation.currency,
        "profit": rounded(profit),
        "return": rounded(profit / opening) if opening else None,
        "fees": rounded(flows["maker_fees"] + flows["taker_fees"]),
        **{name: rounded(flow) for name, flow in flows.items()},
        **_traded(run, fills, mids),
        "hit_rate": _hit_rate(fills),
        "slippage_bps": rounded(fills["slippage_bps"].fill_nan(None).mean()),
        "liquidations": len(money.liquidator.instants) if money.liquidator is not None else 0,
        **_curve(run, curve),
        "balances": {name: _balance(run, name, rates[name]) for name in account.wallets},
    }


def rounded(value: Any) -> float | None:
    """Return a number as JSON has it: no NaN and no infinity, ten decimals."""
    return None if value is None or not math.isfinite(value) else round(float(value), 10)


def _converted(
    wallets: Mapping[str, Wallet], name: str, rates: Mapping[str, float], run: Run
) -> float:
    # a currency in which nothing happened needs no rate
    amounts = {currency: getattr(wallet, name) for currency, wallet in wallets.items()}
    to_float = run.money.units.to_float
    return sum(to_float(units) * rates[currency] for currency, units in amounts.items() if units)


def _traded(run: Run, fills: pl.DataFrame, mids: Mapping[str, float]) -> dict[str, Any]:
    """Return the turnover, and the maker's part of it and of the fills."""
    units, valuation = run.money.units, run.money.valuation
    total = {"maker": 0.0, "taker": 0.0}
    value = pl.col("quantity") * pl.col("price")
    grouped = fills.group_by("instrument", "liquidity").agg(
        value=value.sum(), quantity=pl.col("quantity").sum()
    )
    for name, liquidity, worth, quantity in grouped.sort("instrument", "liquidity").iter_rows():
        unit = units[name]
        # a contract of an inverse perpetual is worth a fixed amount of the quote currency
        size = units.quote_value(name, 1, 1.0) / float(unit.lot_size)
        amount = (quantity if unit.is_inverse else worth) * size
        total[liquidity] += amount * valuation.rate(unit.quote, mids)
    counts = dict(fills["liquidity"].value_counts().iter_rows())
    turnover = total["maker"] + total["taker"]
    return {
        "turnover": rounded(turnover),
        "maker_fills": int(counts.get("maker", 0)),
        "taker_fills": int(counts.get("taker", 0)),
        "maker_share": rounded(total["maker"] / turnover) if turnover else None,
    }


def _hit_rate(fills: pl.DataFrame) -> float | None:
    """Return the share of the closing fills that earned more than their fees and their entry's."""
    net = fills["net"].drop_nans()
    return rounded((net > 0).sum() / len(net)) if len(net) else None


def _curve(run: Run, curve: np.ndarray) -> dict[str, Any]:
    # the mark at the end is one of the regular samples only when the run is a whole number of
    # periods long
    regular = curve if (run.until - run.start) % run.period_ns == 0 else curve[:-1]
    regular = regular[np.isfinite(regular)]  # at the start a price may not be known yet
    falls = drawdown(curve[np.isfinite(curve)])
    return {
        "sharpe": rounded(annualised_ratio(regular, run.period_ns)),
        "sortino": rounded(annualised_ratio(regular, run.period_ns, downside=True)),
        "sampling": format_duration(run.period_ns),
        "max_drawdown": rounded(float(falls.max())) if len(falls) else 0.0,
    }


def _balance(run: Run, currency: str, rate: float) -> dict[str, float | None]:
    account, to_float = run.money.account, run.money.units.to_float
    wallet = account.wallets[currency]
    return {
        "opening": rounded(to_float(wallet.opening)),
        "closing": rounded(to_float(account.balance(currency))),
        **{name: rounded(to_float(getattr(wallet, name))) for name in _FLOWS},
        "rate": rounded(rate),
    }
