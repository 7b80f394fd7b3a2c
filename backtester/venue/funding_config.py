"""How a scenario says where the funding of perpetuals is told."""

from __future__ import annotations

from pydantic import Field

from backtester.strict import Strict

__all__ = ["FundingConfig"]


class FundingConfig(Strict):
    """Where the funding of perpetuals is told: a kind of the user's own in the catalog."""

    kind: str = Field(min_length=1, description="Name of the kind, as in `kinds.yaml`.")
    rate: str = Field(default="rate", description="Its column with the share of the notional.")
    due_time: str | None = Field(
        default=None,
        description="Its column with the instant of the payment; by default its `event_time`.",
    )
    mark_price: str | None = Field(
        default=None, description="Its column with the price; by default the venue's mid then."
    )
