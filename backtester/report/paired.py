"""Whether a paper run and a backtest of the same market trade alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from backtester.errors import ScenarioError

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["check_range", "matched_orders", "paired"]

_BEHIND = ["instrument", "side", "emitted_at"]


def paired(paper: RunResult, backtest: RunResult) -> dict[str, Any]:
    """Return how far two runs over the same market agree, as plain values.

    `orders`: how many match one to one by instrument, side and the feature row behind the newest
    prediction at the decision; `share` is of those that either run sent. `held`: at how many of
    the instants at which either run asked about a row both held a prediction from the same row,
    strictly before that instant. `profit`: of each, and the paper run's less the backtest's.
    `latency_ms`: of the answers of each, from asking until they were visible.

    Raises:
        ScenarioError: If the runs do not cover the same range.
    """
    check_range(paper.summary["start"], paper.summary["until"], backtest)
    found = matched_orders(paper, backtest)
    sent = len(paper.orders), len(backtest.orders)
    matched = int(found.select(pl.min_horizontal("paper", "backtest").sum()).item() or 0)
    either = sent[0] + sent[1] - matched
    profits = paper.summary["profit"], backtest.summary["profit"]
    return {
        "orders": {
            "paper": sent[0],
            "backtest": sent[1],
            "matched": matched,
            "share": round(matched / either, 6) if either else None,
        },
        "held": _held_alike(paper, backtest),
        "profit": {
            "paper": profits[0],
            "backtest": profits[1],
            "difference": round(profits[0] - profits[1], 6),
        },
        "latency_ms": {
            name: run.summary["latency_ms"]
            for name, run in (("paper", paper), ("backtest", backtest))
        },
    }


def check_range(start: str, until: str, backtest: RunResult) -> None:
    """Refuse a backtest of another range than the paper run's.

    Raises:
        ScenarioError: Then.
    """
    for name, wanted in (("start", start), ("until", until)):
        if backtest.summary[name] != wanted:
            raise ScenarioError(
                f"two runs to compare must cover the same range: got `{name}` {wanted} and "
                f"{backtest.summary[name]}. Run the backtest with --set data.{name}={wanted}."
            )


def matched_orders(paper: RunResult, backtest: RunResult) -> pl.DataFrame:
    """Return how many orders each run sent, by instrument, side and feature row behind them."""
    counts = [
        _with_row(run).group_by(_BEHIND).agg(pl.len().alias(name))
        for name, run in (("paper", paper), ("backtest", backtest))
    ]
    both = counts[0].join(counts[1], on=_BEHIND, how="full", coalesce=True, nulls_equal=True)
    return both.with_columns(pl.col("paper", "backtest").fill_null(0)).sort(_BEHIND)


def _with_row(run: RunResult) -> pl.DataFrame:
    orders = run.orders.sort("decided_at")
    news = _news(run).select("instrument", "visible_at", "emitted_at")
    return orders.join_asof(
        news,
        left_on="decided_at",
        right_on="visible_at",
        by="instrument",
        strategy="backward",
        check_sortedness=False,  # both are sorted by time; polars cannot see that of groups
    )


def _news(run: RunResult) -> pl.DataFrame:
    """Return the predictions that were handed over, in the order of time."""
    mine = (pl.col("outcome") == "completed") & ~pl.col("superseded")
    return run.predictions.filter(mine).sort("visible_at", "number")


def _held_alike(paper: RunResult, backtest: RunResult) -> dict[str, Any]:
    runs = (paper, backtest)
    asked = pl.concat(
        run.predictions.filter(~pl.col("own")).select("loop", "instrument", at="submitted_at")
        for run in runs
    )
    asked = asked.unique().sort("at")
    held = [_held_at(asked, run) for run in runs]
    same = int((held[0] == held[1]).sum())  # a comparison with nothing is nothing
    either = int((held[0].is_not_null() | held[1].is_not_null()).sum())
    return {"rows": either, "same": same, "share": round(same / either, 6) if either else None}


def _held_at(asked: pl.DataFrame, run: RunResult) -> pl.Series:
    news = _news(run).select("loop", "instrument", "emitted_at", at="visible_at")
    joined = asked.join_asof(
        news,
        on="at",
        by=["loop", "instrument"],
        strategy="backward",
        allow_exact_matches=False,  # a row comes before the predictions of its instant
        check_sortedness=False,
    )
    return joined["emitted_at"]
