"""What is wrong with a value that a user wrote, in one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from backtester.errors import ScenarioError
from backtester.scenario_file import ScenarioFile
from backtester.schema_walk import model_at
from clock.nearest import did_you_mean, nearest

__all__ = ["checked_model", "checked_value", "described", "refused"]

Model = TypeVar("Model", bound=BaseModel)

_RULES: Final = {
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "invalid_key": "must have text for its keys",
}


def described(file: ScenarioFile, root: type[BaseModel], error: ValidationError) -> str:
    """Return a line for each fault of a file, with its place in it.

    Args:
        file: The file.
        root: Model that its content was checked against.
        error: What the check found.
    """
    faults = [_message(file, root, fault) for fault in _causes(error.errors())]
    return "\n".join(dict.fromkeys(faults))


def checked_model(model: type[Model], content: dict[str, Any], where: str) -> Model:
    """Return a model made of values that a user gave elsewhere than in a file.

    Raises:
        ScenarioError: With where, what was got and what was expected.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise refused(where, error) from error


def refused(where: str, error: ValidationError) -> ScenarioError:
    """Return the error that tells what is wrong with values given elsewhere than in a file."""
    faults = []
    for fault in _causes(error.errors()):
        name = ".".join(str(part) for part in fault["loc"])
        text = _rule(fault)
        faults.append(f"{where}: `{name}` {text}" if name else f"{where}: {text}")
    return ScenarioError("\n".join(dict.fromkeys(faults)))


def checked_value(kind: Any, value: Any, what: str) -> Any:
    """Return a value as its annotated type.

    Raises:
        ScenarioError: If it is none.
    """
    try:
        try:
            adapter = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:
            adapter = TypeAdapter(kind)  # models bring a configuration of their own
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ScenarioError(f"{what} {_rule(error.errors()[0])}") from error


def _causes(faults: Sequence[Any]) -> list[Any]:
    """Return faults without those that only follow from another, deeper one."""
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(
            other is not fault and other["loc"][: len(fault["loc"])] == fault["loc"]
            for other in faults
        )
    ]


def _message(file: ScenarioFile, root: type[BaseModel], fault: Any) -> str:
    location = file.locate(fault["loc"])
    where = file.where(location)
    name = ".".join(map(str, location)) or "the scenario"
    if fault["type"] == "extra_forbidden":
        return _unknown_key(file, root, fault["loc"], location)
    if fault["type"] == "missing":
        return f"{where}: `{fault['loc'][-1]}` is missing from {name}. Add it."
    if not location and fault["type"] == "value_error":
        return f"{where}: {_rule(fault).removeprefix('is refused: ')}"
    return f"{where}: `{name}` {_rule(fault)}"


def _rule(fault: Any) -> str:
    """Return what a value broke, as the end of a sentence about it."""
    if fault["type"] == "value_error":
        # a rule of ours, which names what it is about
        text = str(fault["ctx"]["error"])
        return f"is refused: {text}{'' if text.endswith(('.', '?')) else '.'}"
    if fault["type"] == "union_tag_not_found":
        return "must say its `kind`: got a mapping without one."
    if fault["type"] == "union_tag_invalid":
        near = nearest(str(fault["ctx"]["tag"]), _tags(fault["ctx"]["expected_tags"]))
        return f"must have a known `kind`: got {fault['ctx']['tag']!r}. {near}"
    text = fault["msg"].partition(", unable to parse")[0].partition(" after validation")[0]
    for kind in ("Input", "String", "Tuple", "List", "Dictionary"):
        text = text.replace(f"{kind} should ", "must ")
    text = _RULES.get(fault["type"], text[:1].lower() + text[1:])
    got = fault["input"]
    shown = f"a {type(got).__name__}" if isinstance(got, dict | list | tuple) else repr(got)
    return f"{text}: got {shown}."


def _tags(quoted: str) -> list[str]:
    """Return the tags in pydantic's list of them: `'back', 'front'`."""
    return [tag.strip().strip("'") for tag in quoted.split(",")]


def _unknown_key(
    file: ScenarioFile,
    root: type[BaseModel],
    loc: Sequence[str | int],
    location: tuple[str | int, ...],
) -> str:
    key = str(loc[-1])
    owner = model_at(root, tuple(loc[:-1]))
    known = sorted(field.alias or name for name, field in owner.model_fields.items())
    hint = did_you_mean(key, known, "`")
    around = ".".join(str(part) for part in location[:-1]) or "the scenario"
    return (
        f"{file.where(location)}: {around} has no key `{key}`.{hint} "
        f"Known keys: {', '.join(known)}."
    )
