from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from featurizer.catalog import Catalog
from featurizer.errors import CatalogError, MarketDataError
from featurizer.ingest.refusal import Origin
from featurizer.ingest.validation import check_records
from featurizer.market import KINDS
from featurizer.synthetic import (
    SyntheticMarket,
    synthetic_instruments,
    synthetic_records,
    write_synthetic,
)
from tests.featurizer.market_examples import SECOND

ALL = ("quotes", "trades", "depth")
SHORT = SyntheticMarket(duration="20s", kinds=ALL)


def same(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(left[key][name], right[key][name]) for key in left for name in left[key]
    )


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), st.integers(1, 200))
def test_a_market_made_in_chunks_is_the_market_made_at_once(seed: int, chunk: int) -> None:
    market = SyntheticMarket(seed=seed, duration="5s", kinds=ALL, resolution="1ms")
    assert same(synthetic_records(market), synthetic_records(market, chunk))


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**40), st.sampled_from(["1us", "1ms", "50ms"]), st.sampled_from(["0.01", "0.5"])
)
def test_every_record_keeps_the_rules_of_the_market_data(
    seed: int, resolution: str, tick: str
) -> None:
    market = SyntheticMarket(
        seed=seed, duration="10s", kinds=ALL, resolution=resolution, tick_size=tick
    )
    for (_, kind), columns in synthetic_records(market).items():
        check_records(columns, KINDS[kind], synthetic_instruments(market), Origin("synthetic"))
        assert columns["event_time"][0] >= market.start
        assert columns["event_time"][-1] < market.start + market.duration
        assert (np.diff(columns["receipt_time"]) >= 0).all()


def test_another_seed_is_another_market_and_other_kinds_change_nothing() -> None:
    key = ("SIM.ALPHA", "quotes")
    alone = synthetic_records(SHORT.model_copy(update={"kinds": ("quotes",)}))
    assert np.array_equal(alone[key]["bid_price"], synthetic_records(SHORT)[key]["bid_price"])
    other = synthetic_records(SHORT.model_copy(update={"seed": 8}))
    assert not np.array_equal(alone[key]["event_time"], other[key]["event_time"])


def test_instruments_are_independent_of_each_other() -> None:
    two = SHORT.model_copy(update={"instruments": ("SIM.ALPHA", "SIM.BETA"), "kinds": ("quotes",)})
    records = synthetic_records(two)
    alpha, beta = (records[name, "quotes"]["event_time"] for name in two.instruments)
    assert np.array_equal(alpha, synthetic_records(SHORT)["SIM.ALPHA", "quotes"]["event_time"])
    assert not np.array_equal(alpha, beta)


def test_a_longer_market_begins_with_the_shorter_one() -> None:
    longer = synthetic_records(SHORT.model_copy(update={"duration": 40 * SECOND}))
    for key, columns in synthetic_records(SHORT).items():
        for name, values in columns.items():
            assert np.array_equal(longer[key][name][: len(values)], values)


def test_depth_rebuilds_the_best_prices_of_the_quotes() -> None:
    records = synthetic_records(SHORT)
    quotes, depth = records["SIM.ALPHA", "quotes"], records["SIM.ALPHA", "depth"]
    book: dict[int, dict[float, float]] = {1: {}, -1: {}}
    row = 0
    for i, sequence in enumerate(quotes["sequence"]):
        while row < len(depth["sequence"]) and depth["sequence"][row] == sequence:
            side = book[int(depth["side"][row])]
            price, quantity = float(depth["price"][row]), float(depth["quantity"][row])
            side.pop(price, None)
            if quantity:
                side[price] = quantity
            row += 1
        bid, ask = max(book[1]), min(book[-1])
        assert (bid, ask) == (quotes["bid_price"][i], quotes["ask_price"][i])
        assert book[1][bid] == quotes["bid_quantity"][i]
        assert book[-1][ask] == quotes["ask_quantity"][i]
    assert row == len(depth["sequence"])
    assert depth["is_snapshot"].sum() == 20


def test_a_trade_takes_the_best_price_of_the_quote_before_it() -> None:
    records = synthetic_records(SHORT)
    quotes, trades = records["SIM.ALPHA", "quotes"], records["SIM.ALPHA", "trades"]
    before = np.searchsorted(quotes["event_time"], trades["event_time"]) - 1
    bought = trades["aggressor"] > 0
    expected = np.where(bought, quotes["ask_price"][before], quotes["bid_price"][before])
    assert np.array_equal(trades["price"], expected)
    assert 0.2 < bought.mean() < 0.8


def test_writing_gives_the_records_and_replacing_gives_them_again(tmp_path: Path) -> None:
    midnight = 1_704_067_200 * SECOND
    market = SyntheticMarket(start=midnight - 10 * SECOND, duration="20s", kinds=ALL)
    calls: list[tuple[int, int]] = []
    rows = write_synthetic(market, tmp_path, progress=lambda *call: calls.append(call))
    records = synthetic_records(market)
    assert rows == {key: len(columns["sequence"]) for key, columns in records.items()}
    assert calls[-1][1] == 20
    assert len(list(tmp_path.glob("quotes/*/date=*"))) == 2
    key = ("SIM.ALPHA", "quotes")
    digest = Catalog(tmp_path).digest([key], market.start, midnight)
    with pytest.raises(CatalogError, match="--replace"):
        write_synthetic(market, tmp_path)
    write_synthetic(market, tmp_path, replace=True)
    assert Catalog(tmp_path).digest([key], market.start, midnight) == digest


def test_a_configuration_that_makes_no_sense_is_refused() -> None:
    with pytest.raises((ValidationError, MarketDataError), match="quote_interval"):
        SyntheticMarket(quote_interval="0ms")
    with pytest.raises((ValidationError, MarketDataError), match="resolution"):
        SyntheticMarket(start=1, resolution="1ms")
    with pytest.raises(ValidationError, match="colour"):
        SyntheticMarket(colour="red")
    assert SyntheticMarket(price=64000.5).price == Decimal("64000.5")
