"""What a strategy is handed: small immutable tuples."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

__all__ = ["FeatureRow", "Prediction", "record_class", "records_of"]


class FeatureRow(NamedTuple):
    """The features visible at an instant, in the scenario's order.

    Attributes:
        emitted_at: Instant whose state the row describes, ns.
        visible_at: First instant at which it could be read, ns.
        event_time: Newest event behind it, ns; `now - event_time` is its staleness.
        instrument: Instrument it is about.
        values: One value a feature, NaN while warming up.
        names: Names of the features.
    """

    emitted_at: int
    visible_at: int
    event_time: int
    instrument: str
    values: tuple[float, ...]
    names: tuple[str, ...]

    def value(self, name: str) -> float:
        """Return the value of a feature by its name.

        Raises:
            LookupError: If the scenario has no feature of that name.
        """
        try:
            return self.values[self.names.index(name)]
        except ValueError:
            known = ", ".join(self.names)
            raise LookupError(f"`{name}` must be a feature of the scenario: {known}.") from None


class Prediction(NamedTuple):
    """An answer of a model, from the instant it arrived.

    Attributes:
        value: What the model predicted.
        instrument: Instrument its row is about.
        loop: Name of the inference loop that asked.
        number: Number of the request in its loop.
        emitted_at: Emission instant of the row behind it, ns.
        event_time: Newest event behind that row, ns.
        submitted_at: When it was asked for, ns.
        visible_at: When the answer arrived, ns.
    """

    value: float
    instrument: str
    loop: str
    number: int
    emitted_at: int
    event_time: int
    submitted_at: int
    visible_at: int


def record_class(kind: str, instrument: str, fields: Sequence[str]) -> type[Any]:
    """Return a tuple class for the records of one stream, with its `instrument` and `kind`.

    Args:
        kind: Kind of record, which names the class.
        instrument: Id of the instrument.
        fields: Names of the columns handed over, in order.
    """
    base: type[Any] = namedtuple(kind.removesuffix("s").title(), fields)  # type: ignore[misc]
    return type(base.__name__, (base,), {"__slots__": (), "instrument": instrument, "kind": kind})


def records_of(cls: type[Any], columns: Sequence[np.ndarray]) -> Iterator[Any]:
    """Yield one record a row, made of plain Python numbers.

    `tuple.__new__` over zipped lists is the cheapest way there is to a named record: about a
    third of the cost of calling the class.
    """
    return map(partial(tuple.__new__, cls), zip(*(c.tolist() for c in columns), strict=True))
