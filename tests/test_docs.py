"""What the README and the docs say is true: links lead somewhere, examples run."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from backtester.scenario import Scenario, load_scenario
from backtester.strategy import Strategy
from featurizer.checks import check_feature

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "scenarios" / "README.md"]
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_scenario_is_explained_and_every_explained_one_exists() -> None:
    shipped = {path.name for path in (ROOT / "scenarios").glob("*.yaml")}
    told = set(re.findall(r"\]\(([\w.-]+\.yaml)\)", (ROOT / "scenarios" / "README.md").read_text()))
    assert told == shipped


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda p: p.name)
def test_a_shipped_scenario_is_valid_and_named_like_its_file(path: Path) -> None:
    assert load_scenario(path).name == path.stem


def test_the_scenario_that_the_readme_explains_is_the_quickstart() -> None:
    shown = yaml.safe_load(blocks(ROOT / "README.md", "yaml")[0])
    whole = yaml.safe_load((ROOT / "scenarios" / "quickstart.yaml").read_text())
    for part in ("name", "seed", "data", "strategy", "execution", "portfolio"):
        assert shown[part] == whole[part]
    for part in ("training", "inference_config"):
        assert shown[part].items() <= whole[part].items()
    features = shown["featurizer"].pop("feature_configs")
    assert shown["featurizer"].items() <= whole["featurizer"].items()
    assert all(feature in whole["featurizer"]["feature_configs"] for feature in features)
    assert isinstance(Scenario.model_validate(whole), Scenario)


def test_the_classes_of_the_readme_are_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(blocks(ROOT / "README.md", "python"))
    (tmp_path / "readme_classes.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("readme_classes")
    assert issubclass(module.Cautious, Strategy)
    check_feature(module.WeightedMid)


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text()))
    assert named
    assert named <= targets


def test_every_command_that_the_readme_shows_exists() -> None:
    from typer.main import get_command

    from backtester.cli import app

    group: Any = get_command(app)
    shown = re.findall(r"^\$ lightcone (\w+)(?: (\w+))?", (ROOT / "README.md").read_text(), re.M)
    assert shown
    for name, below in shown:
        command = group.commands[name]
        if hasattr(command, "commands"):
            assert below in command.commands


def test_the_pinned_versions_name_no_registry() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+-]+", line)] == []


def test_the_changelog_keeps_a_heading_for_changed_results() -> None:
    assert "### Results change" in (ROOT / "CHANGELOG.md").read_text()
