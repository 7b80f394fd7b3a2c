"""Quotes in ticks and lots into the records of a synthetic market: quotes, trades, depth."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

import numpy as np

from clock.randomness import stream_key
from clock.sampler import Sampler
from featurizer.market import DEPTH, KINDS, QUOTES, TRADES, Array
from featurizer.synthetic_kernel import COLUMNS, PARAMS, REALS, WHOLES, generate

if TYPE_CHECKING:
    from featurizer.synthetic import SyntheticMarket

__all__ = ["RecordMaker"]

_LEVELS: Final = 10
_ANCHOR_NS: Final = 3_600_000_000_000
Columns = dict[str, Array]
_Levels = tuple[Array, int, Array, Array]  # rows, side, ticks, lots


class RecordMaker:
    """Makes the records of one instrument, from its start on.

    Args:
        config: The market.
        name: Id of the instrument.
    """

    def __init__(self, config: SyntheticMarket, name: str) -> None:
        self._config = config
        self._key = stream_key(config.seed, f"synthetic/{name}")
        anchor = float(config.price / config.tick_size)
        values = {
            "interval_ns": config.quote_interval,
            "pressure_ns": config.half_life / float(np.log(2.0)),
            "drift": config.drift,
            "noise": config.noise,
            "anchor_ns": _ANCHOR_NS,
            "anchor": anchor,
            "wide_share": config.wide_share,
            "trade_share": config.trade_share,
            "lots": float(config.quantity / config.lot_size),
            "visibility": config.visibility,
            "lean": config.lean,
            "resolution_ns": config.resolution,
        }
        self._params = np.array([values[name] for name in PARAMS], np.float64)
        self._wholes = np.zeros(len(WHOLES), np.int64)
        self._wholes[WHOLES.index("instant")] = config.start
        self._reals = np.zeros(len(REALS), np.float64)
        self._reals[REALS.index("fair")] = anchor
        self._feeds: dict[str, Sampler] = {
            kind: Sampler(config.feed_latency, config.seed, f"synthetic/{name}/feed/{kind}")
            for kind in config.kinds
        }
        self._received: dict[str, int] = dict.fromkeys(config.kinds, 0)
        self._trades = 0
        self._best = (0, 0)

    @property
    def reached(self) -> int:
        """The instant of the last quote made."""
        return int(self._wholes[WHOLES.index("instant")])

    def make(self, until: int, rows: int) -> tuple[dict[str, Columns], bool]:
        """Return the next records before `until`, of at most `rows` quotes.

        Returns:
            The columns by kind, kinds without a record left out; and whether `rows` were made,
            so that there may be more before `until`.
        """
        made = self._wholes[0]
        out = np.empty(len(COLUMNS) * rows, np.int64)
        count = generate(self._key, self._params, self._wholes, self._reals, until, out)
        values = out.reshape(len(COLUMNS), rows)[:, :count]
        raw = dict(zip(COLUMNS, values, strict=True))
        raw["sequence"] = np.arange(made + 1, made + 1 + count)
        makers = {"quotes": self._quotes, "trades": self._trades_of, "depth": self._depth}
        records = {kind: makers[kind](raw) for kind in self._config.kinds if count}
        return {k: v for k, v in records.items() if len(v["event_time"])}, count == rows

    def _quotes(self, raw: Columns) -> Columns:
        return self._stamped(QUOTES.name, raw["event"], raw["sequence"]) | {
            "bid_price": _decimal(raw["bid"], self._config.tick_size),
            "bid_quantity": _decimal(raw["bid_lots"], self._config.lot_size),
            "ask_price": _decimal(raw["ask"], self._config.tick_size),
            "ask_quantity": _decimal(raw["ask_lots"], self._config.lot_size),
        }

    def _trades_of(self, raw: Columns) -> Columns:
        took = np.flatnonzero(raw["aggressor"])
        sequence = np.arange(self._trades + 1, self._trades + 1 + len(took))
        self._trades += len(took)
        return self._stamped(TRADES.name, raw["event"][took], sequence) | {
            "price": _decimal(raw["price"][took], self._config.tick_size),
            "quantity": _decimal(raw["lots"][took], self._config.lot_size),
            "aggressor": raw["aggressor"][took],
        }

    def _depth(self, raw: Columns) -> Columns:
        """Return what changes at the best prices: levels that they leave go, the new ones come."""
        bid, ask = raw["bid"], raw["ask"]
        snapshot = self._best == (0, 0)
        old_bid = np.concatenate([[bid[0] if snapshot else self._best[0]], bid[:-1]])
        old_ask = np.concatenate([[ask[0] if snapshot else self._best[1]], ask[:-1]])
        self._best = (int(bid[-1]), int(ask[-1]))
        pieces: list[_Levels] = [
            (np.arange(len(bid)), 1, bid, raw["bid_lots"]),
            (np.arange(len(ask)), -1, ask, raw["ask_lots"]),
        ]
        for sign, first, last in ((1, bid + 1, old_bid), (-1, old_ask, ask - 1)):
            gone, levels = _spans(first, last)
            pieces.append((gone, sign, levels, np.zeros_like(levels)))
        if snapshot:
            pieces += self._outer_levels(int(bid[0]), int(ask[0]))
        row = np.concatenate([piece[0] for piece in pieces])
        side = np.concatenate([np.full(len(piece[0]), piece[1]) for piece in pieces])
        ticks = np.concatenate([piece[2] for piece in pieces])
        lots = np.concatenate([piece[3] for piece in pieces])
        order = np.lexsort((ticks, -side, row))
        row = row[order]
        stamps = self._stamped(DEPTH.name, raw["event"], raw["sequence"])
        return {name: values[row] for name, values in stamps.items()} | {
            "side": side[order],
            "price": _decimal(ticks[order], self._config.tick_size),
            "quantity": _decimal(lots[order], self._config.lot_size),
            "is_snapshot": ((row == 0) & snapshot).astype(np.int64),
        }

    def _outer_levels(self, bid: int, ask: int) -> list[_Levels]:
        """Return the levels behind the best of the first quote, which is a snapshot."""
        away = np.arange(1, _LEVELS)
        scale = float(self._config.quantity / self._config.lot_size)
        sizes = 1 + (scale * (1.0 + away / 4.0)).astype(np.int64)
        none = np.zeros(len(away), np.int64)
        return [(none, 1, bid - away, sizes), (none, -1, ask + away, sizes)]

    def _stamped(self, kind: str, event: Array, sequence: Array) -> Columns:
        drawn = self._feeds[kind].draw_many(event, KINDS[kind].number, sequence)
        receipt = np.maximum.accumulate(event + drawn)
        # one connection a stream: nothing overtakes what was sent before it
        receipt = np.maximum(receipt, self._received[kind])
        if len(receipt):
            self._received[kind] = int(receipt[-1])
        return {"event_time": event.copy(), "receipt_time": receipt, "sequence": sequence}


def _spans(first: Array, last: Array) -> tuple[Array, Array]:
    """Return row numbers and all integers from `first` to `last` (inclusive) of each row."""
    lengths = np.maximum(last - first + 1, 0)
    row = np.repeat(np.arange(len(first)), lengths)
    begins = np.cumsum(lengths) - lengths
    return row, first[row] + np.arange(len(row)) - begins[row]


def _decimal(count: Array, unit: Decimal) -> Array:
    """Return `count * unit` as the double nearest to the decimal number."""
    _, digits, exponent = unit.as_tuple()
    mantissa = int("".join(map(str, digits)))
    power = int(exponent)
    # integers below 2**53 and powers of ten up to 22 are exact doubles, so this rounds once
    if power >= 0:
        return (count * (mantissa * 10**power)).astype(np.float64)
    return (count * mantissa) / float(10**-power)
