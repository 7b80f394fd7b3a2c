"""A market maker that quotes both sides on every change of a best price, beside hftbacktest's.

2 million quotes about 1 ms apart and 500 000 trades, feed latency 1 to 5 ms, order latency 2 ms
there and 2 ms back. Whenever the best bid (or ask) received has another price, the order on that
side is canceled and a post-only one of 0.001 is sent at the new best price. Ours is a strategy in
plain Python; hftbacktest's is compiled by numba. Both see the same market, in the same run, in
turn; the queue is the risk-averse one (`back`).

    python benchmarks/market_making.py --quotes 2000000 --json
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numba import njit

sys.path.insert(0, str(Path(__file__).parents[1]))

from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from featurizer.catalog import Catalog
from featurizer.synthetic import SyntheticMarket, synthetic_instruments, synthetic_records

try:
    import hftbacktest as peer
except ImportError:  # the benchmark then shows ours alone
    peer = None

INSTRUMENT = "SIM.ALPHA"
START = 1_704_067_200_000_000_000
MILLISECOND = 1_000_000
LATENCY = 2 * MILLISECOND
TICK, LOT, QUANTITY = 0.01, 0.001, 0.001


class BothSides(Strategy):
    """Keeps one order at the best price of each side."""

    def __init__(self) -> None:
        self.bid = self.ask = 0.0
        self.buy = self.sell = 0

    def on_quote(self, ctx: Any, quote: Any) -> None:
        bid, ask = quote
        if bid != self.bid:
            self.bid = bid
            if self.buy:
                ctx.cancel(self.buy)
            self.buy = ctx.buy(INSTRUMENT, QUANTITY, bid, post_only=True)
        if ask != self.ask:
            self.ask = ask
            if self.sell:
                ctx.cancel(self.sell)
            self.sell = ctx.sell(INSTRUMENT, QUANTITY, ask, post_only=True)


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        catalog = make_catalog(Path(folder) / "catalog", arguments.quotes)
        small = make_catalog(Path(folder) / "small", 20_000)
        events, small_events = market_of(catalog), market_of(small)
        measure(small)
        if peer is not None:
            measure_peer(small_events)
        gc.freeze()
        runs = []
        for _ in range(arguments.repeat):  # in turn, so that both feel the machine's drift
            run = measure(catalog)
            if peer is not None:
                run |= measure_peer(events)
            runs.append(run)
    show(runs, arguments)


def measure(catalog: Catalog) -> dict[str, Any]:
    """Run ours once from the opened catalog to the result."""
    start = perf_counter()
    run = Run(scenario_of(catalog), BothSides(), catalog, {})
    made = perf_counter()
    result = run.execute()
    done = perf_counter()
    return {
        "engine_s": done - made,
        "whole_s": done - start,
        "orders": result.summary["orders"],
        "messages": result.summary["orders"] + result.order_changes.height,
        "fills": result.summary["fills"],
    }


def scenario_of(catalog: Catalog) -> Scenario:
    first, last = catalog.range([(INSTRUMENT, "quotes")])
    return Scenario.model_validate(
        {
            "name": "market-making",
            "seed": 1,
            "data": {
                "catalog": str(catalog.root),
                "instruments": [INSTRUMENT],
                "start": first,
                "until": last + 100 * MILLISECOND,
            },
            "strategy": {"class": "benchmarks.market_making.BothSides"},
            "execution": {"entry_latency": "2ms", "response_latency": "2ms"},
            "portfolio": {"quote": "USD", "balances": {"USD": 1_000_000}},
            "report": {"bootstrap": 100, "sampling": "1m"},
        }
    )


def make_catalog(root: Path, quotes: int) -> Catalog:
    """Write *quotes* quotes about 1 ms apart, and a trade for every fourth of them."""
    market = SyntheticMarket.model_validate(
        {
            "seed": 1,
            "start": START,
            "duration": f"{quotes}ms",
            "quote_interval": "1ms",
            "trade_share": 0.25,
            "kinds": ["quotes", "trades"],
            "feed_latency": {"kind": "uniform", "low": "1ms", "high": "5ms"},
        }
    )
    catalog = Catalog.create(root, synthetic_instruments(market))
    for (instrument, kind), columns in synthetic_records(market).items():
        catalog.write(instrument, kind, columns)
    return Catalog(root)


# --- the peer ------------------------------------------------------------------------------------


def market_of(catalog: Catalog) -> Any:
    """Return the market as the peer takes it, None without it."""
    if peer is None:
        return None
    from hftbacktest.data.validation import correct_event_order
    from hftbacktest.types import event_dtype

    from featurizer.market import StreamRequest

    first, last = catalog.range([(INSTRUMENT, "quotes")])
    columns = {
        "quotes": ("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
        "trades": ("price", "quantity", "aggressor"),
    }
    requests = [StreamRequest(INSTRUMENT, kind, names) for kind, names in columns.items()]
    parts: dict[str, list[Any]] = {kind: [] for kind in columns}
    for window in catalog.windows(requests, first, last + 1):
        for kind, kept in parts.items():
            kept.append(window.venue[INSTRUMENT, kind].columns)
    whole = {
        kind: {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
        for kind, kept in parts.items()
    }
    quotes, trades = whole["quotes"], whole["trades"]
    depth = np.zeros(4 * len(quotes["event_time"]), dtype=event_dtype)
    prices = np.stack([quotes["bid_price"], quotes["ask_price"]])
    sizes = np.stack([quotes["bid_quantity"], quotes["ask_quantity"]])
    rows, signs, price, size = levels_of(prices, sizes)
    depth = np.zeros(len(rows), dtype=event_dtype)
    side = np.where(signs > 0, peer.BUY_EVENT, peer.SELL_EVENT)
    depth["ev"] = peer.DEPTH_EVENT | side
    depth["exch_ts"], depth["local_ts"] = quotes["event_time"][rows], quotes["receipt_time"][rows]
    depth["px"], depth["qty"] = price, size
    prints = np.zeros(len(trades["event_time"]), dtype=event_dtype)
    side = np.where(trades["aggressor"] > 0, peer.BUY_EVENT, peer.SELL_EVENT)
    prints["ev"] = peer.TRADE_EVENT | side
    prints["exch_ts"], prints["local_ts"] = trades["event_time"], trades["receipt_time"]
    prints["px"], prints["qty"] = trades["price"], trades["quantity"]
    events = np.concatenate([prints, depth])
    by_exchange = np.argsort(events["exch_ts"], kind="stable")
    by_receipt = np.argsort(events["local_ts"], kind="stable")
    return correct_event_order(events, by_exchange, by_receipt)


@njit
def levels_of(prices: Any, sizes: Any) -> Any:
    """Return quotes as changes of levels: row, side, price, quantity."""
    n = prices.shape[1]
    rows, signs = np.empty(4 * n, np.int64), np.empty(4 * n, np.int64)
    price, size = np.empty(4 * n), np.empty(4 * n)
    count = 0
    for i in range(n):
        for step in range(2):  # what is gone first
            for side in range(2):
                moved = i > 0 and prices[side, i] != prices[side, i - 1]
                if step == 0 and moved:
                    rows[count], signs[count] = i, 1 - 2 * side
                    price[count], size[count] = prices[side, i - 1], 0.0
                    count += 1
                if step == 1 and (i == 0 or moved or sizes[side, i] != sizes[side, i - 1]):
                    rows[count], signs[count] = i, 1 - 2 * side
                    price[count], size[count] = prices[side, i], sizes[side, i]
                    count += 1
    return rows[:count], signs[:count], price[:count], size[:count]


def measure_peer(events: Any) -> dict[str, Any]:
    """Run the peer's market maker once."""
    asset = (
        peer.BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(LATENCY, LATENCY)
        .risk_adverse_queue_model()
        .partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.00005)
        .tick_size(TICK)
        .lot_size(LOT)
        .last_trades_capacity(0)
    )
    backtest = peer.HashMapMarketDepthBacktest([asset])
    start = perf_counter()
    orders, changes = peer_strategy(backtest)
    spent = perf_counter() - start
    fills = int(backtest.state_values(0).num_trades)
    backtest.close()
    return {
        "peer_s": spent,
        "peer_orders": int(orders),
        "peer_messages": int(orders + changes),
        "peer_fills": fills,
    }


