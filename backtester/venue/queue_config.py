"""Queue models as a scenario names them: who leaves a level, those ahead of us or those behind.

Formulas and their source: docs/venue.md, section 5.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from backtester.strict import Strict

__all__ = ["Back", "Front", "Logarithm", "Power", "QueueModel", "queue_numbers"]

BACK, FRONT, POWER, LOGARITHM = range(4)


class Back(Strict):
    """Everyone who leaves was behind us, as far as there were such: only trades move us up."""

    kind: Literal["back"] = "back"


class Front(Strict):
    """Everyone who leaves was in front of us."""

    kind: Literal["front"] = "front"


class Power(Strict):
    """The share that left behind us goes by powers of the quantities behind and in front."""

    kind: Literal["power"] = "power"
    exponent: float = Field(default=3.0, gt=0, le=64)


class Logarithm(Strict):
    """The share that left behind us goes by log(1 + quantity) behind and in front."""

    kind: Literal["log"] = "log"


_CODES: dict[type[Strict], int] = {Back: BACK, Front: FRONT, Power: POWER, Logarithm: LOGARITHM}


def _named(value: Any) -> Any:
    # `queue_model: log` stands for `{kind: log}`
    return {"kind": value} if isinstance(value, str) else value


_AnyModel = Annotated[Back | Front | Power | Logarithm, Field(discriminator="kind")]
QueueModel: TypeAlias = Annotated[
    _AnyModel,
    BeforeValidator(
        _named, json_schema_input_type=Literal["back", "front", "power", "log"] | _AnyModel
    ),
]
"""Any queue model, by its name alone or with its parameters."""


def queue_numbers(model: Back | Front | Power | Logarithm) -> NDArray[np.float64]:
    """Return a model as the kernels take it: code and exponent. Shape (2,)."""
    exponent = model.exponent if isinstance(model, Power) else 0.0
    return np.array([float(_CODES[type(model)]), exponent])
