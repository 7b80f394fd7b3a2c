"""Money in the express lane: fees, margin, and both books, as `docs/accounts.md` says.

Only linear contracts and fees that are shares come here, and only numbers whose products fit into
64 bits; whoever finds that they might not hands the run over to the venue in Python.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from backtester.express import layout as at
from backtester.express.books import advance
from clock.compiled import inlined_kernel, kernel

Array = NDArray[Any]

_LARGEST = 4e18
"""Just below 2^62: what is smaller as a float is a whole number of 64 bits."""

ENOUGH, SHORT, UNKNOWN = range(3)


@inlined_kernel
def _half_even(numerator: int, denominator: int) -> int:
    """Return a quotient rounded to the nearest whole number, a tie to the even one."""
    quotient = numerator // denominator
    rest = numerator - quotient * denominator
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient


@inlined_kernel
def _part(whole: int, part: int, of: int) -> int:
    """Return *whole* · *part* / *of*, rounded towards zero."""
    return whole * part // of if whole >= 0 else -(-whole * part // of)


@kernel
def fee_of(market: Array, lots: int, ticks: int, is_maker: bool) -> int:
    """Return the fee of a fill, in ledger units."""
    notional = lots * ticks * market[at.MULTIPLIER]
    if is_maker:
        return _half_even(market[at.MAKER] * notional, market[at.MAKER_OF])
    return _half_even(market[at.TAKER] * notional, market[at.TAKER_OF])


@kernel
def book_fill(
    market: Array,
    purse: Array,
    account: int,
    lots: int,
    ticks: int,
    fee: int,
    is_maker: bool,
    entry: Array,
) -> None:
    """Book an execution; see `Account.apply_fill`.

    Args:
        market: The instrument.
        purse: The accounts of its currency, of one of the two books.
        account: Column of the market at which this book's position begins.
        lots: Signed, positive for a buy.
        ticks: Price.
        fee: In ledger units.
        is_maker: Whether our order rested.
        entry: Filled from `B_LOTS` to `B_BASIS`.
    """
    position, basis = market[account + at.POSITION], market[account + at.BASIS]
    multiplier = market[at.MULTIPLIER]
    realised = net = closed = 0
    opened, opening_fee = lots, fee
    if position * lots < 0:
        closed = min(abs(lots), abs(position))
        signed = closed if position > 0 else -closed
        released = _part(basis, closed, abs(position))
        basis -= released
        realised = (signed * ticks - released) * multiplier
        opened = lots + signed
        closing_fee = _part(fee, closed, abs(lots))
        opening_fee = fee - closing_fee
        entry_fee = _part(market[account + at.ENTRY_FEES], closed, abs(position))
        market[account + at.ENTRY_FEES] -= entry_fee
        net = realised - closing_fee - entry_fee
    if opened:
        basis += opened * ticks
        market[account + at.ENTRY_FEES] += opening_fee
    position += lots
    market[account + at.POSITION], market[account + at.BASIS] = position, basis
    if lots > 0:
        market[account + at.BOUGHT] += lots
    else:
        market[account + at.SOLD] -= lots
    purse[at.REALISED] += realised
    purse[at.MAKER_FEES if is_maker else at.TAKER_FEES] += fee
    purse[at.CASH] += realised - fee
    entry[at.B_LOTS], entry[at.B_TICKS], entry[at.B_FEE] = lots, ticks, fee
    entry[at.B_REALISED], entry[at.B_CASH] = realised, purse[at.CASH]
    entry[at.B_POSITION], entry[at.B_BASIS] = position, basis
    if account == at.VENUE_ACCOUNT:
        entry[at.B_NET], entry[at.B_CLOSED] = net, closed


@kernel
def margin_for(head: Array, place: int, side: int, lots: int, own: int, now: int) -> int:
    """Return whether equity covers the margin that an order needs; see `Clearing.refusal`.

    Args:
        head: The lane.
        place: Place of the market.
        side: 1 to buy, -1 to sell.
        lots: How many of the order are open.
        own: How many of it rest already: they count as free.
        now: The present instant.

    Returns:
        ENOUGH or SHORT; UNKNOWN where only longer numbers could tell.
    """
    markets = at.markets_of(head)
    market = markets[place]
    position = market[at.VENUE_ACCOUNT + at.POSITION]
    with_it, against = market[at.OPEN_BUYS], market[at.OPEN_SELLS]
    if side < 0:
        with_it, against = against, with_it
    same = position + side * (with_it - own + lots)
    if abs(same) < abs(position):  # less at risk than before is never refused
        return ENOUGH
    largest = max(abs(same), abs(position - side * against))
    cash = at.purses_of(head)[market[at.PURSE], at.VENUE_PURSE + at.CASH]
    scale = head[at.SCALE]
    equity, margin = 2 * cash, 0
    about, size = 0.0, 2.0 * abs(float(cash)) * scale
    for j in range(head[at.MARKETS]):
        other = markets[j]
        if other[at.PURSE] != market[at.PURSE]:
            continue
        held = other[at.VENUE_ACCOUNT + at.POSITION]
        exposure = max(abs(held + other[at.OPEN_BUYS]), abs(held - other[at.OPEN_SELLS]))
        if j == place:
            exposure = largest
        if held or exposure:
            advance(other, now)
            mid, basis = other[at.BID] + other[at.ASK], other[at.VENUE_ACCOUNT + at.BASIS]
            multiplier = other[at.MULTIPLIER]
            equity += (held * mid - 2 * basis) * multiplier
            margin += other[at.INITIAL] * exposure * mid * multiplier
            worth = float(mid) * multiplier
            profit = held * worth - 2.0 * basis * multiplier
            about += other[at.INITIAL] * (exposure * worth) - profit * scale
            size += other[at.INITIAL] * (exposure * worth)
            size += (abs(held) * worth + 2.0 * abs(float(basis)) * multiplier) * scale
    if size < _LARGEST:
        return ENOUGH if margin <= equity * scale else SHORT
    about -= 2.0 * cash * scale
    if abs(about) < 1e-9 * size:
        return UNKNOWN
    return ENOUGH if about < 0 else SHORT


@kernel
def may_overflow(head: Array, market: Array, lots: int, ticks: int) -> bool:
    """Return whether booking an order's fills, or those that rest, might need longer numbers.

    Notes the largest price that anything of ours may be filled at.
    """
    known = market[at.LARGEST_TICKS]
    known = max(known, ticks, 2 * market[at.BID], 2 * market[at.ASK])
    market[at.LARGEST_TICKS] = known
    most = float(abs(market[at.VENUE_ACCOUNT + at.POSITION]) + lots)
    most += abs(market[at.OUR_ACCOUNT + at.POSITION])
    most += market[at.OPEN_BUYS] + market[at.OPEN_SELLS]
    rate = max(
        abs(market[at.MAKER]), abs(market[at.TAKER]), market[at.MAKER_OF], market[at.TAKER_OF]
    )
    worth = most * known * market[at.MULTIPLIER]
    purse = at.purses_of(head)[market[at.PURSE]]
    cash = max(abs(purse[at.VENUE_PURSE + at.CASH]), abs(purse[at.OUR_PURSE + at.CASH]))
    return bool(worth * max(most, float(rate)) > _LARGEST or float(cash) + worth > _LARGEST)


@kernel
def may_be_liquidated(head: Array) -> bool:
    """Return whether equity might fall short of the maintenance margin within this window.

    At the least favourable marks, to the accuracy of floats: what is not sure may happen.
    """
    markets, purses = at.markets_of(head), at.purses_of(head)
    for k in range(head[at.PURSES]):
        cushion = 2.0 * purses[k, at.VENUE_PURSE + at.CASH] * head[at.SCALE]
        size, is_held = abs(cushion), False
        for j in range(head[at.MARKETS]):
            market = markets[j]
            held = market[at.VENUE_ACCOUNT + at.POSITION]
            if market[at.PURSE] != k or held == 0:
                continue
            is_held = True
            present = market[at.BID] + market[at.ASK]
            low, high = min(market[at.LOWEST], present), max(market[at.HIGHEST], present)
            cost = 2.0 * market[at.VENUE_ACCOUNT + at.BASIS] * market[at.MULTIPLIER]
            worst = 0.0
            for side in range(2):
                worth = float(held) * (low if side == 0 else high) * market[at.MULTIPLIER]
                left = (worth - cost) * head[at.SCALE] - market[at.MAINTENANCE] * abs(worth)
                worst = left if side == 0 else min(worst, left)
                size += (abs(worth) + abs(cost)) * head[at.SCALE]
            cushion += worst
        # without a position there is nothing to close: but then it must not owe either
        if (is_held or cushion < 0) and cushion < 1e-9 * size:
            return True
    return False
