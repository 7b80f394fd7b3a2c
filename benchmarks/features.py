"""Speed of the feature plane, beside Polars in the same run.

1. Ten features with labels, a row every 100 ms and a row with every quote, Parquet to Parquet, on
   two threads: against `features_polars.py`, which does the same work by hand. What both wrote is
   compared.
2. Sum, mean, standard deviation, minimum and maximum over a sliding second, on one thread: against
   Polars' `rolling_*_by`.
3. A live push of one event through the same ten features.

    python benchmarks/features.py --quotes 5000000 --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from featurizer.catalog import Catalog
from featurizer.config import FeaturizerConfig
from featurizer.feature import Batch
from featurizer.labels import WINDOW_ROWS
from featurizer.market import Instrument

ROOT = Path(__file__).parents[1]
INSTRUMENT = "SIM.ALPHA"
START = 1_704_067_200_000_000_000
SECOND = 1_000_000_000
STEP_NS = 20_000_000
IMBALANCE = {"feature": "imbalance"}
FEATURES = (
    ("price.MidPrice", "mid", {}),
    ("spread.RelativeSpread", "spread", {}),
    ("book.Imbalance", "imbalance", {}),
    ("price.LogReturn", "return_1s", {"window": "1s"}),
    ("price.LogReturn", "return_5s", {"window": "5s"}),
    ("volatility.RealisedVolatility", "volatility_1s", {"window": "1s"}),
    ("volatility.RealisedVolatility", "volatility_10s", {"window": "10s"}),
    ("book.OrderFlowImbalance", "flow_1s", {"window": "1s"}),
    ("smoothing.Ema", "smooth", {"half_life": "500ms", **IMBALANCE}),
    ("smoothing.Lag", "lag_1s", {"lag": "1s", **IMBALANCE}),
)
OPERATORS = ("sum", "mean", "std", "min", "max")


def config(**others: Any) -> FeaturizerConfig:
    features = [
        {"feature_definition": definition, "name": name, "params": params}
        for definition, name, params in FEATURES
    ]
    content = {"feature_configs": features, "sampling": "raw"} | others
    return FeaturizerConfig.model_validate(content)


def quotes(count: int) -> dict[str, Any]:
    """Quotes about every 20 ms, no two of them together, a price that moves by ticks."""
    draw = np.random.Generator(np.random.Philox(11))
    event = START + np.cumsum(draw.integers(1_000, 2 * STEP_NS, count))
    mid = 30_000 + np.cumsum(draw.choice([-1, 0, 0, 0, 1], count))
    spread = draw.choice([1, 1, 1, 2, 3], count)
    return {
        "event_time": event,
        "receipt_time": event + 1_500_000,
        "sequence": np.arange(count),
        "bid_price": np.round((mid - spread) * 0.01, 2),
        "bid_quantity": np.round(draw.integers(1, 5_000, count) * 0.001, 3),
        "ask_price": np.round((mid + spread) * 0.01, 2),
        "ask_quantity": np.round(draw.integers(1, 5_000, count) * 0.001, 3),
    }


def make_catalog(root: Path, count: int) -> Catalog:
    if not (root / "instruments.yaml").exists():
        terms = {"tick_size": "0.01", "lot_size": "0.001", "contract": "linear"}
        names = {"id": INSTRUMENT, "base": "ALPHA", "quote": "USD"}
        fees = {"fees": {"maker": "0", "taker": "0"}}
        catalog = Catalog.create(root, [Instrument.model_validate(terms | names | fees)])
        catalog.write(INSTRUMENT, "quotes", quotes(count))
    return Catalog(root)


# --- one set, one process -------------------------------------------------------------------------


def write_set(catalog: Catalog, out: Path, sampling: str) -> tuple[float, float]:
    """Write the ten features; return the seconds, and those of processor time; compiled before."""
    from featurizer.dataset_store import write_dataset

    made = config(label_feature="mid", label_lookahead="1s", sampling=sampling)
    first, last = catalog.range([(INSTRUMENT, "quotes")])
    span = (first, last + SECOND)
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(catalog, made, [INSTRUMENT], first, first + 30 * SECOND, Path(folder))
    begin, busy = perf_counter(), process_time()
    write_dataset(catalog, made, [INSTRUMENT], *span, out)
    return perf_counter() - begin, process_time() - busy


def same_values(ours: Path, theirs: Path) -> float:
    """Return the largest relative difference of any value; refuse other rows."""
    import polars as pl

    left, right = pl.scan_parquet(ours), pl.scan_parquet(theirs)
    worst = 0.0
    for name in left.collect_schema().names():
        mine, other = (f.select(name).collect()[name] for f in (left, right))
        if name.endswith(("_at", "_time")) or name == "instrument":
            assert mine.equals(other), f"{name} differs"
            continue
        a = mine.fill_null(float("nan")).to_numpy()
        b = other.fill_null(float("nan")).to_numpy()
        assert (np.isnan(a) == np.isnan(b)).all(), (
            f"{name}: {np.isnan(a).sum()}, {np.isnan(b).sum()}"
        )
        scale = np.nanmax(np.abs(a))
        worst = max(worst, float(np.nanmax(np.abs(a - b)) / scale))
    return worst


def _two_numbers(text: str) -> tuple[float, float]:
    seconds, busy = map(float, text.split())
    return seconds, busy


def ours_alone(catalog: Path, out: Path, sampling: str) -> tuple[float, float]:
    out.unlink(missing_ok=True)  # a file that takes another's place is sent to the disk at once
    return _two_numbers(_python(__file__, "--alone", catalog, out, sampling, threads=2))


def theirs_alone(catalog: Path, out: Path, sampling: str) -> tuple[float, float]:
    out.unlink(missing_ok=True)
    script, what = ROOT / "benchmarks/features_polars.py", "RAW" if sampling == "raw" else "GRID"
    return _two_numbers(_python(script, what, catalog, out, threads=2))


def both(root: Path, catalog: Path, sampling: str, repeats: int) -> dict[str, Any]:
    """Return the middle seconds of both, their ratios, and how far their values are apart."""
    mine, other = root / "ours.parquet", root / "theirs.parquet"
    pairs = [
        (ours_alone(catalog, mine, sampling), theirs_alone(catalog, other, sampling))
        for _ in range(repeats)
    ]
    found: dict[str, Any] = {}
    for place, suffix in ((0, ""), (1, "_of_processor")):
        ours, theirs = ([side[place] for side in sides] for sides in zip(*pairs, strict=True))
        ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
        found["seconds" + suffix] = statistics.median(ours)
        found["polars" + suffix] = statistics.median(theirs)
        found["ratio" + suffix] = statistics.median(ratios)
        found["ratio_range" + suffix] = [min(ratios), max(ratios)]
    return found | {"largest_difference": same_values(mine, other)}


def _python(*arguments: Any, threads: int) -> str:
    os.sync()  # what was written before is nobody's to wait for
    limits = {
        name: str(threads)
        for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    }
    made = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | limits,
        preexec_fn=lambda: _confine(threads),
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout


def _confine(cores: int) -> None:
    """Stay on so many cores: threads of any kind then share what they were given."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


