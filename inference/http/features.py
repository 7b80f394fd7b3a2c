"""From rows as clients write them to the array that a model reads: every name checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clock.nearest import did_you_mean
from inference.http.errors import RefusedError, clipped
from inference.http.served import About, Floats

__all__ = ["as_array", "nearest_name"]

_LONGEST_NAME = 200

Row = dict[str, float | None] | list[float | None]


def as_array(rows: Sequence[Row], about: About, where: Sequence[str]) -> Floats:
    """Return rows as an array of shape (n, n_features), in the model's order; null becomes NaN.

    Args:
        rows: The rows as they were sent.
        about: The deployment.
        where: Name of each row in messages, as `rows[3]`.

    Raises:
        RefusedError: With status 422: an unknown, a missing or a null feature, or another number
            of values than the model reads.
    """
    names = about.feature_names
    place = {name: at for at, name in enumerate(names)}
    found = np.empty((len(rows), len(names)))
    for at, row in enumerate(rows):
        if isinstance(row, dict):
            if row.keys() != place.keys():
                raise _other_names(row, about, where[at])
            found[at] = [_number(row[name]) for name in names]
        elif len(row) == len(names):
            found[at] = [_number(value) for value in row]
        else:
            raise RefusedError(
                422,
                "wrong_number_of_features",
                f"`{where[at]}` must hold {len(names)} numbers, in the order {', '.join(names)}: "
                f"got {len(row)}.",
                where[at],
            )
    if not about.accepts_nan and np.isnan(found).any():
        at, column = (int(axis[0]) for axis in np.nonzero(np.isnan(found)))
        raise RefusedError(
            422,
            "missing_value",
            f"`{where[at]}.{names[column]}` must be a number: got null, and the model of "
            f"deployment '{about.name}' does not accept missing values.",
            f"{where[at]}.{names[column]}",
        )
    return found


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _other_names(row: dict[str, float | None], about: About, where: str) -> RefusedError:
    names = about.feature_names
    unknown = [name for name in row if name not in names]
    listed = ", ".join(names)
    if unknown:
        name = unknown[0]
        near = nearest_name(name, names)
        return RefusedError(
            422,
            "unknown_feature",
            f"`{where}` names a feature that the model does not read: got {clipped(name)}.{near} "
            f"Known: {listed}.",
            where,
        )
    missing = [name for name in names if name not in row]
    return RefusedError(
        422,
        "missing_feature",
        f"`{where}` must name every feature that the model reads: it lacks {', '.join(missing)}.",
        f"{where}.{missing[0]}",
    )


def nearest_name(name: str, known: Sequence[str]) -> str:
    """Return a question about the nearest known name; nothing for one of absurd length."""
    return "" if len(name) > _LONGEST_NAME else did_you_mean(name, known)
