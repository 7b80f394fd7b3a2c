"""The pictures of docs/serving.md, each made from runs of a scenario.

    python benchmarks/serving_pictures.py [NAME ...]

Runs scenarios/serving-*.yaml, with settings changed where a picture compares; trains their model
first where it is missing. Writes docs/serving/NAME.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from backtester.report.style import BLUE, GREY, INK, ORANGE, RED, TEAL, look, titled
from backtester.result import RunResult
from backtester.run import run_scenario
from backtester.scenario import load_scenario
from backtester.train import train_scenario
from inference.errors import ModelNotFoundError
from inference.serving.explain import LEGS, mean_number

SECOND = 1_000_000_000
HOME = Path(__file__).resolve().parent.parent
LEG_COLORS = ("#b9c4cf", ORANGE, "#9fb8d6", RED, BLUE, "#74b9a8", INK, "#9fb8d6")


@cache
def run(name: str, *settings: str) -> RunResult:
    path = HOME / "scenarios" / f"serving-{name}.yaml"
    scenario = load_scenario(path, [f"inference_config.{setting}" for setting in settings])
    try:
        return run_scenario(scenario)
    except ModelNotFoundError:
        train_scenario(scenario)
        return run_scenario(scenario)


def since_start(result: RunResult, frame: pl.DataFrame, column: str) -> np.ndarray:
    """Seconds since the start of the run; NaN where there is no instant."""
    start = pl.lit(result.summary["start"]).str.to_datetime(time_unit="ns", time_zone="UTC")
    return (
        frame.select((pl.col(column) - start).dt.total_nanoseconds() / 1e9).to_series().to_numpy()
    )


def latencies(result: RunResult, only: Any = True) -> np.ndarray:
    """Milliseconds from asked to visible, sorted; infinite where there was no answer."""
    frame = result.predictions.filter(only)
    done = pl.col("outcome") == "completed"
    spent = (pl.col("visible_at") - pl.col("submitted_at")).dt.total_nanoseconds() / 1e6
    return np.sort(frame.select(pl.when(done).then(spent).otherwise(np.inf)).to_series().to_numpy())


def draw_shares(axes: Axes, curves: dict[str, np.ndarray], colors: tuple[str, ...]) -> None:
    """Draw which share of all requests is answered within how long."""
    for (label, ms), color in zip(curves.items(), colors, strict=False):
        known = ms[np.isfinite(ms)]
        share = np.arange(1, len(known) + 1) / len(ms)
        axes.plot(known, share, color=color, lw=1.4, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ms from asked to visible")
    axes.set_ylabel("share of requests answered")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right")


def rate(axes: Axes, seconds: np.ndarray, color: str, label: str, bottom: Any = 0) -> np.ndarray:
    """Stack how many a second there were of something; return the new top."""
    counts, edges = np.histogram(seconds, bins=np.arange(0, 121, 1.0))
    axes.fill_between(
        edges[:-1], bottom, bottom + counts, step="post", color=color, lw=0, label=label, alpha=0.85
    )
    return bottom + counts


def stacked(axes: Axes) -> None:
    """Leave room for the legend above what is stacked."""
    axes.set_ylim(0, 175)
    axes.legend(loc="upper left", ncols=3)


def logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def over_time(axes: Axes, label: str) -> None:
    axes.set_xlim(0, 120)
    axes.set_xlabel("seconds of the run")
    axes.set_ylabel(label)


def number_in(
    result: RunResult, begin: str, *ends: str, every: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """The mean number of attempts between two of their stamps, in intervals."""
    frame = result.attempts.filter(pl.col(begin).is_not_null())
    frame = frame.with_columns(left=pl.coalesce(*ends, "ended_at", pl.lit(None)))
    frame = frame.filter(pl.col("left").is_not_null())
    edges = np.arange(0, 120 + every / 2, every)
    stays = [since_start(result, frame, name) * SECOND for name in (begin, "left")]
    begins, lefts = (stay.astype(np.int64) for stay in stays)
    return edges[:-1], mean_number(begins, np.maximum(begins, lefts), (edges * SECOND).astype(int))


def p95_by_second(result: RunResult, only: Any = True) -> tuple[np.ndarray, np.ndarray]:
    frame = result.predictions.filter(only)
    ms = (frame["visible_at"] - frame["submitted_at"]).dt.total_nanoseconds().to_numpy() / 1e6
    done = (frame["outcome"] == "completed").to_numpy()
    at = since_start(result, frame, "submitted_at")
    ms = np.where(done, ms, np.inf)
    points = [
        np.quantile(ms[(at >= s) & (at < s + 1)], 0.95, method="higher")
        if ((at >= s) & (at < s + 1)).any()
        else np.nan
        for s in range(120)
    ]
    return np.arange(120) + 0.5, np.array(points)


# --- one picture each ------------------------------------------------------------------------


def queue(left: Axes, right: Axes) -> None:
    for label, settings, color in (
        ("refused over 8 waiting", (), BLUE),
        ("no limit", ("max_queued_requests=-1",), GREY),
    ):
        left.plot(
            *number_in(run("queue", *settings), "arrived_at", "started_at"),
            color=color,
            lw=1.2,
            label=label,
        )
    titled(left, "Requests that wait", "two replicas, round robin, load 0.9")
    over_time(left, "requests in the queues")
    left.legend(loc="upper right")
    curves = {
        "refused over 8 waiting": latencies(run("queue")),
        "no limit": latencies(run("queue", "max_queued_requests=-1")),
        "least loaded, no limit": latencies(
            run("queue", "max_queued_requests=-1", "router=least_loaded")
        ),
    }
    draw_shares(right, curves, (BLUE, GREY, TEAL))
    titled(right, "What refusal buys", "a refused request is never answered")


def replicas(left: Axes, right: Axes) -> None:
    attempts = run("replicas").attempts
    result = run("replicas")
    for replica, color in enumerate((BLUE, TEAL, ORANGE)):
        mine = attempts.filter((pl.col("replica") == replica) & pl.col("started_at").is_not_null())
        at = since_start(result, mine, "started_at")
        took = (mine["completed_at"] - mine["started_at"]).dt.total_nanoseconds().to_numpy() / 1e6
        name = f"replica {replica}" + (", speed 0.4" if replica == 2 else "")
        left.scatter(at, took, s=2, color=color, alpha=0.35, linewidths=0, label=name)
    logarithmic(left)
    titled(left, "Service times", "replica 1 crashes at 60 s, and is cold again")
    over_time(left, "ms")
    left.legend(loc="upper left", markerscale=4, ncols=3)
    curves = {
        "round robin": latencies(run("replicas")),
        "least loaded": latencies(run("replicas", "router=least_loaded")),
    }
    draw_shares(right, curves, (ORANGE, TEAL))
    titled(right, "Round robin does not care", "the slow one gets a third")


def router(left: Axes, right: Axes) -> None:
    kinds = {"least loaded": "least_loaded", "round robin": "round_robin", "power of two": None}
    colors = (TEAL, BLUE, ORANGE)
    runs = {
        label: run("router", *([f"router={kind}"] if kind else [])) for label, kind in kinds.items()
    }
    draw_shares(left, {label: latencies(one) for label, one in runs.items()}, colors)
    titled(left, "Three routers", "the same draws; 4 replicas, one at a time each")
    for (label, one), color in zip(runs.items(), colors, strict=True):
        right.plot(
            *number_in(one, "arrived_at", "started_at", every=1.0), color=color, lw=1.2, label=label
        )
    right.set_yscale("symlog", linthresh=1)
    right.yaxis.set_major_formatter("{x:g}")
    titled(right, "Requests that wait", "nothing wakes Ray's router when a place is free")
    over_time(right, "requests")
    right.legend(loc="center right")


def draw_executions(axes: Axes, result: RunResult, begin: float, end: float) -> None:
    ran = result.attempts.filter(pl.col("started_at").is_not_null())
    ran = ran.with_columns(
        a=pl.Series(since_start(result, ran, "started_at")),
        z=pl.Series(since_start(result, ran, "completed_at")),
        q=pl.Series(since_start(result, ran, "arrived_at")),
    ).filter((pl.col("z") > begin) & (pl.col("a") < end))
    for (_,), batch in ran.group_by("execution", maintain_order=True):
        a, z, n = batch["a"][0], batch["z"][0], len(batch)
        axes.barh(1, (z - a) * 1e3, left=(a - begin) * 1e3, height=0.5, color=BLUE, ec="white")
        axes.text(((a + z) / 2 - begin) * 1e3, 1, str(n), ha="center", va="center", color="white")
        for q in batch["q"]:
            axes.plot([(q - begin) * 1e3, (a - begin) * 1e3], [0.25, 0.72], color=GREY, lw=0.7)
            axes.plot((q - begin) * 1e3, 0.25, "o", ms=2.5, color=INK)
    axes.set_xlim(0, (end - begin) * 1e3)
    axes.set_ylim(0, 1.5)
    axes.set_yticks([0.25, 1], ["arrived", "executed"])
    axes.set_xlabel("ms")
    axes.grid(visible=False)


def batching(left: Axes, right: Axes) -> None:
    draw_executions(left, run("batching"), 30.0, 30.4)
    titled(left, "Ray's batches", "blocking; 0.4 s of the run; a number is a batch's size")
    curves = {
        "none": latencies(run("batching", "batching=none")),
        "ray, yielding": latencies(run("batching", "batching.function=yielding")),
        "ray, blocking": latencies(run("batching")),
        "triton": latencies(run("triton")),
    }
    draw_shares(right, curves, (GREY, ORANGE, BLUE, TEAL))
    titled(right, "One replica, 100 requests a second", "20 ms + 1 ms a request")


def triton(left: Axes, right: Axes) -> None:
    draw_executions(left, run("triton"), 30.0, 30.4)
    titled(left, "Triton's batches", "0.4 s of the run; a number is a batch's size")
    for label, result, color in (
        ("ray, blocking", run("batching"), BLUE),
        ("triton", run("triton"), TEAL),
    ):
        ran = result.attempts.filter(pl.col("started_at").is_not_null()).unique("execution")
        sizes = ran["batch_size"].to_numpy()
        counts = np.bincount(sizes, minlength=9)[1:9] / len(sizes)
        shift = -0.2 if label == "triton" else 0.2
        right.bar(np.arange(1, 9) + shift, counts, width=0.38, color=color, label=label)
    titled(right, "Sizes of batches", "share of executions")
    right.set_xlabel("requests in a batch")
    right.legend(loc="upper right")


def deadlines(left: Axes, right: Axes) -> None:
    curves = {
        "wait for ever, in order": latencies(
            run("deadlines", "timeout=null", "retry=null", "queue=fifo")
        ),
        "150 ms, newest first": latencies(run("deadlines", "retry=null")),
        "and a retry after 60 ms": latencies(run("deadlines")),
        "and cancel what is given up": latencies(run("deadlines", "timeout.cancel=true")),
    }
    draw_shares(left, curves, (GREY, BLUE, ORANGE, TEAL))
    left.axvline(150, color=GREY, lw=0.8, ls="--")
    titled(left, "Answers in time", "load 0.9")
    names, lost, late = [], [], []
    for label, settings in (
        ("no retry", ("retry=null",)),
        ("retry", ()),
        ("retry, cancel", ("timeout.cancel=true",)),
    ):
        numbers = run("deadlines", *settings).summary["serving"]["main"]["deployments"]["default"]
        asked = len(run("deadlines", *settings).predictions)
        names.append(label)
        lost.append(numbers["utilisation"])
        late.append(sum(numbers["attempts"].get(k, 0) for k in ("late",)) / asked)
    places = np.arange(len(names))
    right.bar(places - 0.2, lost, width=0.38, color=BLUE, label="busy share of the replicas")
    right.bar(places + 0.2, late, width=0.38, color=RED, label="late answers a request")
    right.set_xticks(places, names)
    right.set_ylim(0, 1.25)
    right.legend(loc="upper center", ncols=2)
    titled(right, "What giving up costs", "an answer that nobody waits for is work")


def cache_(left: Axes, right: Axes) -> None:
    with_cache, without = run("cache"), run("cache", "cache=null")
    frame = with_cache.predictions.filter(pl.col("outcome") == "completed")
    hits = frame.filter(pl.col("source") >= 0)
    top = rate(left, since_start(with_cache, hits, "submitted_at"), TEAL, "from the cache")
    misses = frame.filter(pl.col("source") < 0)
    rate(left, since_start(with_cache, misses, "submitted_at"), BLUE, "from the model", top)
    over_time(left, "answers a second")
    stacked(left)
    share = with_cache.summary["serving"]["main"]["requests"]["hit_rate"]
    titled(left, "Who answered", f"{share:.0%} hits, entries live 500 ms")
    curves = {"with a cache": latencies(with_cache), "without": latencies(without)}
    draw_shares(right, curves, (TEAL, BLUE))
    titled(right, "Latency", "hits take 0.1 ms and no replica")


def shade_open(axes: Axes, result: RunResult) -> None:
    changes = result.deployment_changes.filter(pl.col("kind") == "breaker")
    at = [*since_start(result, changes, "changed_at"), 120.0]
    for begin, end, state in zip(at[:-1], at[1:], changes["value"], strict=True):
        if state == "open":
            axes.axvspan(begin, end, color=ORANGE, alpha=0.18, lw=0)


def breaker(left: Axes, right: Axes) -> None:
    for axes, result, note in (
        (left, run("breaker"), "shaded: open, last value"),
        (right, run("breaker", "circuit_breaker=null"), "no breaker"),
    ):
        frame, top = result.predictions, np.zeros(120)
        for label, which, color in (
            ("model", (pl.col("outcome") == "completed") & ~pl.col("fallback"), BLUE),
            ("fallback", pl.col("fallback"), TEAL),
            ("failed", pl.col("outcome").is_in(["failed", "rejected"]), RED),
        ):
            at = since_start(result, frame.filter(which), "submitted_at")
            top = rate(axes, at, color, label, top)
        shade_open(axes, result)
        over_time(axes, "requests a second")
        stacked(axes)
        titled(axes, "Nine in ten fail for 20 s", note)


def variants(left: Axes, right: Axes) -> None:
    result = run("variants")
    top = np.zeros(120)
    for name, color in (("big", BLUE), ("small", TEAL)):
        mine = result.predictions.filter(pl.col("variant") == name)
        top = rate(left, since_start(result, mine, "submitted_at"), color, name, top)
    over_time(left, "requests a second")
    stacked(left)
    titled(left, "Who was asked", "the big one is six times as slow from 40 s to 60 s")
    for label, one, color in (
        ("by budget", result, BLUE),
        ("always the big one", run("variants", "routing.budget=1h"), GREY),
    ):
        at, ms = p95_by_second(one)
        right.plot(at, np.where(np.isfinite(ms), ms, np.nan), color=color, lw=1.3, label=label)
    right.axhline(40, color=GREY, lw=0.8, ls="--")
    logarithmic(right)
    over_time(right, "p95 in each second, ms")
    right.legend(loc="upper right")
    titled(right, "Latency", "budget 40 ms, dashed")


def split(left: Axes, right: Axes) -> None:
    result = run("split")
    curves = {name: latencies(result, pl.col("variant") == name) for name in ("a", "b")}
    draw_shares(left, curves, (BLUE, ORANGE))
    titled(left, "Latency of each side", "a: 90 %, 2 replicas; b: 10 %, 1 replica")
    for name, color in (("a", BLUE), ("b", ORANGE)):
        mine = result.predictions.filter(pl.col("variant") == name)
        at = np.sort(since_start(result, mine, "submitted_at"))
        every = np.sort(since_start(result, result.predictions, "submitted_at"))
        share = np.searchsorted(at, every, side="right") / np.arange(1, len(every) + 1)
        right.plot(every, share, color=color, lw=1.3, label=name)
    over_time(right, "share of the requests so far")
    right.set_ylim(0, 1)
    right.legend(loc="center right")
    titled(right, "Shares", "drawn by what a request is, not by its turn")


def autoscaler(left: Axes, right: Axes) -> None:
    result = run("autoscaler")
    changes = result.deployment_changes.with_columns(
        at=pl.Series(since_start(result, result.deployment_changes, "changed_at"))
    )
    target = changes.filter(pl.col("kind") == "target")
    at = [0.0, *target["at"], 120.0]
    wanted = [2, *map(int, target["value"])]
    left.step(at, [*wanted, wanted[-1]], where="post", color=ORANGE, lw=1.4, label="target")
    ready: dict[int, bool] = dict.fromkeys(range(2), True)
    at, counts = [0.0], [2]
    moves = changes.filter((pl.col("kind") == "replica") & (pl.col("at") > 0))
    for row in moves.iter_rows(named=True):
        ready[row["replica"]] = row["value"] == "ready"
        at.append(row["at"])
        counts.append(sum(ready.values()))
    left.step([*at, 120.0], [*counts, counts[-1]], where="post", color=BLUE, lw=1.4, label="ready")
    left.plot(
        *number_in(result, "arrived_at", "completed_at", every=1.0),
        color=GREY,
        lw=1,
        label="ongoing requests",
    )
    left.set_ylim(0, 20)
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    over_time(left, "number")
    left.legend(loc="upper right")
    titled(left, "Replicas", "three times as slow from 30 s to 70 s; cold start 3 s")
    for label, one, color in (
        ("autoscaler", result, BLUE),
        (
            "2 replicas, fixed",
            run("autoscaler", "autoscaling_config=null", "num_replicas=2", "faults=" + _SLOW_TWO),
            GREY,
        ),
    ):
        xs, ms = p95_by_second(one)
        right.plot(xs, np.where(np.isfinite(ms), ms, np.nan), color=color, lw=1.3, label=label)
    logarithmic(right)
    over_time(right, "p95 in each second, ms")
    right.legend(loc="upper right")
    titled(right, "Latency")


_SLOW_TWO = (
    "[{kind: slow, at: 30s, for: 40s, replica: 0, factor: 3},"
    " {kind: slow, at: 30s, for: 40s, replica: 1, factor: 3}]"
)


def faults(left: Axes, right: Axes) -> None:
    result = run("faults")
    at, ms = p95_by_second(result)
    left.plot(at, np.where(np.isfinite(ms), ms, np.nan), color=BLUE, lw=1.3)
    logarithmic(left)
    over_time(left, "p95 in each second, ms")
    titled(left, "Latency", "a gap: over 5 % had no answer")
    frame = result.attempts
    top = np.zeros(120)
    for label, which, color in (
        ("crashed", pl.col("reason") == "crashed", INK),
        ("error", pl.col("reason") == "error", RED),
        ("given up", pl.col("outcome") == "timed_out", ORANGE),
    ):
        top = rate(right, since_start(result, frame.filter(which), "sent_at"), color, label, top)
    right.legend(loc="upper left")
    over_time(right, "attempts that failed, a second")
    titled(right, "Attempts", "each is retried once")
    for axes in (left, right):
        for begin, end, name in (
            (20, 25, "crash"),
            (40, 48, "slow"),
            (60, 65, "errors"),
            (80, 82, "stuck"),
            (95, 98, "lost"),
            (110, 110.3, "pause"),
        ):
            axes.axvspan(begin, end, color=ORANGE, alpha=0.18, lw=0)
            axes.text(
                begin,
                1.0,
                name,
                transform=axes.get_xaxis_transform(),
                fontsize=7,
                color=GREY,
                va="top",
            )


def legs(left: Axes, right: Axes) -> None:
    names = ("queue", "router", "batching", "triton", "deadlines", "cache")
    for place, name in enumerate(names):
        numbers = run(name).summary["serving"]["main"]["legs_ms"]
        for axes, point in ((left, "mean"), (right, "share")):
            total = sum(numbers[leg]["mean"] for leg in LEGS)
            start = 0.0
            for leg, color in zip(LEGS, LEG_COLORS, strict=True):
                width = numbers[leg]["mean"] / (total if point == "share" else 1)
                label = leg.replace("_", " ") if place == 0 else None
                axes.barh(place, width, left=start, color=color, height=0.62, label=label)
                start += width
    for axes in (left, right):
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
    left.set_xlim(0, 80)
    left.set_xlabel("ms, mean over answered requests (router: to 735)")
    right.set_xlabel("share of the latency")
    right.set_xlim(0, 1)
    left.legend(loc="lower right", ncols=2)
    titled(left, "Where latency comes from")
    titled(right, "The same, each as a whole")


PICTURES: dict[str, Callable[[Axes, Axes], None]] = {
    "legs": legs,
    "queue": queue,
    "replicas": replicas,
    "router": router,
    "batching": batching,
    "triton": triton,
    "deadlines": deadlines,
    "cache": cache_,
    "breaker": breaker,
    "variants": variants,
    "split": split,
    "autoscaler": autoscaler,
    "faults": faults,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PICTURES)}; all by default")
    parser.add_argument("--out", type=Path, default=HOME / "docs" / "serving")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.names or PICTURES:
        with look():
            figure = Figure(figsize=(10, 3.3), layout="constrained")
            FigureCanvasAgg(figure)
            PICTURES[name](*figure.subplots(1, 2))
            figure.savefig(asked.out / f"{name}.png", dpi=90, facecolor="white")
        print(asked.out / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