@njit
def peer_strategy(backtest: Any) -> Any:
    """Do what `BothSides` does."""
    bid = ask = 0
    buy = sell = 0
    count = changes = 0
    while True:
        said = backtest.wait_next_feed(False, 10_000_000_000)
        if said == 1:
            break
        depth = backtest.depth(0)
        if depth.best_bid_tick != bid and depth.best_bid_tick > 0:
            bid = depth.best_bid_tick
            orders = backtest.orders(0)
            if buy in orders and orders.get(buy).cancellable:
                backtest.cancel(0, buy, False)
                changes += 1
            count += 1
            buy = count
            backtest.submit_buy_order(0, buy, bid * TICK, QUANTITY, 1, 0, False)
        if depth.best_ask_tick != ask and depth.best_ask_tick < 2147483647:
            ask = depth.best_ask_tick
            orders = backtest.orders(0)
            if sell in orders and orders.get(sell).cancellable:
                backtest.cancel(0, sell, False)
                changes += 1
            count += 1
            sell = count
            backtest.submit_sell_order(0, sell, ask * TICK, QUANTITY, 1, 0, False)
        backtest.clear_inactive_orders(0)
    return count, changes


# --- the answer ----------------------------------------------------------------------------------


def show(runs: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    report: dict[str, Any] = {
        "quotes": arguments.quotes,
        **{name: round(value, 3) for name, value in median.items()},
        "quotes_per_s": round(arguments.quotes / median["engine_s"]),
        "orders_per_s": round(median["orders"] / median["engine_s"]),
        "us_per_order": round(median["engine_s"] / median["orders"] * 1e6, 2),
        "us_per_message": round(median["engine_s"] / median["messages"] * 1e6, 2),
    }
    if "peer_s" in median:
        ratios = sorted(run["engine_s"] / run["peer_s"] for run in runs)
        report["peer_quotes_per_s"] = round(arguments.quotes / median["peer_s"])
        report["peer_us_per_order"] = round(median["peer_s"] / median["peer_orders"] * 1e6, 2)
        points = (ratios[0], statistics.median(ratios), ratios[-1])
        report["engine_to_peer"] = {
            k: round(v, 2) for k, v in zip(("min", "median", "max"), points, strict=True)
        }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:>18}  {value}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quotes", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
