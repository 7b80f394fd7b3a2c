"""The words of the market that every package shares: instruments, kinds of records, windows.

Market columns are one-dimensional, C-contiguous, **read-only** arrays of `int64` or `float64`;
instants are `int64` nanoseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from clock.units import Instant

__all__ = [
    "BARS",
    "DEPTH",
    "FIRST_USER_KIND",
    "KINDS",
    "QUOTES",
    "STAMPS",
    "TRADES",
    "Array",
    "ColumnType",
    "Fees",
    "Instrument",
    "Kind",
    "Records",
    "StreamKey",
    "StreamRequest",
    "Window",
]

Array: TypeAlias = NDArray[Any]
StreamKey: TypeAlias = tuple[str, str]
"""A stream of records: (instrument id, name of the kind)."""

ColumnType: TypeAlias = Literal["instant", "int64", "float64"]
"""`instant` is `timestamp[ns, UTC]` in Parquet and `int64` nanoseconds in memory."""

STAMPS: Final = ("event_time", "receipt_time", "sequence")
"""The columns of every kind, in this order, before its own."""

FIRST_USER_KIND: Final = 100


def _exact(value: object) -> object:
    # YAML reads 0.1 as a float; its shortest text is what the user wrote
    return str(value) if isinstance(value, float) else value


ExactDecimal = Annotated[Decimal, BeforeValidator(_exact)]
PositiveDecimal = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0, allow_inf_nan=False)]


class Fees(BaseModel):
    """What the venue charges, as a share of the notional; a rebate is negative."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    maker: ExactDecimal = Field(allow_inf_nan=False)
    taker: ExactDecimal = Field(allow_inf_nan=False)


class Instrument(BaseModel):
    """Something traded, as its venue defines it from `valid_from` on.

    Fees are explicit: an instrument without them is refused, as a run without costs is a
    different run.

    Example:
        >>> Instrument(id="SIM.ALPHA", tick_size=0.01, lot_size="0.001", contract="linear",
        ...            base="ALPHA", quote="USD", fees={"maker": 0, "taker": 0.0005}).tick_size
        Decimal('0.01')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    tick_size: PositiveDecimal
    lot_size: PositiveDecimal
    contract: Literal["spot", "linear", "inverse"]
    contract_size: PositiveDecimal = Decimal(1)
    base: str = Field(min_length=1)
    quote: str = Field(min_length=1)
    fees: Fees
    valid_from: Instant = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of market record: its name, its place among kinds of one instant, its own columns.

    Attributes:
        name: As in the catalog's folders and in scenarios.
        number: Order among records that reach us at one instant; a user's kinds count from 100.
        columns: Own columns, after the stamps; name to type.
    """

    name: str
    number: int
    columns: Mapping[str, ColumnType]

    @property
    def all_columns(self) -> dict[str, ColumnType]:
        """The stamps and the own columns, in the order of the catalog's files."""
        stamps: dict[str, ColumnType] = {
            "event_time": "instant",
            "receipt_time": "instant",
            "sequence": "int64",
        }
        return stamps | dict(self.columns)

    def dtype(self, column: str) -> np.dtype[Any]:
        """Return the type of a column in memory: `int64` (instants too) or `float64`."""
        return np.dtype(np.float64 if self.all_columns[column] == "float64" else np.int64)


QUOTES: Final = Kind(
    "quotes",
    0,
    {
        "bid_price": "float64",
        "bid_quantity": "float64",
        "ask_price": "float64",
        "ask_quantity": "float64",
    },
)
TRADES: Final = Kind("trades", 1, {"price": "float64", "quantity": "float64", "aggressor": "int64"})
"""`aggressor`: +1 where the buyer took, -1 where the seller did."""
DEPTH: Final = Kind(
    "depth",
    2,
    {"side": "int64", "price": "float64", "quantity": "float64", "is_snapshot": "int64"},
)
"""`side`: +1 bid, -1 ask; `quantity`: the new total at the level, 0 removes it; flag 0 or 1."""
BARS: Final = Kind(
    "bars",
    3,
    {
        "open_time": "instant",
        "open": "float64",
        "high": "float64",
        "low": "float64",
        "close": "float64",
        "volume": "float64",
    },
)
"""`event_time` is the *close*: a bar is not known before."""

KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in (QUOTES, TRADES, DEPTH, BARS)}
"""The kinds that every catalog knows."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one stream, as read-only columns of one length.

    Attributes:
        instrument: Id of the instrument.
        kind: Name of the kind.
        columns: The stamps and the columns asked for. Each: shape (n,), `int64` or `float64`.

    Example:
        >>> Records.empty("SIM.ALPHA", QUOTES, ["bid_price"]).columns.keys()
        dict_keys(['event_time', 'receipt_time', 'sequence', 'bid_price'])
    """

    instrument: str
    kind: str
    columns: dict[str, Array]

    def __len__(self) -> int:
        return len(self.columns["event_time"])

    @property
    def key(self) -> StreamKey:
        """The stream that the records belong to."""
        return (self.instrument, self.kind)

    @property
    def event_time(self) -> Array:
        """When each record happened at its source. Shape (n,), ns."""
        return self.columns["event_time"]

    @property
    def receipt_time(self) -> Array:
        """When each record reached us, never before its `event_time`. Shape (n,), ns."""
        return self.columns["receipt_time"]

    @property
    def sequence(self) -> Array:
        """The venue's update ids, which order records of one instant. Shape (n,)."""
        return self.columns["sequence"]

    def slice(self, start: int, stop: int) -> Records:
        """Return the rows [start, stop), as views: nothing is copied."""
        columns = {name: values[start:stop] for name, values in self.columns.items()}
        return Records(self.instrument, self.kind, columns)

    @classmethod
    def empty(cls, instrument: str, kind: Kind, columns: Sequence[str] | None = None) -> Records:
        """Return no records, with the stamps and the given columns (default: all of the kind)."""
        names = kind.columns if columns is None else [c for c in columns if c not in STAMPS]
        arrays = {name: np.empty(0, kind.dtype(name)) for name in (*STAMPS, *names)}
        for array in arrays.values():
            array.flags.writeable = False
        return cls(instrument, kind.name, arrays)


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A stream that a reader wants, and which of its own columns (the stamps always come).

    Attributes:
        instrument: Id of the instrument.
        kind: Name of the kind.
        columns: Own columns wanted, in any order; none asked for means the stamps alone.
    """

    instrument: str
    kind: str
    columns: tuple[str, ...] = ()

    @property
    def key(self) -> StreamKey:
        """The stream that is asked for."""
        return (self.instrument, self.kind)


class Window(NamedTuple):
    """The records of [start, until), seen twice.

    Attributes:
        start: First instant of the window.
        until: First instant after it.
        venue: What happened: rows whose `event_time` lies in the window, sorted by
            (`event_time`, `sequence`).
        ours: What reached us: rows whose `receipt_time` lies in the window, sorted by
            (`receipt_time`, `sequence`), late ones included.
    """

    start: int
    until: int
    venue: dict[StreamKey, Records]
    ours: dict[StreamKey, Records]
