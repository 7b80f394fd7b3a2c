"""Drawn ways between a strategy and the venue: latencies, books, queues, fees, margin, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from hypothesis import strategies as st

from backtester.causality.strategies.deployments import Block, optional
from backtester.causality.strategies.polling import LATENCIES
from backtester.causality.strategies.stamps import START, STEP
from clock.units import format_instant

__all__ = ["contracts", "executions", "portfolios"]

_PERPETUAL_FEES = ("0.0002", "-0.0001", "0")


@st.composite
def contracts(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draw an instrument, spot, linear or inverse, as `instruments.yaml` has it."""
    contract = draw(st.sampled_from(["linear", "linear", "spot", "inverse"]))
    return {
        "id": name,
        "contract": contract,
        "tick_size": "0.5",
        "lot_size": "0.5",
        "contract_size": {"inverse": "10", "linear": draw(st.sampled_from(["1", "1", "0.1"]))}.get(
            contract, "1"
        ),
        "base": name.split(".")[-1],
        "quote": "USD",
        "fees": {"maker": draw(st.sampled_from(_PERPETUAL_FEES)), "taker": "0.0005"},
        "valid_from": "2020-01-01T00:00:00Z",
    }


def _share(maker: str, taker: str) -> Block:
    return {"kind": "share", "maker": maker, "taker": taker}


FEES: st.SearchStrategy[Any] = st.sampled_from(
    [
        _share("-0.0001", "0.0007"),
        {"kind": "per_quantity", "maker": "0.001", "taker": "0.003"},
        {"kind": "flat", "maker": "0", "taker": "0.25"},
        {
            "kind": "tiered",
            "window": "100ms",
            "tiers": [
                {"volume": 0, "maker": "0.001", "taker": "0.002"},
                {"volume": 500, "maker": "0", "taker": "0.0004"},
            ],
        },
        {
            "kind": "sum",
            "terms": [_share("0", "0.0004"), {"kind": "flat", "maker": 0, "taker": "0.1"}],
        },
    ]
)
QUEUE_MODELS: st.SearchStrategy[Any] = st.sampled_from(
    ["back", "front", "log", {"kind": "power", "exponent": 2.0}, {"kind": "power", "exponent": 0.5}]
)


def _overloads(quoted: bool) -> st.SearchStrategy[Block]:
    refuses = st.sampled_from([0.5, 1.0])
    outage = {
        "start": format_instant(START + 10 * STEP),
        "until": format_instant(START + 25 * STEP),
    }
    declared = refuses.map(lambda r: {"kind": "declared", "during": [outage], "refuses": r})
    if not quoted:
        return declared
    active = refuses.map(lambda r: {"kind": "activity", "quotes": 2, "per": "15ms", "refuses": r})
    return declared | active


RISKS = optional(
    max_position=st.sampled_from([4, 10]),
    max_order_quantity=st.sampled_from([2, 4, 6]),
    max_order_notional=st.sampled_from([150, 400]),
    rate=st.just({"orders": 3, "per": "20ms"}),
    max_loss=st.sampled_from(["0.5", "20"]),
).filter(bool)
MARGINS = optional(
    maintenance=st.sampled_from(["0.01", "0.02"]), liquidation_fee=st.sampled_from(["0", "0.01"])
)


@st.composite
def executions(
    draw: st.DrawFn,
    kinds: Mapping[str, Set[str]],
    *,
    latencies: st.SearchStrategy[Any] = LATENCIES,
    decides: bool = True,
) -> Block:
    """Draw the `execution` of a scenario.

    Args:
        draw: Hypothesis.
        kinds: Kinds of records that each instrument has.
        latencies: Of messages and of decisions.
        decides: Whether a decision may take time: not with requests of the strategy's own.
    """
    books = [
        book for book in ("quotes", "depth", "bars") if all(book in held for held in kinds.values())
    ]
    quoted = all("quotes" in held for held in kinds.values())
    funded = any("funding" in held for held in kinds.values())
    of_actions = optional(
        new=latencies, cancel=latencies, modify=latencies, acknowledgement=latencies, fill=latencies
    )
    # what keeps orders out is rarer, or nothing would ever be filled
    keeps_out = {
        "rate_limit": st.just({"orders": 4, "per": "25ms"}),
        "overload": _overloads(quoted),
        "risk": RISKS,
    }
    refusing = draw(st.sampled_from([None, None, None, *keeps_out, "all"]))
    chosen = keeps_out if refusing == "all" else {refusing} & keeps_out.keys()
    return {
        "entry_latency": draw(latencies),
        "response_latency": draw(latencies),
        **{name: draw(drawn) for name, drawn in keeps_out.items() if name in chosen},
        **draw(
            optional(
                latency=of_actions,
                **({"decision_latency": latencies} if decides else {}),
                book=st.sampled_from([None, *books]),
                queue_model=QUEUE_MODELS,
                self_trade=st.sampled_from(["cancel_resting", "cancel_incoming", "cancel_both"]),
                fees=FEES,
                margin=MARGINS,
                **({"funding": st.just({"kind": "funding"})} if funded else {}),
            )
        ),
    }


@st.composite
def portfolios(draw: st.DrawFn, terms: Sequence[Mapping[str, Any]]) -> Block:
    """Draw opening balances, some of them so small that orders are refused and positions closed."""
    balances: dict[str, Any] = {"USD": draw(st.sampled_from([100000, 100000, 100000, 400, 40]))}
    for one in terms:
        if one["contract"] == "inverse" or (one["contract"] == "spot" and draw(st.booleans())):
            balances[one["base"]] = draw(st.sampled_from([1000, 2, "0.05"]))
    return {
        "quote": "USD",
        "balances": balances,
        "leverage": draw(st.sampled_from([1, 1, 10, 40])),
    }
