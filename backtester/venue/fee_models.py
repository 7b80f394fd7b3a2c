"""Fee models as a scenario writes them."""

from __future__ import annotations

from decimal import Decimal
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from clock.units import Duration
from featurizer.market import ExactDecimal

__all__ = [
    "DEFAULT",
    "FeeModel",
    "FeeModels",
    "Flat",
    "PerQuantity",
    "Share",
    "SumOfFees",
    "Tier",
    "Tiered",
]

DEFAULT = "default"
"""The key of what holds for every instrument that is not named."""

Amount = Annotated[ExactDecimal, Field(allow_inf_nan=False)]
NotNegative = Annotated[ExactDecimal, Field(ge=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Model):
    """A share of the notional; a rebate is negative."""

    kind: Literal["share"] = "share"
    maker: Amount
    taker: Amount


class PerQuantity(_Model):
    """An amount for each unit of quantity (base unit, or contract), in the fee's currency."""

    kind: Literal["per_quantity"] = "per_quantity"
    maker: Amount
    taker: Amount


class Flat(_Model):
    """An amount for each order, charged with its first fill, in the fee's currency."""

    kind: Literal["flat"] = "flat"
    maker: Amount
    taker: Amount


class Tier(_Model):
    """Shares of the notional from a traded volume on."""

    volume: NotNegative
    maker: Amount
    taker: Amount


class Tiered(_Model):
    """Shares of the notional that depend on the volume traded in the window before the fill.

    Volume is notional in the quote currency, of all instruments that share this model and that
    currency. `opening_volume` is counted as traded just before the start, and never leaves the
    window.
    """

    kind: Literal["tiered"] = "tiered"
    tiers: tuple[Tier, ...] = Field(min_length=1)
    window: Duration = 30 * 86_400 * 1_000_000_000
    opening_volume: NotNegative = Decimal(0)

    @model_validator(mode="after")
    def _ascending(self) -> Tiered:
        if self.window == 0:
            raise ValueError("`window` must be above zero: got 0s")
        volumes = [tier.volume for tier in self.tiers]
        if volumes[0] != 0 or any(b <= a for a, b in pairwise(volumes)):
            raise ValueError(
                "`tiers` must begin with `volume: 0` and ascend: got "
                f"{', '.join(map(str, volumes))}"
            )
        return self


class SumOfFees(_Model):
    """Several fees at once."""

    kind: Literal["sum"] = "sum"
    terms: Annotated[tuple[FeeModel, ...], Field(min_length=1)]


_KINDS = ("share", "per_quantity", "flat", "tiered", "sum")


def _read(value: Any) -> Any:
    """Refuse an unknown kind by naming the known ones."""
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value.get("kind") in _KINDS):
        return value
    if not isinstance(value, dict):
        raise ValueError(
            f"fees are a mapping with a `kind` ({', '.join(_KINDS)}): got {value!r}. "
            "Write {kind: share, maker: 0.0002, taker: 0.0005}"
        )
    got = value.get("kind")
    near = get_close_matches(str(got), _KINDS, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise ValueError(f"`kind` of fees must be one of {', '.join(_KINDS)}: got {got!r}.{hint}")


_AnyModel = Annotated[Share | PerQuantity | Flat | Tiered | SumOfFees, Field(discriminator="kind")]
FeeModel = Annotated[_AnyModel, BeforeValidator(_read, json_schema_input_type=_AnyModel)]
"""Any fee model, as a field of a pydantic model."""

SumOfFees.model_rebuild()


def _as_map(value: Any) -> Any:
    return {DEFAULT: value} if isinstance(value, dict) and "kind" in value else value


FeeModels = Annotated[
    dict[str, FeeModel],
    BeforeValidator(_as_map, json_schema_input_type=FeeModel | dict[str, FeeModel]),
]
"""One fee model for all, or one for each instrument named, and `default` for the others."""
