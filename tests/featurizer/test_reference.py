from __future__ import annotations

from pathlib import Path

import pytest

from featurizer.definitions.lookup import all_definitions
from featurizer.reference import features_page

PAGE = Path(__file__).parents[2] / "docs/features.md"


def test_the_page_of_features_is_current() -> None:
    made = "python -m featurizer.reference > docs/features.md"
    assert PAGE.read_text(encoding="utf-8") == features_page(), f"make it anew: {made}"


@pytest.mark.parametrize("name", sorted(all_definitions()))
def test_a_definition_says_how_it_is_worked_out_and_where_that_comes_from(name: str) -> None:
    definition = all_definitions()[name]
    for said in ("formula", "unit", "warm_up", "source"):
        assert getattr(definition, said), said
    assert definition.__doc__
    assert name in features_page()
