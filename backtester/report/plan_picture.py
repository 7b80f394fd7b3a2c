"""A plan as a picture: latency against replicas, and against load, beside the goal."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from backtester.report.plan_table import Costs
from backtester.report.style import BLUE, GREY, INK, ORANGE, RED, TEAL, look, titled
from inference.config import InferenceConfig
from inference.serving.goals import Plan, Trial
from inference.serving.plan import try_out

__all__ = ["draw_plan"]

_COLORS = {"none": BLUE, "triton": TEAL, "ray": ORANGE}
_POINTS = 8
"""Loads of the right panel, from a fifth of the one asked for to nearly all that can be served."""


def draw_plan(plan: Plan, config: InferenceConfig, costs: Costs, path: Path) -> None:
    """Draw a plan as a PNG.

    Args:
        plan: What was found.
        config: The deployment, simulated again under more and less load.
        costs: Of a replica.
        path: File to write; written under another name first, then renamed.
    """
    with look():
        figure = Figure(figsize=(10, 4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        _draw_replicas(left, plan, config, costs)
        _draw_load(right, plan, config)
        temporary = path.with_name(f".{path.name}.new")
        figure.savefig(temporary, dpi=110, format="png", facecolor="white")
        os.replace(temporary, path)


def _best_of(plan: Plan, kind: str) -> Trial | None:
    own = [trial for trial in plan.choices if str(trial.option).partition(" ")[0] == kind]
    return min(own, key=lambda t: (not t.meets, t.replicas, t.goal_ms)) if own else None


def _draw_replicas(axes: Axes, plan: Plan, config: InferenceConfig, costs: Costs) -> None:
    goal = plan.goal
    titled(axes, f"{goal.name} by replicas", f"{plan.load.rate:g} requests a second, Poisson")
    bests = {kind: _best_of(plan, kind) for kind in _COLORS}
    counts = [trial.replicas for trial in bests.values() if trial is not None and trial.meets]
    last = min(max(counts, default=plan.trials[-1].replicas) + 2, 24)
    for kind, best in bests.items():
        if best is None:
            continue
        tried = {t.replicas: t for t in plan.trials if t.option == best.option}
        xs, ys = [], []
        for count in range(1, last + 1):
            trial = tried.get(count) or try_out(config, best.option, count, plan.load, goal)
            if np.isfinite(trial.goal_ms):
                xs.append(count)
                ys.append(trial.goal_ms)
        label = "no batching" if kind == "none" else str(best.option)
        axes.plot(xs, ys, color=_COLORS[kind], marker="o", ms=3.5, lw=1.3, label=label)
    if plan.best is not None:
        place = (plan.best.replicas, plan.best.goal_ms)
        axes.plot(*place, marker="o", ms=10, mfc="none", mec=INK, mew=1.2, ls="", label="chosen")
    _draw_goal(axes, plan)
    each = "" if costs.memory is None else f", {costs.memory / 1e6:.3g} MB each"
    axes.set_xlabel(f"replicas{each}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")


def _draw_load(axes: Axes, plan: Plan, config: InferenceConfig) -> None:
    best = plan.best or plan.choices[0]
    word = "replica" if best.replicas == 1 else "replicas"
    titled(axes, "Latency by load", f"{best.replicas} {word}, batching {best.option}")
    most = 0.95 / best.utilisation if best.utilisation > 0 else 1.0
    rates = plan.load.rate * np.linspace(0.2, max(most, 0.5), _POINTS)
    trials = [
        try_out(config, best.option, best.replicas, replace(plan.load, rate=float(rate)), plan.goal)
        for rate in rates
    ]
    for name, color in (("p50", INK), ("p95", BLUE), ("p99", RED)):
        points = [(t.throughput, t.latency_ms[name]) for t in trials]
        known = [(x, y) for x, y in points if np.isfinite(y)]
        if known:
            axes.plot(
                *zip(*known, strict=True), color=color, marker="o", ms=3.5, lw=1.3, label=name
            )
    _draw_goal(axes, plan)
    axes.axvline(plan.load.rate, color=GREY, lw=0.9, ls=":")
    axes.set_xlabel("answers a second")
    axes.legend(loc="center left")


def _draw_goal(axes: Axes, plan: Plan) -> None:
    bound = plan.goal.bound_ns / 1e6
    axes.axhline(bound, color=GREY, lw=0.9, ls="--")
    axes.annotate(
        str(plan.goal),
        (1, bound),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=GREY,
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, bound / 1.5), max(high, bound * 1.5))
    axes.set_ylabel("ms from asked to visible")
