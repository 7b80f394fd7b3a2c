"""Seeded markets of any length, in which a model has something to learn and latency a cost.

A latent order-flow pressure, an Ornstein-Uhlenbeck process, moves the price. It shows in the
displayed sizes and in who takes, and is forgotten with its half-life: what a model predicts from
them decays with the latency of the answer at about that rate. As calibrated by the tests: spread
1.2 ticks, information coefficient 0.3 at a horizon of 1 s, halved by 0.2 s of latency; a market
order on a strong signal earns more than spread and fees at once, and less one second later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clock.latency import LatencyModel, Lognormal
from clock.units import Duration, Instant
from featurizer.errors import MarketDataError
from featurizer.market import KINDS, Array, Fees, Instrument, StreamKey

__all__ = ["SyntheticMarket", "synthetic_instruments", "synthetic_records", "write_synthetic"]

_DAY_NS: Final = 86_400_000_000_000
_NEW_YEAR_2024: Final = 1_704_067_200_000_000_000
CHUNK: Final = 262_144
"""Quotes made at a time: what bounds the memory, and the size of a part. Changes no record."""


class SyntheticMarket(BaseModel):
    """A market to make: everything about it is stated here, and the seed decides the rest.

    Attributes:
        seed: Another seed, another market; every other field leaves the draws as they are.
        instruments: Ids; their markets are independent.
        start: First instant.
        duration: Length; records cover [start, start + duration).
        kinds: Which records to write; the market is the same whichever are.
        quote_interval: Mean time between quotes, exponentially distributed.
        price: Where it starts, and what it is slowly pulled back to (an hour).
        tick_size: Of every instrument.
        lot_size: Of every instrument.
        quantity: Typical displayed size, in base units.
        fees: Half a basis point for takers by default: half a tick at the starting price.
        feed_latency: From event to receipt. Messages of a stream never overtake one another.
        half_life: Of the pressure.
        drift: Ticks a second by which a pressure of one standard deviation moves the price.
        noise: Ticks per root second that nothing foretells.
        visibility: How strongly the pressure tilts the displayed sizes.
        lean: How strongly it decides the side that takes.
        trade_share: Share of quotes that follow a trade.
        wide_share: Share of quotes that are two ticks wide, not one.
        resolution: Step of `event_time`: 1ms makes ties as frequent as real venues do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 7
    instruments: tuple[str, ...] = Field(default=("SIM.ALPHA",), min_length=1)
    start: Instant = _NEW_YEAR_2024
    duration: Duration = 1_800_000_000_000
    kinds: tuple[Literal["quotes", "trades", "depth"], ...] = ("quotes", "trades")
    quote_interval: Duration = 25_000_000
    price: Decimal = Field(default=Decimal(100), gt=0)
    tick_size: Decimal = Field(default=Decimal("0.01"), gt=0)
    lot_size: Decimal = Field(default=Decimal("0.001"), gt=0)
    quantity: Decimal = Field(default=Decimal(5), gt=0)
    fees: Fees = Fees(maker=Decimal(0), taker=Decimal("0.00005"))
    feed_latency: LatencyModel = Lognormal.model_validate({"median": "1ms", "p99": "5ms"})
    half_life: Duration = 150_000_000
    drift: float = Field(default=12.0, ge=0)
    noise: float = Field(default=3.0, ge=0)
    visibility: float = Field(default=0.5, ge=0, le=2)
    lean: float = Field(default=1.2, ge=0)
    trade_share: float = Field(default=0.2, ge=0, le=1)
    wide_share: float = Field(default=0.2, ge=0, le=1)
    resolution: Duration = 1_000

    @model_validator(mode="after")
    def _positive(self) -> Self:
        for name in ("duration", "quote_interval", "half_life", "resolution"):
            if getattr(self, name) < 1:
                raise MarketDataError(
                    f"synthetic market: `{name}` must be positive: got 0. Give it a length."
                )
        if self.start % self.resolution:
            raise MarketDataError(
                "synthetic market: `start` must be a multiple of `resolution`: got a rest of "
                f"{self.start % self.resolution} ns. Round it."
            )
        return self


def synthetic_instruments(config: SyntheticMarket) -> tuple[Instrument, ...]:
    """Return the definitions of the instruments that a configuration makes."""
    return tuple(
        Instrument(
            id=name,
            tick_size=config.tick_size,
            lot_size=config.lot_size,
            contract="linear",
            base=name.rpartition(".")[2],
            quote="USD",
            fees=config.fees,
        )
        for name in config.instruments
    )


def synthetic_records(
    config: SyntheticMarket, chunk: int = CHUNK
) -> dict[StreamKey, dict[str, Array]]:
    """Return all records of a market, in the catalog's order, in memory at once.

    Args:
        config: The market.
        chunk: Quotes made at a time; changes nothing but memory.
    """
    pieces: dict[StreamKey, list[dict[str, Array]]] = {}
    for name in config.instruments:
        for records, _ in _chunks(config, name, chunk):
            for kind, columns in records.items():
                pieces.setdefault((name, kind), []).append(columns)
    return {
        key: {c: np.concatenate([part[c] for part in parts]) for c in parts[0]}
        for key, parts in pieces.items()
    }


def write_synthetic(
    config: SyntheticMarket,
    root: Path | str,
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[StreamKey, int]:
    """Make a market and write it to a catalog, with bounded memory.

    Args:
        config: The market.
        root: Folder of the catalog; made if it does not exist.
        replace: Replace the days that the market touches, if the catalog has them.
        progress: Called with (done, total), in seconds of simulated time.

    Returns:
        Records written, by stream.

    Raises:
        CatalogError: If the catalog defines an instrument differently, or has these days.
    """
    # the catalog brings Arrow with it, which making records in memory does not need
    from featurizer.catalog import Catalog

    catalog = Catalog.create(root, synthetic_instruments(config))
    written: dict[StreamKey, int] = {}
    days: set[tuple[StreamKey, int]] = set()
    total = config.duration * len(config.instruments) // 10**9
    for number, name in enumerate(config.instruments):
        for records, instant in _chunks(config, name, CHUNK):
            for kind, columns in records.items():
                key = (name, kind)
                # chunks end at midnight, so one day is replaced once and then grows
                day = (key, int(columns["event_time"][0]) // _DAY_NS)
                fresh = replace and day not in days
                days.add(day)
                rows = catalog.write(name, kind, columns, replace=fresh, source="synthetic market")
                written[key] = written.get(key, 0) + rows
            if progress is not None:
                done = config.duration * number + instant - config.start
                progress(done // 10**9, total)
    return written


def _chunks(
    config: SyntheticMarket, name: str, chunk: int
) -> Iterator[tuple[dict[str, dict[str, Array]], int]]:
    """Yield the records of an instrument, some at a time, and the instant that they reach."""
    # the kernels take a second to load: not before a market is made
    from featurizer.synthetic_records import RecordMaker

    maker = RecordMaker(config, name)
    instant, until = config.start, config.start + config.duration
    while instant < until:
        instant = min(until, (instant // _DAY_NS + 1) * _DAY_NS)
        while True:
            records, full = maker.make(instant, chunk)
            if records:
                yield {kind: records[kind] for kind in KINDS if kind in records}, maker.reached
            if not full:
                break
