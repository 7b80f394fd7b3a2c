"""The peer of `benchmarks/features.py`: ten features of quotes and their label, written by hand.

Polars as well as we can write it: one lazy plan, all columns of a rolling window in one pass over
shared expressions, as-of joins on sorted keys, only the columns that are needed read. It knows
beforehand that no two quotes are received together, and holds the whole range in memory; Lightcone
may assume neither. It writes in the way that was fastest here: streamed, and not compressed (LZ4,
Snappy, Zstandard, a collected frame and pyarrow's writer were all slower).

    POLARS_MAX_THREADS=2 python benchmarks/features_polars.py RAW CATALOG OUT
    POLARS_MAX_THREADS=2 python benchmarks/features_polars.py GRID CATALOG OUT
    POLARS_MAX_THREADS=1 python benchmarks/features_polars.py ROLLING CATALOG OUT

Prints the seconds from the first read to the last byte written, and those of processor time.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter, process_time

import polars as pl

QUOTES = "quotes/instrument=SIM.ALPHA/date=*/part-*.parquet"
SECOND = 1_000_000_000


def quotes(catalog: str, *columns: str) -> pl.LazyFrame:
    files = sorted(Path(catalog).glob(QUOTES))
    frame = pl.scan_parquet(files, hive_partitioning=False).select("receipt_time", *columns)
    return frame.set_sorted("receipt_time")


def warm(column: str, window_ns: int, since: str) -> pl.Expr:
    """A window's value once the whole of it lies in what was seen, NaN before."""
    seen = pl.col("time").to_physical() - pl.col(since)
    return pl.when(seen >= window_ns).then(pl.col(column)).otherwise(float("nan")).alias(column)


def as_of(frame: pl.LazyFrame, lag_ns: int, **columns: str) -> pl.LazyFrame:
    """Columns as they were (or will be) some time before each row."""
    keyed = frame.with_columns(key=pl.col("time") - pl.duration(nanoseconds=lag_ns))
    other = frame.select(
        pl.col("time").alias("key"), *(pl.col(old).alias(new) for new, old in columns.items())
    )
    return keyed.set_sorted("key").join_asof(other.set_sorted("key"), on="key").drop("key")


