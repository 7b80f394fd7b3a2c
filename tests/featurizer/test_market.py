from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from pydantic import ValidationError

from featurizer.market import (
    BARS,
    DEPTH,
    KINDS,
    QUOTES,
    STAMPS,
    TRADES,
    Instrument,
    Records,
    StreamRequest,
)
from tests.featurizer.market_examples import ALPHA, quotes

FIELDS = {
    "id": "A.B",
    "tick_size": "0.1",
    "lot_size": 0.001,
    "contract": "spot",
    "base": "B",
    "quote": "Q",
    "fees": {"maker": -0.0001, "taker": 0.0005},
}


def test_a_float_of_yaml_becomes_the_decimal_that_was_written() -> None:
    instrument = Instrument(**FIELDS)
    assert instrument.lot_size == Decimal("0.001")
    assert instrument.fees.maker == Decimal("-0.0001")


def test_an_instrument_round_trips_through_json() -> None:
    assert Instrument.model_validate_json(ALPHA.model_dump_json()) == ALPHA


@pytest.mark.parametrize("field", ["id", "tick_size", "lot_size", "contract", "quote", "fees"])
def test_an_instrument_without_a_field_is_refused(field: str) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != field}
    with pytest.raises(ValidationError, match=field):
        Instrument(**fields)


@pytest.mark.parametrize(
    "change",
    [
        {"tick_size": 0},
        {"lot_size": "-1"},
        {"tick_size": "nan"},
        {"contract": "option"},
        {"fees": {"maker": 0}},
        {"id": "../up"},
        {"colour": "red"},
    ],
)
def test_an_instrument_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Instrument(**(FIELDS | change))


def test_kinds_are_numbered_quotes_trades_depth_bars() -> None:
    assert [kind.number for kind in (QUOTES, TRADES, DEPTH, BARS)] == [0, 1, 2, 3]
    assert list(KINDS) == ["quotes", "trades", "depth", "bars"]


def test_every_kind_begins_with_the_stamps() -> None:
    for kind in KINDS.values():
        assert tuple(kind.all_columns)[:3] == STAMPS


def test_empty_records_have_the_types_of_their_kind_and_are_read_only() -> None:
    records = Records.empty("X", TRADES)
    assert len(records) == 0
    assert records.columns["aggressor"].dtype == np.int64
    assert records.columns["price"].dtype == np.float64
    assert not records.event_time.flags.writeable


def test_a_slice_of_records_copies_nothing() -> None:
    records = Records("X", "quotes", quotes([1, 2, 3]))
    part = records.slice(1, 3)
    assert len(part) == 2
    assert part.key == ("X", "quotes")
    assert np.shares_memory(part.columns["bid_price"], records.columns["bid_price"])
    assert part.sequence.tolist() == [1, 2]
    assert StreamRequest("X", "quotes").key == part.key


@pytest.mark.slow
def test_importing_the_market_brings_no_heavy_library() -> None:
    code = (
        "import sys, featurizer, featurizer.market, featurizer.errors;"
        "print([m for m in ('numba','polars','pyarrow','xgboost','mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
