"""From the name of a feature definition to its class."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from pydantic import ValidationError

import featurizer.definitions
from clock.nearest import nearest
from clock.user_modules import import_user_module
from featurizer.errors import FeatureError, UnknownFeatureError
from featurizer.feature import FeatureDefinition

__all__ = ["all_definitions", "build_definition", "find_definition"]


@cache
def all_definitions() -> dict[str, type[FeatureDefinition]]:
    """Return Lightcone's own definitions, found by inspection, by name: `price.MidPrice`."""
    found = {}
    for module_info in pkgutil.iter_modules(featurizer.definitions.__path__):
        module = import_module(f"featurizer.definitions.{module_info.name}")
        for name, member in vars(module).items():
            own = _is_definition(member) and member.__module__ == module.__name__
            if own and not name.startswith("_"):  # those are parts of others
                found[f"{module_info.name}.{name}"] = member
    return dict(sorted(found.items()))


def find_definition(path: str) -> type[FeatureDefinition]:
    """Return one of our definitions by its name, or a user's by its dotted path.

    Raises:
        UnknownFeatureError: If there is no such class, or it is no feature definition.
    """
    known = all_definitions()
    if path in known:
        return known[path]
    module_name, _, name = path.rpartition(".")
    module = _imported(module_name)
    if module is None or not hasattr(module, name):
        raise UnknownFeatureError(
            f"`feature_definition` must be one of Lightcone's or the dotted path of a class: got "
            f"{path!r}. {nearest(path, known)}"
        )
    found = getattr(module, name)
    if not _is_definition(found):
        raise UnknownFeatureError(
            f"`feature_definition` must be a FeatureDefinition with inputs, start and push: got "
            f"{path!r}. Derive it from one of the classes in featurizer.feature."
        )
    return found


def build_definition(
    definition: type[FeatureDefinition], params: Mapping[str, Any], name: str
) -> FeatureDefinition:
    """Return a definition with its parameters.

    Raises:
        FeatureError: If a parameter is unknown, missing or wrong; the message names all such.
    """
    try:
        return definition.model_validate(dict(params))
    except ValidationError as error:
        faults = " ".join(_fault(fault, definition) for fault in error.errors())
        raise FeatureError(f"feature {name!r} ({definition.__name__}): {faults}") from None


def _imported(module_name: str) -> ModuleType | None:
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        return None
    return import_user_module(module_name, "feature_definition", FeatureError)


def _is_definition(member: object) -> bool:
    return (
        isinstance(member, type)
        and issubclass(member, FeatureDefinition)
        and not inspect.isabstract(member)
    )


def _fault(fault: Any, definition: type[FeatureDefinition]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown parameter `{where}`. {nearest(where, definition.model_fields)}"
    if fault["type"] == "missing":
        return f"parameter `{where}` is missing."
    message = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
    if not where:
        return f"{message}."
    return f"parameter `{where}` {message}" + (
        "." if "got" in message else f": got {fault['input']!r}."
    )
