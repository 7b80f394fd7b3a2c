"""What is drawn: every phenomenon of a market happens, and scenarios read back as what they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings

from backtester.causality import strategies
from backtester.causality.strategies import STEP, Example, Market
from backtester.scenario import load_scenario
from featurizer.catalog import Catalog

Rows = Sequence[dict[str, Any]]


def drawn(strategy: Any, count: int, number: int = 0) -> list[Any]:
    """Return so many examples of a strategy, the same in every run."""
    made: list[Any] = []
    tuned = settings(
        max_examples=count,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def take(example: Any) -> None:
        made.append(example)

    seed(number)(tuned(given(strategy)(take)))()
    return made


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [example for number in range(3) for example in drawn(strategies.scenarios(), 25, number)]


def gaps(rows: Rows) -> list[int]:
    return [two["event_time"] - one["event_time"] for one, two in pairwise(rows)]


def levels(rows: Rows) -> list[tuple[int, int]]:
    """Return how many bids and asks a book of depth holds after each update."""
    held: dict[tuple[int, float], float] = {}
    sizes = []
    for place, row in enumerate(rows):
        if row["is_snapshot"] and not (place and rows[place - 1]["is_snapshot"]):
            held.clear()
        held[row["side"], row["price"]] = row["quantity"]
        sides = Counter(side for (side, _), quantity in held.items() if quantity)
        sizes.append((sides[1], sides[-1]))
    return sizes


PHENOMENA: dict[str, Callable[[Market], bool]] = {
    "late": lambda m: any(r["receipt_time"] - r["event_time"] > 10 * STEP for r in every(m)),
    "reordered": lambda m: any(
        two["receipt_time"] < one["receipt_time"]
        for rows in m.streams.values()
        for one, two in pairwise(rows)
    ),
    "ties": lambda m: any(0 in gaps(rows) for rows in m.streams.values()),
    "bursts": lambda m: any(
        gaps(rows[place : place + 4]) == [0, 0, 0]
        for rows in m.streams.values()
        for place in range(len(rows) - 3)
    ),
    "gaps": lambda m: any(max(gaps(rows), default=0) >= 20 * STEP for rows in m.streams.values()),
    "halts": lambda m: any(max(gaps(rows), default=0) >= 40 * STEP for rows in m.streams.values()),
    "one-sided books": lambda m: any(
        min(sizes) == 0
        for (_, kind), rows in m.streams.items()
        if kind == "depth"
        for sizes in levels(rows)[4:]
    ),
    "revisions": lambda m: any(
        len({row["key"] for row in rows}) < len(rows)
        for (_, kind), rows in m.streams.items()
        if kind == "signals"
    ),
    **{
        f"kind {name}": lambda m, name=name: any(kind == name for _, kind in m.streams)  # type: ignore[misc]
        for name in ("quotes", "trades", "depth", "bars", "signals", "funding")
    },
    **{
        f"contract {name}": lambda m, name=name: any(one["contract"] == name for one in m.terms)  # type: ignore[misc]
        for name in ("spot", "linear", "inverse")
    },
    "three instruments": lambda m: len(m.names) == 3,
}


def every(market: Market) -> list[dict[str, Any]]:
    return [row for rows in market.streams.values() for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", PHENOMENA)
def test_a_phenomenon_of_markets_is_drawn(name: str, examples: list[Example]) -> None:
    assert sum(PHENOMENA[name](example.market) for example in examples) >= 3


SETTINGS = {
    "two loops": lambda s: len(s["inference_config"]) == 2,
    "variants": lambda s: any("variants" in loop for loop in s["inference_config"].values()),
    "faults": lambda s: "faults" in str(s["inference_config"]),
    "a cache": lambda s: any("cache" in loop for loop in s["inference_config"].values()),
    "an autoscaler": lambda s: "autoscaling_config" in str(s["inference_config"]),
    "a breaker": lambda s: "circuit_breaker" in str(s["inference_config"]),
    "own requests": lambda s: s["strategy"]["params"]["plan"]["asks"] is not None,
    "brackets": lambda s: "'bracket'" in str(s["strategy"]["params"]),
    "rows of each instrument": lambda s: s["featurizer"].get("per_instrument", False),
    "no features": lambda s: not s["featurizer"],
    **{
        key: lambda s, key=key: s["execution"].get(key) is not None  # type: ignore[misc]
        for key in ("funding", "overload", "rate_limit", "risk", "fees", "margin", "book")
    },
    "a decision takes time": lambda s: s["execution"].get("decision_latency", 0) != 0,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_part_of_scenarios_is_drawn(name: str, examples: list[Example]) -> None:
    empty: dict[str, Any] = {"inference_config": {}, "featurizer": {}}
    assert sum(SETTINGS[name]({**empty, **example.mapping}) for example in examples) >= 2


@pytest.mark.slow
def test_an_example_reads_back_as_what_it_is(examples: list[Example], tmp_path: Path) -> None:
    for number, example in enumerate(examples[:12]):
        file = example.write(tmp_path / str(number))
        assert load_scenario(file).name == "drawn"
        catalog = Catalog(file.parent / "catalog")
        assert set(catalog.streams()) == set(example.market.streams)
        for key, rows in example.market.streams.items():
            assert sum(part.summary.rows for part in catalog.held(*key)) == len(rows)


@pytest.mark.slow
def test_an_example_prints_as_a_scenario_and_a_table_of_its_records(
    examples: list[Example],
) -> None:
    example = max(examples, key=lambda one: len(every(one.market)))
    text = repr(example)
    assert yaml.safe_load(text)["data"]["instruments"] == example.market.names
    table = [line for line in text.splitlines() if line.startswith("# ") and " of SIM." in line]
    assert len(table) == 60
    assert f"# … and {len(every(example.market)) - 60} more" in text
    assert all(len(line) < 160 for line in table)


def test_what_breaks_is_kept_with_the_command_that_shows_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = drawn(strategies.scenarios(steps=20), 1)
    with (
        pytest.raises(AssertionError, match="broken") as raised,
        example.written(keep="kept") as file,
    ):
        raise AssertionError(f"broken: {file}")
    (folder,) = (tmp_path / "kept").iterdir()
    note = raised.value.__notes__[0]
    assert f"lightcone swarm --again {folder}" in note
    assert "strategy:" in note
    assert (folder / "scenario.yaml").read_text() == example.yaml()
    assert (folder / "catalog" / "instruments.yaml").exists()


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "causality.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}
    exec(code.replace("max_examples=20", "max_examples=4, database=None"), names)
    names["test_nothing_is_lost_and_nothing_looks_ahead"]()
