"""A run keeps to one definition of its instruments, and the venue to what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backtester.errors import ScenarioError, StrategyError
from backtester.run import Run
from backtester.scenario import Scenario
from backtester.strategies import BuyAndHold
from backtester.strategy import Strategy
from featurizer.catalog import Catalog
from tests.backtester.worlds import ALPHA, Quote, at, content, instrument, make_catalog


def run(root: Path, strategy: Strategy | None = None, **others: Any) -> Any:
    scenario = Scenario.model_validate(content(root, [ALPHA], until=60, **others))
    return Run(scenario, strategy or BuyAndHold(0.1), Catalog(root), {}).execute()


def test_a_definition_that_changes_within_the_run_is_refused(tmp_path: Path) -> None:
    make_catalog(tmp_path, {ALPHA: [Quote(0), Quote(20)]})
    definitions = tmp_path / "instruments.yaml"
    earlier = definitions.read_text()
    Catalog.create(tmp_path / "other", [instrument(ALPHA, valid_from=at(30))])
    later = (tmp_path / "other" / "instruments.yaml").read_text()
    definitions.write_text(earlier + later.partition("instruments:\n")[2])
    with pytest.raises(ScenarioError, match=r"another one is valid from 2024-01-02T00:00:00\.03Z"):
        run(tmp_path)


def test_quotes_that_the_definition_rules_out_are_refused_and_not_rounded(tmp_path: Path) -> None:
    make_catalog(tmp_path, {ALPHA: [Quote(0), Quote(20, bid=99.5)]})
    definitions = tmp_path / "instruments.yaml"
    text = definitions.read_text()
    assert "0.5" in text
    definitions.write_text(text.replace("0.5", "1", 1))
    with pytest.raises(ScenarioError, match=r"`bid_price` must be a multiple of 1, .* got 99\.5"):
        run(tmp_path)


def test_turnover_counts_the_size_of_a_contract(tmp_path: Path) -> None:
    for name, size in (("one", "1"), ("hundredth", "0.01")):
        terms = [instrument(ALPHA, contract_size=size)]
        make_catalog(tmp_path / name, {ALPHA: [Quote(0), Quote(20)]}, instruments=terms)
    whole, part = (run(tmp_path / name).summary for name in ("one", "hundredth"))
    assert part["turnover"] == pytest.approx(whole["turnover"] / 100)
    assert part["fees"] == pytest.approx(whole["fees"] / 100)


def test_more_lots_than_any_ledger_holds_are_refused_in_the_callback(tmp_path: Path) -> None:
    class Greedy(Strategy):
        def on_quote(self, ctx: Any, quote: Any) -> None:
            ctx.buy(ALPHA, 1e19)

    make_catalog(tmp_path, {ALPHA: [Quote(5)]})
    with pytest.raises(StrategyError, match=r"`Greedy\.on_quote` raised OrderError"):
        run(tmp_path, Greedy())
