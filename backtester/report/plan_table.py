"""A plan of a deployment as a table for people and as JSON for machines."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from rich.table import Table

from inference.serving.goals import Plan, Trial

__all__ = ["Costs", "plan_json", "plan_table"]


class Costs(NamedTuple):
    """What a replica costs.

    Attributes:
        memory: Bytes of a replica, its model included; None where that is not known.
        price: Of a replica for an hour; None where that is not known.
        traffic: Bytes of features a second, at eight a number; None where they are not known.
    """

    memory: float | None
    price: float | None
    traffic: float | None


def plan_table(plan: Plan, costs: Costs) -> Table:
    """Return one line a way of batching, the best one first."""
    title = f"{plan.load.rate:g} requests a second, {plan.goal}: {_verdict(plan)}"
    table = Table(title=title, title_justify="left", box=None, header_style="dim")
    table.add_column("batching")
    columns = ["replicas", "p50 ms", "p95 ms", "p99 ms", "answered", "answers/s", "busy", "batch"]
    columns.append("memory MB")
    columns.append("replica hours / 1M" if costs.price is None else "cost / 1M answers")
    for name in columns:
        table.add_column(name, justify="right")
    ranked = sorted(plan.choices, key=lambda t: (not t.meets, t.replicas, t.goal_ms))
    for trial in ranked:
        style = "bold" if trial is plan.best else "" if trial.meets else "dim"
        table.add_row(*_cells(trial, costs), style=style)
    return table


def _verdict(plan: Plan) -> str:
    best = plan.best
    if best is None:
        most = max(trial.replicas for trial in plan.trials)
        return f"no way of batching meets it with up to {most} replicas"
    word = "replica" if best.replicas == 1 else "replicas"
    return f"{best.replicas} {word}, batching {best.option}"


def _cells(trial: Trial, costs: Costs) -> list[str]:
    memory, cost = _memory(trial, costs), _cost(trial, costs)
    count = f"{trial.replicas}" if trial.meets else f"> {trial.replicas}"
    return [
        str(trial.option),
        count,
        *(_ms(trial.latency_ms[name]) for name in ("p50", "p95", "p99")),
        f"{trial.answered:.1%}",
        f"{trial.throughput:,.0f}",
        f"{trial.utilisation:.0%}",
        f"{trial.batch_size:.3g}",
        "–" if memory is None else f"{memory / 1e6:,.3g}",
        "–" if cost is None else f"{cost:.3g}",
    ]


def _ms(value: float) -> str:
    if not math.isfinite(value):
        return "never"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _memory(trial: Trial, costs: Costs) -> float | None:
    return None if costs.memory is None else costs.memory * trial.replicas


def _cost(trial: Trial, costs: Costs) -> float | None:
    """Return the cost of a million answers, in replica hours where there is no price."""
    if not trial.throughput:
        return None
    hours = trial.replicas * 1e6 / trial.throughput / 3600
    return hours * (1.0 if costs.price is None else costs.price)


def plan_json(plan: Plan, costs: Costs) -> dict[str, Any]:
    """Return a plan as plain values."""
    return {
        "rate": plan.load.rate,
        "requests": plan.load.requests,
        "goal": str(plan.goal),
        "met": plan.best is not None,
        "best": None if plan.best is None else _json(plan.best, costs),
        "choices": [_json(trial, costs) for trial in plan.choices],
        "trials": [_json(trial, costs) for trial in plan.trials],
        "feature_bytes_a_second": costs.traffic,
        "remarks": plan.remarks,
    }


def _json(trial: Trial, costs: Costs) -> dict[str, Any]:
    memory, cost = _memory(trial, costs), _cost(trial, costs)
    return {
        "batching": trial.option.batching,
        "replicas": trial.replicas,
        "meets": trial.meets,
        "latency_ms": {name: _finite(value) for name, value in trial.latency_ms.items()},
        "answered": round(trial.answered, 6),
        "throughput": round(trial.throughput, 3),
        "utilisation": round(trial.utilisation, 6),
        "batch_size": round(trial.batch_size, 3),
        "memory_bytes": memory,
        "replica_hours_per_million": _finite(_cost(trial, costs._replace(price=None))),
        "cost_per_million": None if costs.price is None else _finite(cost),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
