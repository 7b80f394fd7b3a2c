"""The graph as text."""

from __future__ import annotations

from typing import Any

from featurizer.drawing import draw_mermaid, draw_text
from featurizer.graph import FeatureGraph
from tests.featurizer.feature_markets import A, B, config

FEATURES = (
    ("price.LogReturn", "return", {"window": "1s"}),
    ("price.MidPrice", "mid_b", {"instrument": B}),
    ("smoothing.Ema", "smooth", {"feature": "imbalance", "half_life": "500ms"}),
    ("book.Imbalance", "imbalance", {}),
)


def graph(**others: Any) -> FeatureGraph:
    return FeatureGraph(config(*FEATURES, **others), [A, B])


def test_a_drawing_shows_what_each_feature_reads_and_nothing_twice() -> None:
    assert draw_text(graph()).splitlines() == [
        "return  LogReturn (SIM.A, 1s)",
        "└─ MidPrice (SIM.A)",
        "   └─ quotes of SIM.A: bid_price, ask_price",
        "mid_b  MidPrice (SIM.B)",
        "└─ quotes of SIM.B: bid_price, ask_price",
        "smooth  Ema (500ms)",
        "└─ ↓ imbalance",
        "imbalance  Imbalance (SIM.A)",
        "└─ quotes of SIM.A: bid_quantity, ask_quantity",
    ]


def test_rows_of_each_instrument_say_whose_a_feature_is() -> None:
    lines = draw_text(graph(per_instrument=True)).splitlines()
    assert "smooth [SIM.A]  Ema (500ms)" in lines
    assert "smooth [SIM.B]  Ema (500ms)" in lines
    assert "mid_b  MidPrice (SIM.B)" in lines  # the same in both rows


def test_a_flowchart_leads_from_the_streams_to_the_row() -> None:
    lines = [line.strip() for line in draw_mermaid(graph()).splitlines()]
    assert lines[0] == "flowchart LR"
    assert (
        's0[("quotes of SIM.A<br/>bid_price<br/>ask_price<br/>bid_quantity<br/>ask_quantity")]'
        in lines
    )
    assert "n0 --> n1" in lines  # the mid of A, which is no column of the row, to its return
    assert "n0 --> row" not in lines
    assert sum(line.endswith("--> row") for line in lines) == 4
