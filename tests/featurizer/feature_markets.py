"""Small markets with many ties, and slow, plain ways to look at them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from featurizer.config import FeaturizerConfig
from featurizer.graph import FeatureRows
from featurizer.market import KINDS, Records, StreamKey

A, B = "SIM.A", "SIM.B"
MS = 1_000_000
Market = dict[StreamKey, Records]


def records(instrument: str, kind: str, received: list[int], **columns: list[float]) -> Records:
    """Records of one stream; columns not given are ones, events are 1 ms before their receipt."""
    n = len(received)
    arrays: dict[str, Any] = {
        "event_time": np.asarray(columns.pop("event_time", [t - MS for t in received]), np.int64),
        "receipt_time": np.asarray(received, np.int64),
        "sequence": np.arange(n),
    }
    for name in KINDS[kind].columns:
        arrays[name] = np.asarray(columns.pop(name, [1.0] * n), KINDS[kind].dtype(name))
    assert not columns, columns
    for array in arrays.values():
        array.flags.writeable = False
    return Records(instrument, kind, arrays)


def quotes(received: list[int], mids: list[float], instrument: str = A, **columns: Any) -> Records:
    prices = {"bid_price": [m - 0.5 for m in mids], "ask_price": [m + 0.5 for m in mids]}
    return records(instrument, "quotes", received, **prices, **columns)


def trades(received: list[int], signed: list[float], instrument: str = A) -> Records:
    return records(
        instrument,
        "trades",
        received,
        quantity=[abs(q) for q in signed],
        aggressor=[1 if q > 0 else -1 for q in signed],
    )


def market(*streams: Records) -> Market:
    return {stream.key: stream for stream in streams}


def config(*features: Any, **others: Any) -> FeaturizerConfig:
    """A config of features: `"price.MidPrice"`, or (definition, name, params)."""
    entries = []
    for feature in features:
        if isinstance(feature, str):
            entries.append({"feature_definition": feature})
        else:
            definition, name, params = feature
            entries.append({"feature_definition": definition, "name": name, "params": params})
    return FeaturizerConfig.model_validate({"feature_configs": entries, **others})


EIGHT = (
    ("price.MidPrice", "mid", {}),
    ("spread.RelativeSpread", "spread", {}),
    ("book.Imbalance", "imbalance", {}),
    ("price.LogReturn", "return", {"window": "5ms"}),
    ("volatility.RealisedVolatility", "volatility", {"window": "7ms"}),
    ("flow.TradeVolumeImbalance", "flow", {"window": "6ms"}),
    ("smoothing.Ema", "ema", {"half_life": "4ms", "feature": "imbalance"}),
    ("smoothing.Lag", "lag", {"lag": "3ms", "feature": "return"}),
)


def total_order(streams: Market) -> list[tuple[int, int, StreamKey, int]]:
    """All records as (receipt, place of the stream, stream, row), in the total order."""
    keys = sorted(streams, key=lambda key: (key[0], KINDS[key[1]].number))
    found = [
        (int(received), place, key, row)
        for place, key in enumerate(keys)
        for row, received in enumerate(streams[key].receipt_time)
    ]
    return sorted(found)


def pieces(streams: Market, cuts: list[int]) -> list[Market]:
    """Cut a market at places of its total order, by walking through it."""
    order = total_order(streams)
    result, done = [], dict.fromkeys(streams, 0)
    for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        taken = {key: sum(1 for entry in order[begin:end] if entry[2] == key) for key in streams}
        result.append(
            {
                key: stream.slice(done[key], done[key] + taken[key])
                for key, stream in streams.items()
            }
        )
        done = {key: done[key] + taken[key] for key in streams}
    return result


def joined(parts: list[FeatureRows]) -> FeatureRows:
    return FeatureRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def same_bits(left: FeatureRows, right: FeatureRows) -> bool:
    return all(
        a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True)
    )


@st.composite
def received(draw: st.DrawFn, longest: int = 25) -> list[int]:
    """Instants in whole milliseconds, most of them shared."""
    steps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 9]), max_size=longest))
    return [int(t) * MS for t in np.cumsum(steps)] if steps else []


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Quotes and trades of A, quotes of B; any of them may be empty."""
    streams = []
    for instrument in (A, B):
        times = draw(received())
        mids = [draw(st.integers(90, 110)) * 1.0 for _ in times]
        size = st.integers(1, 5)
        sizes = {
            name: [draw(size) * 1.0 for _ in times] for name in ("bid_quantity", "ask_quantity")
        }
        late = [t - draw(st.integers(0, 3)) * MS for t in times]
        streams.append(quotes(times, mids, instrument, event_time=late, **sizes))
    times = draw(received())
    streams.append(trades(times, [draw(st.sampled_from([-2.0, -1.0, 1.0, 3.0])) for _ in times]))
    return market(*streams)
