"""Records of the user's own: handed to a strategy, looked up, and read by a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backtester.errors import ScenarioError, StrategyError
from backtester.result import RunResult
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from featurizer.catalog import Catalog
from featurizer.feature import Market, Pointwise
from featurizer.market import FIRST_USER_KIND, Kind
from tests.backtester.worlds import ALPHA, BETA, Quote, at, columns, content, instrument, since

SIGNAL = Kind("signal", FIRST_USER_KIND, {"level": "float64"})


class Level(Pointwise):
    """The newest level of the signal."""

    def inputs(self) -> tuple[Any, ...]:
        return (Market("signal", ("level",)),)

    def value(self, level: Any) -> Any:
        return level * 1.0


class Listener(Strategy):
    """Writes down each record, and what a lookup says at each quote."""

    data_fields = {"signal": ("level", "event_time")}  # noqa: RUF012

    def __init__(self) -> None:
        self.heard: list[tuple[float, str, float]] = []
        self.seen: list[tuple[float, float | None]] = []
        self.rows: list[tuple[float, float]] = []

    def on_data(self, ctx: Any, record: Any) -> None:
        assert record.kind == "signal"
        self.heard.append((since(ctx.now), record.instrument, record.level))

    def on_quote(self, ctx: Any, quote: Any) -> None:
        newest = ctx.data("signal", ALPHA)
        self.seen.append((since(ctx.now), None if newest is None else newest.level))

    def on_features(self, ctx: Any, row: Any) -> None:
        self.rows.append((since(ctx.now), row.value("level")))


def signals(rows: list[tuple[float, float, float]]) -> dict[str, np.ndarray]:
    """Return (happened, received, level) as the columns of a catalog."""
    happened, received, levels = zip(*rows, strict=True)
    return {
        "event_time": np.array([at(ms) for ms in happened]),
        "receipt_time": np.array([at(ms) for ms in received]),
        "sequence": np.arange(len(rows)),
        "level": np.array(levels),
    }


def play(folder: Path, strategy: Strategy, mode: Any = None, window_rows: int = 8192) -> RunResult:
    catalog = Catalog.create(
        folder / f"{mode}-{window_rows}", [instrument(ALPHA), instrument(BETA)], [SIGNAL]
    )
    for name in (ALPHA, BETA):
        catalog.write(name, "quotes", columns([Quote(float(n)) for n in range(0, 50, 5)]))
    # the second record happened before the third and is received after it
    rows = [(10.0, 12.0, 1.0), (11.0, 31.0, 2.0), (13.0, 20.0, 3.0), (40.0, 40.0, 4.0)]
    catalog.write(ALPHA, "signal", signals(rows))
    features = {
        "sampling": {"input": "quotes", "instrument": ALPHA},
        "feature_configs": [{"feature_definition": f"{__name__}.Level", "name": "level"}],
    }
    scenario = Scenario.model_validate(
        content(catalog.root, [ALPHA, BETA], until=60, featurizer=features)
    )
    return Run(scenario, strategy, Catalog(catalog.root), {}, mode=mode).execute(window_rows)


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest imports this file under a name that nothing else can import
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _module())


def _module() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.Level = Level  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("mode", ["ahead", "lockstep"])
@pytest.mark.parametrize("window_rows", [2, 8192])
def test_a_users_record_is_heard_when_it_is_received_and_not_when_it_happened(
    tmp_path: Path, mode: str, window_rows: int
) -> None:
    listener = Listener()
    play(tmp_path, listener, mode, window_rows)
    assert listener.heard == [
        (12, ALPHA, 1.0),
        (20, ALPHA, 3.0),
        (31, ALPHA, 2.0),
        (40, ALPHA, 4.0),
    ]
    seen = dict(listener.seen)
    assert (seen[10], seen[15], seen[25], seen[35]) == (None, 1.0, 3.0, 2.0)


def test_quotes_of_an_instant_come_before_a_users_record_of_the_same_instant(
    tmp_path: Path,
) -> None:
    listener = Listener()
    play(tmp_path, listener)
    # at 20 ms and at 40 ms quote and record are received together: the quote's kind comes first
    at_once = [level for now, level in listener.seen if now == 20]
    assert at_once[0] == 1.0
    # the other instrument's quote comes after the first instrument's record
    assert at_once[1] == 3.0


@pytest.mark.parametrize("mode", ["ahead", "lockstep"])
def test_a_feature_reads_a_users_kind_as_of_its_row(tmp_path: Path, mode: str) -> None:
    listener = Listener()
    play(tmp_path, listener, mode)
    rows = dict(listener.rows)
    assert np.isnan(rows[10])
    assert (rows[15], rows[25], rows[35], rows[45]) == (1.0, 3.0, 2.0, 4.0)


def test_a_kind_that_the_catalog_has_nothing_of_is_refused(tmp_path: Path) -> None:
    class Deaf(Strategy):
        data_fields = {"depth": ("price",)}  # noqa: RUF012

    with pytest.raises(ScenarioError, match=r"got 'depth', of which there is nothing"):
        play(tmp_path, Deaf())


def test_a_lookup_of_a_kind_that_was_not_declared_names_those_that_were(tmp_path: Path) -> None:
    class Curious(Strategy):
        data_fields = {"signal": ("level",)}  # noqa: RUF012

        def on_quote(self, ctx: Any, quote: Any) -> None:
            ctx.data("funding", ALPHA)

    with pytest.raises(StrategyError, match="Known: signal"):
        play(tmp_path, Curious())
