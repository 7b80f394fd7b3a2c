"""Which pydantic model stands at a validator's location."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["model_at"]


def model_at(root: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel]:
    """Return the model that a location leads to.

    Args:
        root: Model that the location starts from.
        location: Keys, indices and the tags of unions, as pydantic reports them.
    """
    here: list[Any] = [root]
    best = root
    for part in location:
        here = [found for kind in here for found in _below(kind, part)] or here
        models = [kind for kind in here if _is_model(kind)]
        tagged = [model for model in models if _tag(model) == part]
        best = (tagged or models or [best])[0]
        if tagged:
            here = list(tagged)
    return best


def _below(kind: Any, part: str | int) -> Iterator[Any]:
    if _is_model(kind):
        fields = kind.model_fields
        for name, field in fields.items():
            if part in (name, field.alias):
                yield from _choices(field.annotation)
        return
    arguments = get_args(kind)
    if get_origin(kind) is dict and len(arguments) == 2:
        yield from _choices(arguments[1])
    elif get_origin(kind) in (list, tuple) and arguments and isinstance(part, int):
        yield from _choices(arguments[0])


def _choices(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, unions and aliases taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _choices(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for choice in get_args(annotation):
            yield from _choices(choice)
    else:
        yield annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tag(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None