# --- windows --------------------------------------------------------------------------------------


def rolling_ours(catalog: Catalog) -> dict[str, tuple[float, float]]:
    """Return the seconds of each operator over all mids, and its last value."""
    from featurizer.market import StreamRequest
    from featurizer.operators.moments import WindowMoments
    from featurizer.operators.windows import WindowExtreme, WindowSum

    first, last = catalog.range([(INSTRUMENT, "quotes")])
    request = StreamRequest(INSTRUMENT, "quotes", ("bid_price", "ask_price"))
    columns = [
        (ours.receipt_time, ours.columns["bid_price"], ours.columns["ask_price"])
        for window in catalog.windows([request], first, last + SECOND)
        for ours in window.ours.values()
    ]
    times, bids, asks = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    mids = (bids + asks) * 0.5
    for array in (times, mids):
        array.flags.writeable = False

    def batch(begin: int, end: int) -> Batch:
        nothing = np.empty(0, np.int64)
        nothing.flags.writeable = False
        now, values = times[begin:end], mids[begin:end]
        return Batch(now, (values,), nothing, nothing, nothing, True)

    def sums() -> Callable[[int, int], Any]:
        state = WindowSum(SECOND)
        return lambda i, j: state.scan(mids[i:j], batch(i, j)).updates

    def moments(read: Callable[[Any], Any], means_only: bool = False) -> Callable[[int, int], Any]:
        state = WindowMoments(SECOND, means_only=means_only)
        return lambda i, j: read(state.scan(mids[i:j].reshape(1, -1), batch(i, j))[1])

    def extreme(largest: bool) -> Callable[[int, int], Any]:
        state = WindowExtreme(SECOND, largest=largest)
        return lambda i, j: state.scan(mids[i:j], batch(i, j)).updates

    makers = {
        "sum": sums,
        "mean": lambda: moments(lambda m: m.mean_x, means_only=True),
        "std": lambda: moments(lambda m: m.std(1)),
        "min": lambda: extreme(False),
        "max": lambda: extreme(True),
    }
    found = {}
    size = WINDOW_ROWS  # as the graph pushes them: in chunks that fit the cache
    for name, maker in makers.items():
        maker()(0, 1000)  # compiles
        begin = perf_counter()
        scan, values = maker(), np.empty(len(times))
        for i in range(0, len(times), size):
            values[i : i + size] = scan(i, min(i + size, len(times)))
        found[name] = (perf_counter() - begin, float(values[-1]))
    return found


