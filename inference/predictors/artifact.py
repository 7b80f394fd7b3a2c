"""The folder that MLflow writes about a model: its flavors, its signature, and what is code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.errors import PredictorError
from inference.predictors.card import Facts, read_card
from inference.registry import artifact_digest

__all__ = ["described", "facts_of", "flavor_of", "refuse_code", "signature_names", "unreadable"]


def described(path: Path) -> Mapping[str, Any]:
    """Return what the `MLmodel` file in a folder says, nothing where there is none.

    Raises:
        PredictorError: If the file is no such description.
    """
    file = path / "MLmodel"
    if not file.is_file():
        return {}
    import yaml

    try:
        told = yaml.safe_load(file.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise unreadable(file, "a description of a model as MLflow writes it", error) from None
    if not isinstance(told, dict) or not isinstance(told.get("flavors", {}), dict):
        raise PredictorError(
            f"{file} must be a description of a model as MLflow writes it: got something else. "
            "Register the model again."
        )
    return told


def flavor_of(path: Path, name: str, a_model: str) -> Mapping[str, Any] | None:
    """Return what a folder says of one flavor of its model; None where it has no `MLmodel` file.

    Raises:
        PredictorError: If it describes a model of other flavors only.
    """
    told = described(path)
    if not told:
        return None
    flavors = told.get("flavors") or {}
    if name not in flavors:
        raise PredictorError(
            f"{path / 'MLmodel'} must describe {a_model}: got flavors {sorted(flavors)}. Name "
            "another `predictor_class_name`, or another model."
        )
    return dict(flavors[name] or {})


def signature_names(path: Path) -> tuple[str, ...] | None:
    """Return the columns that a model's signature names, in order, or None where it names none."""
    inputs = (described(path).get("signature") or {}).get("inputs")
    try:
        columns = json.loads(inputs) if inputs else []
        names = [str(column["name"]) for column in columns if column.get("type") != "tensor"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return tuple(names) or None


def facts_of(path: Path, version: str) -> Facts:
    """Return what is known of a model: its card names its columns, or else its signature does."""
    facts = read_card(path, artifact_digest(path), version)
    if facts.features is None:
        facts = facts._replace(features=signature_names(path))
    return facts


def refuse_code(file: Path, what: str, trusted: bool, instead: str) -> None:
    """Refuse a file whose loading runs code in it, unless its origin is trusted.

    Raises:
        PredictorError: Then.
    """
    if trusted:
        return
    raise PredictorError(
        f"{file} must come from the configured registry (`models:/` or `runs:/`): it is {what}, "
        f"and loading it runs whatever code it holds. Register it, save it as {instead}, or say "
        "`trust_model_files: true` in `inference_config` if you made it."
    )


def unreadable(file: Path, a_model: str, error: BaseException) -> PredictorError:
    """Return the error for a file that a library cannot read as a model."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = (lines or [""])[0][:200] or type(error).__name__
    return PredictorError(
        f"{file} must be {a_model}: got a file it cannot read ({why}). It may be cut short: "
        "register the model again."
    )


def one_file(path: Path, names: Sequence[str], a_model: str) -> Path:
    """Return a file itself, or the first of these names that a folder holds.

    Raises:
        PredictorError: If there is none.
    """
    if path.is_file():
        return path
    for name in names:
        found = sorted(path.glob(name))
        if found:
            return found[0]
    raise PredictorError(f"{path} must hold {a_model}: got no model file in it.")


def existing(file: Path, a_model: str) -> Path:
    """Return a file that a description names.

    Raises:
        PredictorError: If it is gone.
    """
    if not file.exists():
        raise PredictorError(
            f"{file} must be {a_model}: there is no such file, though the `MLmodel` beside it "
            "names it. Register the model again."
        )
    return file
