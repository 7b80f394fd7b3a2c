"""`kinds.yaml`: the kinds of records that a user declares, besides those that are built in.

    kinds:
      funding:
        columns: {rate: float64, due_time: instant}
      fundamentals:
        columns: {period_end: instant, earnings: float64}
        key: [period_end]

A column is `instant`, `int64` or `float64`. Records of one `key` are revisions of one another:
the one received later holds from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import yaml

from featurizer.catalog_commit import write_atomically
from featurizer.catalog_instruments import read_yaml
from featurizer.errors import CatalogError
from featurizer.market import FIRST_USER_KIND, KINDS, STAMPS, ColumnType, Kind

__all__ = ["UserKind", "merge_kinds", "read_kinds", "with_built_in", "write_kinds"]

_TYPES: Final = get_args(ColumnType)


@dataclass(frozen=True, slots=True)
class UserKind:
    """A kind that a user declares.

    Attributes:
        kind: Its name and columns.
        key: Columns that say what a record is about; empty where records are never revised.
    """

    kind: Kind
    key: tuple[str, ...] = ()


def with_built_in(own: Iterable[UserKind]) -> dict[str, Kind]:
    """Return the built-in kinds and a user's, by name."""
    return dict(KINDS) | {declared.kind.name: declared.kind for declared in own}


def read_kinds(path: Path) -> tuple[UserKind, ...]:
    """Return the kinds that a file declares, numbered by order of declaration.

    Raises:
        CatalogError: If a declaration is malformed.
    """
    document = read_yaml(path)
    entries = document.get("kinds") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise CatalogError(
            f"{path}: `kinds` must map names to columns: got {entries!r}. Begin the file with "
            f"`kinds:`, then `my_kind:` and below it `columns: {{my_column: float64}}`."
        )
    return merge_kinds((), [_declared(name, entry, path) for name, entry in entries.items()], path)


def _declared(name: Any, entry: Any, path: Path) -> UserKind:
    columns = entry.get("columns") if isinstance(entry, dict) else None
    unknown = sorted(set(entry) - {"columns", "key"}) if isinstance(entry, dict) else []
    if not isinstance(columns, dict) or unknown:
        got = f"`{unknown[0]}`" if unknown else repr(entry)
        raise CatalogError(
            f"{path}: kind `{name}` must have `columns`, and may have `key`: got {got}. "
            f"Write `columns: {{my_column: float64}}`."
        )
    key = entry.get("key", [])
    if not isinstance(key, list) or any(column not in columns for column in key):
        raise CatalogError(
            f"{path}: `key` of kind `{name}` must be a list of its columns "
            f"{', '.join(map(str, columns))}: got {key!r}. Correct the declaration."
        )
    return UserKind(Kind(str(name), FIRST_USER_KIND, columns), tuple(key))


def merge_kinds(
    present: Iterable[UserKind], given: Iterable[UserKind], where: object
) -> tuple[UserKind, ...]:
    """Return the kinds of a catalog and those that are added, numbered by order of declaration.

    Raises:
        CatalogError: If a name is taken, a kind is there already and declared differently, or a
            column has a type that no column can have.
    """
    merged = {declared.kind.name: declared for declared in present}
    for declared in given:
        name, columns = declared.kind.name, dict(declared.kind.columns)
        if name in KINDS or not name.isidentifier():
            raise CatalogError(
                f"{where}: the name of a kind must be a new identifier: got {name!r}. "
                f"Taken: {', '.join(KINDS)}."
            )
        _check_columns(columns, name, where)
        old = merged.get(name)
        if old is None:
            kind = Kind(name, FIRST_USER_KIND + len(merged), columns)
            merged[name] = UserKind(kind, declared.key)
        elif (list(old.kind.columns.items()), old.key) != (list(columns.items()), declared.key):
            raise CatalogError(
                f"{where}: kind `{name}` must stay as it is declared: got {_as_yaml(declared)}, "
                f"not {_as_yaml(old)}. Use another name, or another folder."
            )
    return tuple(merged.values())


def _check_columns(columns: Mapping[str, object], kind: str, where: object) -> None:
    for column, type_ in columns.items():
        if column in STAMPS or type_ not in _TYPES or not str(column).isidentifier():
            raise CatalogError(
                f"{where}: column `{column}` of kind `{kind}` must be "
                f"{', '.join(_TYPES)}, and none of {', '.join(STAMPS)}: got {type_!r}. "
                f"Correct the declaration."
            )


def write_kinds(path: Path, kinds: Iterable[UserKind]) -> None:
    """Write the kinds that a user declared, if there are any."""
    entries = {declared.kind.name: _as_yaml(declared) for declared in kinds}
    if entries:
        write_atomically(path, yaml.safe_dump({"kinds": entries}, sort_keys=False))


def _as_yaml(declared: UserKind) -> dict[str, Any]:
    entry: dict[str, Any] = {"columns": dict(declared.kind.columns)}
    return entry | ({"key": list(declared.key)} if declared.key else {})
