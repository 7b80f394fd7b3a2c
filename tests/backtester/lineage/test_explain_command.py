"""`lightcone run --lineage` and `lightcone explain`, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from backtester.cli import _exit_code
from backtester.report.lineage_picture import draw_chain
from backtester.report.lineage_table import chain_of
from backtester.result import load_result

pytestmark = pytest.mark.slow

SCENARIO = """
name: explained
seed: 1
data:
  catalog: data/explained
  synthetic: {seed: 3, duration: 20s, start: 2024-01-01T00:00:00Z}
  instruments: [SIM.ALPHA]
  start: 2024-01-01T00:00:05Z
  until: 2024-01-01T00:00:18Z
featurizer:
  sampling: 100ms
  feature_configs:
    - {feature_definition: price.MidPrice, name: mid}
strategy: {class: mine_explained.Mover}
execution: {entry_latency: 2ms, response_latency: 2ms}
portfolio: {quote: USD, balances: {USD: 100000}}
"""

MINE = """
from backtester.strategy import Strategy

class Mover(Strategy):
    def __init__(self):
        self.rows = 0
    def on_features(self, ctx, row):
        self.rows += 1
        if self.rows == 20:
            self.order = ctx.buy("SIM.ALPHA", 1, limit_price=ctx.book().bids[0].price - 1)
        elif self.rows == 40:
            ctx.modify(self.order, limit_price=ctx.quote().bid_price + 1)
        elif self.rows == 60:
            ctx.sell("SIM.ALPHA", 1)
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    (tmp_path / "mine_explained.py").write_text(MINE)


def code(*arguments: str) -> int:
    return _exit_code(list(arguments))


def test_a_chain_is_printed_drawn_and_given_as_json(capsys):
    assert code("run", "scenario.yaml", "--no-report") == 0
    digest = load_result("runs/explained").trace_digest
    assert code("run", "scenario.yaml", "--no-report", "--lineage") == 0
    assert load_result("runs/explained").trace_digest == digest
    capsys.readouterr()
    assert code("explain", "runs/explained", "1") == 0
    text = capsys.readouterr().out
    for part in (
        "order 1: buy 1 SIM.ALPHA, limit",
        "decision in on_features, rank feature_row",
        "feature row 19 of SIM.ALPHA, woke it",
        "quotes of SIM.ALPHA, sequence",
        "change 1: modify",
        "order: filled",
    ):
        assert part in text
    assert Path("runs/explained/order-1.png").read_bytes().startswith(b"\x89PNG")
    assert code("explain", "runs/explained", "1", "--json", "--no-picture") == 0
    chain = json.loads(capsys.readouterr().out)
    assert [link["link"] for link in chain["links"]] == ["decision", "row", "record", "record"]
    assert [link["how"] for link in chain["links"]] == ["", "woke", "included", "read"]
    assert chain["links"][0]["decided_at"] == chain["links"][1]["visible_at"]
    assert [change["kind"] for change in chain["changes"]] == ["modify"]
    assert len(chain["fills"]) == 1
    # a picture does not stand in the way of the next run
    assert code("run", "scenario.yaml", "--no-report", "--lineage") == 0
    assert not Path("runs/explained/order-1.png").exists()


def test_what_cannot_be_explained_is_told_in_one_message(capsys):
    assert code("run", "scenario.yaml", "--no-report", "--lineage") == 0
    assert code("run", "scenario.yaml", "--no-report", "--out", "runs/bare") == 0
    capsys.readouterr()
    for folder, order, message in (
        ("runs/nothing", "1", "`runs/nothing` must be the folder of a saved run"),
        ("runs/bare", "1", "`runs/bare` must be a run with lineage"),
        ("runs/explained", "3", "`ORDER` must be one of the 2 orders of the run, 1 to 2, in"),
        ("runs/explained", "0", "`ORDER` must be one of the 2 orders"),
    ):
        assert code("explain", folder, order) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"lightcone: {message}")
        assert error.count("\n") == 1
    assert code("explain", "runs/explained", "one") == 2


def test_a_chain_is_drawn_whatever_is_missing_of_it(tmp_path):
    assert code("run", "scenario.yaml", "--no-report", "--lineage") == 0
    chain = chain_of(load_result("runs/explained"), 2, "runs/explained")
    chain["links"] = chain["links"][:1]
    chain["fills"] = []
    del chain["order"]["arrived_at"]
    draw_chain(chain, tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 0


def test_every_order_of_a_run_has_its_chain():
    assert code("run", "scenario.yaml", "--no-report", "--lineage") == 0
    result = load_result("runs/explained")
    assert result.lineage is not None
    decisions = result.lineage.filter((pl.col("link") == "decision") & (pl.col("change") == 0))
    assert decisions["order"].to_list() == result.orders["order"].to_list()
    assert decisions["decided_at"].equals(result.orders["decided_at"])
