"""What fills cost: the venue's fees, fill by fill."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

from backtester.account_units import Units, share
from backtester.venue.fee_models import DEFAULT, FeeModel, Flat, PerQuantity, Share, Tiered

__all__ = ["FeeSchedule"]


class FeeSchedule:
    """What the venue charges, fill by fill; knows the volume that was traded.

    Every fee is rounded half to even, to the ledger unit of the instrument's currency.

    Args:
        units: Integers of the instruments.
        models: Model by instrument, `default` for those not named; the others pay the shares that
            `instruments.yaml` states.
    """

    def __init__(self, units: Units, models: Mapping[str, FeeModel] | None = None) -> None:
        self._fees: dict[str, _Fee] = {}
        volumes: dict[tuple[str, str], _Volume] = {}
        for name in units.instruments:
            key = name if name in (models or {}) else DEFAULT
            model = (models or {}).get(key)
            if model is None:
                unit = units[name]
                self._fees[name] = _Share(units, name, unit.maker, unit.taker)
            else:
                self._fees[name] = _fee_of(model, units, name, volumes, key)

    def charge(
        self, instrument: str, lots: int, ticks: int, now: int, *, is_maker: bool, is_first: bool
    ) -> int:
        """Return the fee of a fill in ledger units, and count its volume.

        Args:
            instrument: Id of the instrument.
            lots: How many were filled, > 0.
            ticks: At what price.
            now: Instant of the fill, never before that of the last one.
            is_maker: Whether our order rested.
            is_first: Whether the order had no fill before.
        """
        return self._fees[instrument].charge(lots, ticks, now, is_maker, is_first)

    def shares(self, instrument: str) -> tuple[Fraction, Fraction] | None:
        """Return maker's and taker's share where a fee is that and nothing else, else None."""
        fee = self._fees[instrument]
        return (fee.maker, fee.taker) if isinstance(fee, _Share) else None

    def most(self, instrument: str, lots: int, ticks: int, *, is_first: bool) -> int:
        """Return what lots at a price, or at a better one, cost in fees at most.

        However many fills they take: it is rounded up for each lot, so that the most of the parts
        never adds up to more than the most of the whole.
        """
        return self._fees[instrument].most(lots, ticks, is_first)


class _Fee(Protocol):
    def charge(self, lots: int, ticks: int, now: int, is_maker: bool, is_first: bool) -> int: ...

    def most(self, lots: int, ticks: int, is_first: bool) -> int: ...


class _Share:
    """Maker's and taker's share of the notional."""

    def __init__(self, units: Units, instrument: str, maker: Fraction, taker: Fraction) -> None:
        self._units, self._name = units, instrument
        self.maker, self.taker = maker, taker
        self._most = max(maker, taker, Fraction(0))

    def charge(self, lots: int, ticks: int, now: int, is_maker: bool, is_first: bool) -> int:
        notional = self._units.notional(self._name, lots, ticks)
        return share(self.maker if is_maker else self.taker, notional)

    def most(self, lots: int, ticks: int, is_first: bool) -> int:
        return lots * _up(self._most * self._units.notional(self._name, 1, ticks))


class _PerQuantity:
    """An amount for each lot."""

    def __init__(self, units: Units, instrument: str, model: PerQuantity) -> None:
        lot = Fraction(units[instrument].lot_size) * units.per_currency
        self._maker, self._taker = Fraction(model.maker) * lot, Fraction(model.taker) * lot
        self._most = _up(max(self._maker, self._taker, Fraction(0)))

    def charge(self, lots: int, ticks: int, now: int, is_maker: bool, is_first: bool) -> int:
        return share(self._maker if is_maker else self._taker, lots)

    def most(self, lots: int, ticks: int, is_first: bool) -> int:
        return lots * self._most


class _Flat:
    """An amount for the first fill of an order."""

    def __init__(self, units: Units, model: Flat) -> None:
        self._maker = units.from_decimal(model.maker)
        self._taker = units.from_decimal(model.taker)

    def charge(self, lots: int, ticks: int, now: int, is_maker: bool, is_first: bool) -> int:
        return (self._maker if is_maker else self._taker) if is_first else 0

    def most(self, lots: int, ticks: int, is_first: bool) -> int:
        return max(self._maker, self._taker, 0) if is_first else 0


class _Volume:
    """Notional traded in the window before an instant, in ledger units of a quote currency."""

    def __init__(self, window_ns: int, opening: int) -> None:
        self._window = window_ns
        self._total = opening
        self._traded: deque[tuple[int, int]] = deque()

    def before(self, now: int) -> int:
        """Return the volume in `(now - window, now]` of what was added so far."""
        while self._traded and self._traded[0][0] <= now - self._window:
            self._total -= self._traded.popleft()[1]
        return self._total

    def add(self, now: int, notional: int) -> None:
        """Count what was traded."""
        self._traded.append((now, notional))
        self._total += notional


class _Tiered:
    """Shares of the notional by the volume before the fill."""

    def __init__(self, units: Units, instrument: str, model: Tiered, volume: _Volume) -> None:
        self._units, self._name, self._volume = units, instrument, volume
        self._from = [units.from_decimal(tier.volume) for tier in model.tiers]
        self._shares = [(Fraction(tier.maker), Fraction(tier.taker)) for tier in model.tiers]
        self._most = max(Fraction(0), *(rate for pair in self._shares for rate in pair))
        unit = units[instrument]
        size = Fraction(unit.inverse[0], unit.inverse[1]) * Fraction(unit.tick_size)
        self._per_lot = size if unit.is_inverse else None

    def charge(self, lots: int, ticks: int, now: int, is_maker: bool, is_first: bool) -> int:
        before = self._volume.before(now)
        tier = max(place for place, volume in enumerate(self._from) if volume <= before)
        notional = self._units.notional(self._name, lots, ticks)
        # the volume of an inverse contract is in its quote currency, its fee in the base currency
        traded = notional if self._per_lot is None else share(self._per_lot, lots)
        self._volume.add(now, traded)
        return share(self._shares[tier][0 if is_maker else 1], notional)

    def most(self, lots: int, ticks: int, is_first: bool) -> int:
        return lots * _up(self._most * self._units.notional(self._name, 1, ticks))


class _Sum:
    """Several fees."""

    def __init__(self, terms: list[_Fee]) -> None:
        self._terms = terms

    def charge(self, lots: int, ticks: int, now: int, is_maker: bool, is_first: bool) -> int:
        return sum(term.charge(lots, ticks, now, is_maker, is_first) for term in self._terms)

    def most(self, lots: int, ticks: int, is_first: bool) -> int:
        return sum(term.most(lots, ticks, is_first) for term in self._terms)


def _fee_of(
    model: FeeModel, units: Units, name: str, volumes: dict[tuple[str, str], _Volume], key: str
) -> _Fee:
    """Return what a model charges for an instrument.

    Args:
        model: The model.
        units: Integers of the instruments.
        name: Id of the instrument.
        volumes: What was traded, by model and quote currency: instruments share it.
        key: Which model it is.
    """
    if isinstance(model, Share):
        return _Share(units, name, Fraction(model.maker), Fraction(model.taker))
    if isinstance(model, PerQuantity):
        return _PerQuantity(units, name, model)
    if isinstance(model, Flat):
        return _Flat(units, model)
    if isinstance(model, Tiered):
        opening = units.from_decimal(model.opening_volume)
        fresh = _Volume(model.window, opening)
        return _Tiered(units, name, model, volumes.setdefault((key, units[name].quote), fresh))
    return _Sum(
        [
            _fee_of(term, units, name, volumes, f"{key}/{place}")
            for place, term in enumerate(model.terms)
        ]
    )


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