def prepared(catalog: str) -> pl.LazyFrame:
    """What each quote alone says, and what it adds to the sums."""
    names = ("event_time", "bid_price", "bid_quantity", "ask_price", "ask_quantity")
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    bids, asks = pl.col("bid_quantity"), pl.col("ask_quantity")
    flow = (
        bids * (bid >= bid.shift())
        - bids.shift() * (bid <= bid.shift())
        - asks * (ask <= ask.shift())
        + asks.shift() * (ask >= ask.shift())
    )
    return (
        quotes(catalog, *names)
        .rename({"receipt_time": "time"})
        .with_columns(
            mid=(bid + ask) * 0.5,
            spread=(ask - bid) / ((bid + ask) * 0.5),
            imbalance=(bids - asks) / (bids + asks),
            flow=flow.fill_null(0.0),
            moved=pl.col("time").to_physical().slice(1, 1).first(),
        )
        .with_columns(
            square=(pl.col("mid") / pl.col("mid").shift()).log().pow(2).fill_null(0.0),
            # a value is in force until the next one: the mean moves towards the one before
            smooth=pl.col("imbalance")
            .shift()
            .fill_null(pl.col("imbalance").first())
            .ewm_mean_by("time", half_life="500ms"),
        )
        .drop("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    )


def on_grid(catalog: str, out: str) -> None:
    """Rows every 100 ms: running sums, and as-of joins of the grid with the quotes."""
    base = prepared(catalog).with_columns(
        squares=pl.col("square").cum_sum(), flows=pl.col("flow").cum_sum(), last="time"
    )
    base = base.drop("square", "flow").collect().set_sorted("time").lazy()
    step = 100_000_000
    first, last = base.select(
        pl.col("event_time").first().to_physical().alias("first"),
        pl.col("event_time").last().to_physical().alias("last"),
    ).collect().row(0)  # fmt: skip
    instants = pl.int_range(-(-first // step) * step, last + 1 + SECOND, step, eager=True)
    grid = instants.cast(pl.Datetime("ns", "UTC")).set_sorted().alias("time").to_frame().lazy()
    columns = ("mid", "spread", "imbalance", "squares", "flows", "smooth", "last", "event_time")
    at = grid.join_asof(base.select("time", *columns, "moved"), on="time")

    def joined(lag_ns: int, **names: str) -> pl.LazyFrame:
        other = base.select("time", *(pl.col(old).alias(new) for new, old in names.items()))
        keys = grid.select(time=pl.col("time") - pl.duration(nanoseconds=lag_ns))
        return keys.set_sorted("time").join_asof(other, on="time").drop("time")

    ahead = grid.select(time=pl.col("time") + pl.duration(nanoseconds=SECOND)).set_sorted("time")
    known = base.select("time", label_visible_at="time")
    parts = [
        at,
        joined(SECOND, mid_1s="mid", lag_1s="imbalance", squares_1s="squares", flows_1s="flows"),
        joined(5 * SECOND, mid_5s="mid"),
        joined(10 * SECOND, squares_10s="squares"),
        joined(-SECOND, mid_after="mid"),
        ahead.join_asof(known, on="time", strategy="forward").drop("time"),
    ]
    weight = 0.5 ** ((pl.col("time") - pl.col("last")).dt.total_nanoseconds() / (SECOND / 2))

    def since(name: str, before: str, window_ns: int) -> pl.Expr:
        change = pl.col(name) - pl.col(before).fill_null(0.0)
        warm = pl.col("time").to_physical() - pl.col("moved") >= window_ns
        return pl.when(warm).then(change.clip(0.0) if name == "squares" else change)

    nan = float("nan")
    (
        pl.concat(parts, how="horizontal")
        .select(
            emitted_at="time",
            visible_at="time",
            event_time="event_time",
            instrument=pl.lit("SIM.ALPHA"),
            mid=pl.col("mid").fill_null(nan),
            spread=pl.col("spread").fill_null(nan),
            imbalance=pl.col("imbalance").fill_null(nan),
            return_1s=(pl.col("mid") / pl.col("mid_1s")).log().fill_null(nan),
            return_5s=(pl.col("mid") / pl.col("mid_5s")).log().fill_null(nan),
            volatility_1s=since("squares", "squares_1s", SECOND).sqrt().fill_null(nan),
            volatility_10s=since("squares", "squares_10s", 10 * SECOND).sqrt().fill_null(nan),
            flow_1s=since("flows", "flows_1s", SECOND).fill_null(nan),
            smooth=(pl.col("smooth") * weight + pl.col("imbalance") * (1 - weight)).fill_null(nan),
            lag_1s=pl.col("lag_1s").fill_null(nan),
            label=pl.when(pl.col("label_visible_at").is_not_null()).then(
                pl.col("mid_after") - pl.col("mid")
            ),
            label_visible_at=pl.when(pl.col("mid").is_not_null()).then("label_visible_at"),
        )
        .sink_parquet(out, compression="uncompressed", statistics=False)
    )


def every_quote(catalog: str, out: str) -> None:
    """A row with each quote: rolling sums, and as-of joins of the quotes with themselves."""
    base = (
        prepared(catalog)
        .with_columns(
            volatility_1s=pl.col("square").rolling_sum_by("time", "1s").sqrt(),
            volatility_10s=pl.col("square").rolling_sum_by("time", "10s").sqrt(),
            flow_1s=pl.col("flow").rolling_sum_by("time", "1s"),
        )
        .with_columns(
            warm("volatility_1s", SECOND, "moved"),
            warm("volatility_10s", 10 * SECOND, "moved"),
            warm("flow_1s", SECOND, "moved"),
        )
        .drop("square", "flow", "moved")
    )
    joined = as_of(base, SECOND, mid_1s="mid", lag_1s="imbalance")
    joined = as_of(joined, 5 * SECOND, mid_5s="mid")
    joined = as_of(joined, -SECOND, mid_after="mid")
    known = base.select(pl.col("time").alias("horizon"), label_visible_at="time")
    (
        joined.with_columns(horizon=pl.col("time") + pl.duration(nanoseconds=SECOND))
        .set_sorted("horizon")
        .join_asof(known.set_sorted("horizon"), on="horizon", strategy="forward")
        .with_columns(
            label=pl.when(pl.col("label_visible_at").is_not_null()).then(
                pl.col("mid_after") - pl.col("mid")
            )
        )
        .select(
            emitted_at="time",
            visible_at="time",
            event_time="event_time",
            instrument=pl.lit("SIM.ALPHA"),
            mid="mid",
            spread="spread",
            imbalance="imbalance",
            return_1s=(pl.col("mid") / pl.col("mid_1s")).log().fill_null(float("nan")),
            return_5s=(pl.col("mid") / pl.col("mid_5s")).log().fill_null(float("nan")),
            volatility_1s="volatility_1s",
            volatility_10s="volatility_10s",
            flow_1s="flow_1s",
            smooth="smooth",
            lag_1s=pl.col("lag_1s").fill_null(float("nan")),
            label="label",
            label_visible_at="label_visible_at",
        )
        .sink_parquet(out, compression="uncompressed", statistics=False)
    )


def rolling(catalog: str, out: str) -> None:
    """Five windows of one second over the mid; the read is not counted."""
    frame = quotes(catalog, "bid_price", "ask_price").select(
        "receipt_time", mid=(pl.col("bid_price") + pl.col("ask_price")) * 0.5
    )
    frame = frame.collect().set_sorted("receipt_time").lazy()
    mid = pl.col("mid")
    for name in ("sum", "mean", "std", "min", "max"):
        over = getattr(mid, f"rolling_{name}_by")
        begin = perf_counter()
        done = frame.select(over("receipt_time", "1s")).collect()
        print(name, perf_counter() - begin, done["mid"].tail(1).item())


if __name__ == "__main__":
    what, catalog, out = sys.argv[1:]
    if what == "ROLLING":
        rolling(catalog, out)
    else:
        begin, busy = perf_counter(), process_time()
        (on_grid if what == "GRID" else every_quote)(catalog, out)
        print(perf_counter() - begin, process_time() - busy)
