"""Writes the catalogs whose *data* leak: `python -m tests.leaks.make_data [FOLDER]`.

An honest stream lies in a catalog of its own. The markets of the other scenarios are made by
the scenarios themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurizer.catalog import Catalog
from featurizer.catalog_kinds import UserKind
from featurizer.market import FIRST_USER_KIND, Kind
from featurizer.synthetic import SyntheticMarket, synthetic_instruments, synthetic_records

Array = NDArray[Any]
SECOND = 1_000_000_000
NAME = "SIM.ALPHA"
MARKET = SyntheticMarket.model_validate({"seed": 3, "duration": "6m"})
SIGNALS = Kind("signals", FIRST_USER_KIND, {"direction": "float64"})
EARNINGS = UserKind(
    Kind("earnings", FIRST_USER_KIND, {"quarter": "int64", "surprise": "float64"}), ("quarter",)
)
REPORTS = Kind("reports", FIRST_USER_KIND, {"surprise": "float64"})


def main(folder: Path) -> None:
    """Write every catalog that is not there yet."""
    records = synthetic_records(MARKET)
    quotes = records[(NAME, "quotes")]
    price = Price(quotes["event_time"], (quotes["bid_price"] + quotes["ask_price"]) / 2)
    for name, (leaking, honest) in signals(price).items():
        write(folder / name, records, SIGNALS, leaking)
        write(folder / f"{name}_honest", records, SIGNALS, honest)
    write_bars(folder / "bars_at_open", records, price, shift=1)
    write_bars(folder / "bars", {}, price, shift=0)
    write_earnings(folder / "fundamental", records)
    write_reports(folder / "reports", records)
    (folder / "total.json").write_text('["imbalance"]')


class Price:
    """The mid as of an instant of the venue, on a grid of seconds."""

    def __init__(self, times: Array, mids: Array) -> None:
        self.times, self.mids = times, mids
        self.grid = np.arange(times[0] // SECOND + 20, times[-1] // SECOND - 20) * SECOND

    def at(self, shift: float = 0) -> Array:
        instants = self.grid + round(shift * SECOND)
        return self.mids[np.searchsorted(self.times, instants, side="right") - 1]


def signals(price: Price) -> dict[str, tuple[Array, Array]]:
    """Return the leaking and the honest column of each file of signals."""
    now, honest = price.at(), price.at() - price.at(-1)
    centred = np.mean([price.at(k) for k in range(-3, 4)], axis=0) - now
    return {
        "signal_shifted": (price.at(1) - now, honest),
        "signal_centred": (centred, honest),
        "signal_sign": (np.sign(price.at(2) - now), np.sign(honest)),
        "time_zone": (price.at(5) - price.at(4), honest),  # an hour, on this market's scale
        "daily_at_midnight": (price.at(1) - 100.0, price.at() - 100.0),  # of a day of one second
    }


def write(folder: Path, records: Any, kind: Kind, direction: Array) -> None:
    """Write a market and a file of signals of every second, received a millisecond later."""
    quotes = records[(NAME, "quotes")]
    price = Price(quotes["event_time"], quotes["bid_price"])
    given = {**stamps(price.grid), "direction": direction}
    save(folder, records, [kind], {kind.name: given})


def write_bars(folder: Path, records: Any, price: Price, shift: int) -> None:
    """Write bars of one second, whose stamp is their close; with a shift of 1 it is their open."""
    # a bar's prices are whole ticks, and a mid may lie between two
    opens, closes = (np.rint(price.at(at) * 100) / 100 for at in (shift - 1, shift))
    bars = {
        **stamps(price.grid),
        "open_time": price.grid - SECOND,
        "open": opens,
        "high": np.maximum(opens, closes),
        "low": np.minimum(opens, closes),
        "close": closes,
        "volume": np.full(len(opens), 10.0),
    }
    save(folder, records, [], {"bars": bars})


def write_earnings(folder: Path, records: Any) -> None:
    """Write surprises of twenty quarters, each restated, often with the other sign, much later."""
    random = np.random.Generator(np.random.Philox(5))
    start = MARKET.start + 10 * SECOND
    first = start + np.arange(20) * 10 * SECOND
    later = first + 120 * SECOND
    surprise = random.normal(size=20)
    restated = -surprise
    order = np.argsort(np.concatenate([first, later]), kind="stable")
    times = np.concatenate([first, later])[order]
    rows = {
        **stamps(times),
        "quarter": np.concatenate([np.arange(20), np.arange(20)])[order],
        "surprise": np.concatenate([surprise, restated])[order],
    }
    save(folder, records, [EARNINGS], {"earnings": rows})


def write_reports(folder: Path, records: Any) -> None:
    """Write what happened every five seconds, of which reports come twenty seconds later."""
    random = np.random.Generator(np.random.Philox(6))
    times = MARKET.start + np.arange(1, 68) * 5 * SECOND
    rows = {**stamps(times, delay=20 * SECOND), "surprise": random.normal(size=len(times))}
    save(folder, records, [REPORTS], {"reports": rows})


def stamps(times: Array, delay: int = 1_000_000) -> dict[str, Array]:
    return {
        "event_time": times,
        "receipt_time": times + delay,
        "sequence": np.arange(len(times)),
    }


def save(folder: Path, records: Any, kinds: list[Any], given: dict[str, Any]) -> None:
    if (folder / "instruments.yaml").exists():
        return
    catalog = Catalog.create(folder, synthetic_instruments(MARKET), kinds)
    with catalog.transaction() as change:
        for (name, kind), columns in records.items():
            change.write(name, kind, columns)
        for kind, columns in given.items():
            change.write(NAME, kind, columns)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("data/leaks"))
