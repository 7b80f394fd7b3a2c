"""`instruments.yaml` and `kinds.yaml`: what a catalog knows before it holds a record."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from clock.units import format_instant
from featurizer.errors import CatalogError
from featurizer.market import FIRST_USER_KIND, KINDS, STAMPS, Instrument, Kind

__all__ = [
    "Definitions",
    "group_definitions",
    "merge_definitions",
    "merge_kinds",
    "read_instruments",
    "read_kinds",
    "unknown_name",
    "write_atomically",
    "write_instruments",
    "write_kinds",
]

Definitions = dict[str, tuple[Instrument, ...]]
"""The definitions of each instrument, by `valid_from`."""

_COLUMN_TYPES: Final = ("instant", "int64", "float64")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, whole."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".", suffix=".tmp", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def group_definitions(instruments: Iterable[Instrument], where: str) -> Definitions:
    """Return the definitions of each instrument in order of validity.

    Raises:
        CatalogError: If two definitions of one instrument begin at one instant.
    """
    grouped: dict[str, list[Instrument]] = {}
    for instrument in instruments:
        grouped.setdefault(instrument.id, []).append(instrument)
    for name, entries in grouped.items():
        entries.sort(key=lambda entry: entry.valid_from)
        for earlier, later in pairwise(entries):
            if earlier.valid_from == later.valid_from:
                raise CatalogError(
                    f"{where}: `valid_from` of {name} must differ between its definitions: got "
                    f"{format_instant(later.valid_from)} twice. Keep one of them."
                )
    return {name: tuple(entries) for name, entries in grouped.items()}


def read_instruments(path: Path) -> Definitions:
    """Return the instruments that a YAML file defines.

    The file holds `instruments:`, a list of entries with the fields of `Instrument`; an id may
    occur again with a later `valid_from`.

    Raises:
        CatalogError: If the file is missing or an entry lacks its tick size, fees, ….
    """
    entries = _read_list(path, "instruments")
    return group_definitions(
        (_instrument(entry, number, path) for number, entry in enumerate(entries, 1)), str(path)
    )


def merge_definitions(present: Definitions, given: Definitions, path: Path) -> Definitions:
    """Return the definitions of a catalog and those that are added.

    Raises:
        CatalogError: If an instrument is there already and defined differently.
    """
    for name, entries in given.items():
        if present.get(name, entries) != entries:
            raise CatalogError(
                f"{path}: {name} must stay as it is defined: got {entries}, not {present[name]}. "
                f"Edit the file, or use another folder."
            )
    return present | given


def write_instruments(path: Path, definitions: Definitions) -> None:
    """Write the instruments of a catalog."""
    entries = [entry.model_dump(mode="json") for group in definitions.values() for entry in group]
    write_atomically(path, yaml.safe_dump({"instruments": entries}, sort_keys=False))


def _read_list(path: Path, key: str) -> list[Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(
            f"{path}: the file must exist and be readable: got {error.strerror}. "
            f"Write the catalog again, or give the right folder."
        ) from None
    except yaml.YAMLError as error:
        raise CatalogError(f"{path}: it must be YAML: got {error}. Correct the file.") from None
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise CatalogError(
            f"{path}: `{key}` must be a list: got {entries!r}. Begin the file with `{key}:`."
        )
    return entries


def _instrument(entry: Any, number: int, path: Path) -> Instrument:
    name = entry.get("id", f"entry {number}") if isinstance(entry, dict) else f"entry {number}"
    try:
        return Instrument.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "entry"
        if first["type"] == "missing":
            raise CatalogError(
                f"{path}: instrument {name}: `{field}` must be stated: got nothing. "
                f"Add `{field}`; there is no default for it."
            ) from None
        raise CatalogError(
            f"{path}: instrument {name}: `{field}` is not valid: got {first['input']!r} "
            f"({first['msg']}). Correct the entry."
        ) from None


def read_kinds(path: Path) -> dict[str, Kind]:
    """Return the built-in kinds and those that a catalog's `kinds.yaml` declares, if it exists.

    Raises:
        CatalogError: If a declaration is malformed.
    """
    if not path.exists():
        return dict(KINDS)
    kinds = []
    for number, entry in enumerate(_read_list(path, "kinds")):
        valid = isinstance(entry, dict) and isinstance(entry.get("columns"), dict)
        if not valid or not isinstance(entry.get("name"), str):
            raise CatalogError(
                f"{path}: a kind must have `name` and `columns`: got {entry!r}. Correct the entry."
            )
        kinds.append(Kind(entry["name"], FIRST_USER_KIND + number, entry["columns"]))
    return merge_kinds(kinds, str(path))


def merge_kinds(kinds: Sequence[Kind], where: str) -> dict[str, Kind]:
    """Return the built-in kinds and a user's, which are numbered by order of declaration.

    Raises:
        CatalogError: If a name is taken, or a column has a type that no column can have.
    """
    merged = dict(KINDS)
    for number, kind in enumerate(kinds, FIRST_USER_KIND):
        if kind.name in merged or not kind.name.isidentifier():
            raise CatalogError(
                f"{where}: the name of a kind must be a new identifier: got {kind.name!r}. "
                f"Taken: {', '.join(merged)}."
            )
        _check_columns(kind.columns, kind.name, where)
        merged[kind.name] = Kind(kind.name, number, dict(kind.columns))
    return merged


def _check_columns(columns: Mapping[str, object], kind: str, where: str) -> None:
    for column, type_ in columns.items():
        if column in STAMPS or type_ not in _COLUMN_TYPES:
            raise CatalogError(
                f"{where}: column `{column}` of kind `{kind}` must be "
                f"{', '.join(_COLUMN_TYPES)}, and none of {', '.join(STAMPS)}: got {type_!r}. "
                f"Correct the declaration."
            )


def write_kinds(path: Path, kinds: Mapping[str, Kind]) -> None:
    """Write the kinds of a catalog that are not built in, if there are any."""
    own = [{"name": k.name, "columns": dict(k.columns)} for k in kinds.values() if k.number >= 100]
    if own:
        write_atomically(path, yaml.safe_dump({"kinds": own}, sort_keys=False))


def unknown_name(where: str, word: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is not known, with the nearest one."""
    names = list(known)
    near = get_close_matches(name, names, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{where}: no {word} '{name}'.{hint} Known: {', '.join(names)}."
