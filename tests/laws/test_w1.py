"""W1's answers: on 100 000 quotes the engine and the reference's plain loop agree exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from backtester.trace import EntryKind
from featurizer.catalog import Catalog
from featurizer.synthetic import SyntheticMarket, synthetic_records, write_synthetic
from tests.laws.harness import read_entry
from tests.reference.scenario import Instrument
from tests.reference.w1 import Answer, Quotes, w1

pytestmark = pytest.mark.slow

NAME = "SIM.ALPHA"
MARKET = SyntheticMarket.model_validate(
    {
        "instruments": (NAME,),
        "kinds": ("quotes",),
        "quote_interval": "1ms",
        "duration": "100s",
        "quantity": 50,
    }
)
LOTS, EVERY, CASH = 1, 1000, 1_000_000


class AverageAndTrade(Strategy):
    """The work of W1: an average on every quote, an order on each thousandth."""

    quote_fields = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")

    def __init__(self) -> None:
        self.average, self.count = 0.0, 0

    def on_quote(self, ctx: Any, quote: Any) -> None:
        mid = (quote.bid_price + quote.ask_price) / 2
        self.average = self.average + 0.01 * (mid - self.average) if self.count else mid
        self.count += 1
        if self.count % EVERY == 0:
            trade = ctx.buy if self.count // EVERY % 2 else ctx.sell
            trade(NAME, LOTS * float(MARKET.lot_size))


def run_engine(folder: Path, window_rows: int) -> tuple[Run, AverageAndTrade, Any]:
    write_synthetic(MARKET, folder)
    strategy = AverageAndTrade()
    scenario = Scenario.model_validate(
        {
            "name": "w1",
            "data": {
                "catalog": str(folder),
                "instruments": [NAME],
                "start": MARKET.start,
                "until": MARKET.start + MARKET.duration,
            },
            "strategy": {"class": "backtester.strategies.MLStrategy"},
            "execution": {"entry_latency": "10ms", "response_latency": 0},
            "portfolio": {"quote": "USD", "balances": {"USD": CASH}},
        }
    )
    run = Run(scenario, strategy, Catalog(folder), {}, keep_trace=True)
    return run, strategy, run.execute(window_rows)


def answer_of_the_reference() -> Answer:
    columns = synthetic_records(MARKET)[NAME, "quotes"]
    fees = MARKET.fees
    terms = Instrument(
        NAME,
        Fraction(MARKET.tick_size),
        Fraction(MARKET.lot_size),
        maker=Fraction(fees.maker),
        taker=Fraction(fees.taker),
    )
    quotes = Quotes(**{name: columns[name].tolist() for name in Quotes.__annotations__})
    until = MARKET.start + MARKET.duration
    cash = Fraction(CASH)
    return w1(terms, quotes, start=MARKET.start, until=until, cash=cash, every=EVERY, lots=LOTS)


@pytest.mark.parametrize("window_rows", [8192, 1000])
def test_the_engine_gives_the_fills_cash_and_position_of_the_plain_loop(
    tmp_path: Path, window_rows: int
) -> None:
    run, strategy, result = run_engine(tmp_path / "catalog", window_rows)
    expected = answer_of_the_reference()
    entries = [read_entry(data) for _, data in result.trace]
    fills = [entry for kind, entry in entries if kind is EntryKind.VENUE_LEDGER]
    assert len(fills) > 90
    assert [(f.instant, f.lots, f.ticks, f.fee) for f in fills] == [
        (f.venue_time, f.lots, f.ticks, f.fee) for f in expected.fills
    ]
    sent = [entry.instant for kind, entry in entries if kind is EntryKind.ORDER]
    assert sent == expected.sent_at
    account = run.venue.account
    assert (account.cash, account.fees) == (expected.cash, expected.fees)
    assert account.positions.get(NAME, 0) == expected.position
    assert strategy.average == expected.average