def rolling_theirs(catalog: Path) -> dict[str, tuple[float, float]]:
    script = ROOT / "benchmarks/features_polars.py"
    text = _python(script, "ROLLING", str(catalog), "-", threads=1)
    rows = [line.split() for line in text.splitlines()]
    return {name: (float(seconds), float(last)) for name, seconds, last in rows}


def rolling_alone(catalog: Path) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = json.loads(
        _python(__file__, "--rolling", str(catalog), threads=1)
    )
    return found


# --- live -----------------------------------------------------------------------------------------


def live_push(count: int = 20_000) -> dict[str, float]:
    """Return microseconds for an event through ten features, a row with each: middle and best."""
    from featurizer.online import Event, OnlineFeaturizer

    columns = quotes(count)
    names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    rows = zip(
        columns["event_time"].tolist(),
        columns["receipt_time"].tolist(),
        zip(*(columns[name].tolist() for name in names), strict=True),
        strict=True,
    )
    events = [
        Event(INSTRUMENT, "quotes", event, receipt, dict(zip(names, values, strict=True)), number)
        for number, (event, receipt, values) in enumerate(rows)
    ]
    featurizer = OnlineFeaturizer(config(), [INSTRUMENT], start=START)
    took = []
    for event in events:
        begin = perf_counter()
        featurizer.push(event)
        took.append(perf_counter() - begin)
    settled = sorted(took[count // 4 :])
    return {
        "median_us": settled[len(settled) // 2] * 1e6,
        "p10_us": settled[len(settled) // 10] * 1e6,
        "p99_us": settled[len(settled) * 99 // 100] * 1e6,
    }


# --- all of it ------------------------------------------------------------------------------------


def measure(root: Path, count: int, repeats: int) -> dict[str, Any]:
    catalog = make_catalog(root / "catalog", count)
    sets = {
        name: both(root, catalog.root, sampling, repeats)
        for name, sampling in (("set_100ms", "100ms"), ("set_every_quote", "raw"))
    }
    windows = [(rolling_alone(catalog.root), rolling_theirs(catalog.root)) for _ in range(repeats)]
    rolling = {}
    for name in OPERATORS:
        ours = statistics.median(pair[0][name][0] for pair in windows)
        theirs = statistics.median(pair[1][name][0] for pair in windows)
        last = [pair[name][1] for pair in windows[0]]
        assert abs(last[0] - last[1]) <= 1e-6 * max(1.0, abs(last[0])), f"{name}: {last}"
        ratios = [pair[1][name][0] / pair[0][name][0] for pair in windows]
        rolling[name] = {
            "seconds": ours,
            "polars": theirs,
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
        }
    return {
        "quotes": count,
        "repeats": repeats,
        **sets,
        "rolling_1s": rolling,
        "live": live_push(),
    }


def told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['quotes']:,} quotes, ten features and a label, Parquet to Parquet, two threads"
    ]
    for name, what in (("set_100ms", "a row every 100 ms"), ("set_every_quote", "every quote")):
        made = found[name]
        lines.append(
            f"  {what}: {made['seconds']:.2f} s, Polars {made['polars']:.2f} s: "
            f"{made['ratio']:.1f} times as fast, {made['ratio_of_processor']:.1f} by processor "
            f"time (values apart by {made['largest_difference']:.0e})"
        )
    lines.append("over a sliding second, one thread")
    for name, one in found["rolling_1s"].items():
        lines.append(
            f"  {name:5} {one['seconds']:.3f} s, Polars {one['polars']:.3f} s: {one['ratio']:.1f}"
        )
    live = found["live"]
    lines.append(
        f"a live event through ten features: {live['median_us']:.0f} us "
        f"(best tenth {live['p10_us']:.0f}, p99 {live['p99_us']:.0f})"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quotes", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="Keep the catalog here, and use it again.")
    parser.add_argument("--live", action="store_true", help="The live push alone.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--alone", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rolling", metavar="CATALOG", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        catalog, out, sampling = given.alone
        print(*write_set(Catalog(catalog), Path(out), sampling))
        return
    if given.rolling:
        print(json.dumps(rolling_ours(Catalog(given.rolling))))
        return
    if given.live:
        print(json.dumps(live_push(), indent=2))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.folder or Path(folder), given.quotes, given.repeats)
    print(json.dumps(found, indent=2) if given.json else told(found))


if __name__ == "__main__":
    main()
