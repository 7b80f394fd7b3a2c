"""The reference of the features, `docs/features.md`, from the definitions themselves.

python -m featurizer.reference > docs/features.md
"""

from __future__ import annotations

import sys
from inspect import cleandoc
from typing import Any

from clock.units import format_duration
from featurizer import operators
from featurizer.definitions.lookup import all_definitions
from featurizer.feature import FeatureDefinition, Market

__all__ = ["features_page"]

_HEAD = """\
# Features

<!-- Made by `python -m featurizer.reference > docs/features.md`; a test keeps it current. -->

A scenario names a definition (`price.LogReturn`), gives it a `name` and its `params`; to have one
over several horizons, list it several times. `instrument` (default: the scenario's first, or the
row's own with `per_instrument`) says whose records; a *feature of a feature* takes the name of
another in `feature` instead, and is made from the mid otherwise. `read` says when a value changes:
*held* from one update to the next, or *read* at the instant of the row.
"""


def features_page() -> str:
    """Return the page: rules for all operators, then each definition with what it declares."""
    parts = [_HEAD, "## Rules\n", _rules(), "## Overview\n", _overview(), "## Definitions"]
    for name, definition in all_definitions().items():
        parts.append(_section(name, definition))
    return "\n".join(parts).rstrip() + "\n"


def _rules() -> str:
    text = cleandoc(operators.__doc__ or "")
    return text[text.index("* **Boundary") :] + "\n"


def _overview() -> str:
    rows = ["| definition | inputs | unit | source |", "|---|---|---|---|"]
    for name, definition in all_definitions().items():
        inputs = ", ".join(_inputs(definition))
        cells = (f"[`{name}`](#{_anchor(name)})", inputs, definition.unit, definition.source)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def _section(name: str, definition: type[FeatureDefinition]) -> str:
    lines = [
        f"\n### {name}\n",
        cleandoc(definition.__doc__ or "") + "\n",
        f"- formula: `` {definition.formula} ``",
        f"- inputs: {', '.join(_inputs(definition))}",
        f"- parameters: {', '.join(_parameters(definition)) or 'none of its own'}",
        f"- unit: {definition.unit}",
        f"- warm-up: NaN until {definition.warm_up}"
        if definition.warm_up != "none"
        else "- warm-up: none",
        f"- read: {'held' if definition.held else 'at the row'}",
        f"- source: {definition.source}",
    ]
    return "\n".join(lines)


def _anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _inputs(definition: type[FeatureDefinition]) -> list[str]:
    """Return what an example of the definition reads."""
    found = []
    for source in _example(definition).inputs():
        if isinstance(source, Market):
            columns = ", ".join(source.columns)
            found.append(f"{source.kind} ({columns})")
        elif isinstance(source, str):
            found.append("a feature")
        elif type(source).__name__.startswith("_"):  # a part of the definition
            found += _inputs(type(source))
        else:
            found.append(f"`{type(source).__name__}` or a feature" if _choosable(definition) else
                         f"`{type(source).__name__}`")  # fmt: skip
    return found


def _choosable(definition: type[FeatureDefinition]) -> bool:
    return "feature" in definition.model_fields


def _example(definition: type[FeatureDefinition]) -> FeatureDefinition:
    """Return a definition without checks, only to be asked for its inputs."""
    values: dict[str, Any] = {}
    for name, field in definition.model_fields.items():
        values[name] = None if field.is_required() else field.default
    return definition.model_construct(**values)


def _parameters(definition: type[FeatureDefinition]) -> list[str]:
    found = []
    for name, field in definition.model_fields.items():
        if name in ("instrument", "feature"):
            continue
        if field.is_required():
            found.append(f"`{name}`")
        elif field.default is None:
            found.append(f"`{name}` (or none)")
        else:
            long = isinstance(field.default, int) and field.default >= 1_000_000
            shown = format_duration(field.default) if long else field.default
            found.append(f"`{name}` (default {shown})")
    return found


if __name__ == "__main__":
    sys.stdout.write(features_page())
