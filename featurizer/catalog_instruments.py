"""`instruments.yaml`: what a catalog knows of an instrument before it holds a record."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from clock.nearest import did_you_mean
from clock.units import format_instant
from featurizer.catalog_commit import write_atomically
from featurizer.errors import CatalogError
from featurizer.market import Instrument

__all__ = [
    "Definitions",
    "group_definitions",
    "merge_definitions",
    "read_instruments",
    "read_yaml",
    "unknown_name",
    "write_instruments",
]

Definitions = dict[str, tuple[Instrument, ...]]
"""The definitions of each instrument, by `valid_from`."""


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
    entries = _entries(path)
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


def _entries(path: Path) -> list[Any]:
    document = read_yaml(path)
    entries = document.get("instruments") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise CatalogError(
            f"{path}: `instruments` must be a list: got {entries!r}. Begin the file with "
            f"`instruments:`."
        )
    return entries


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        CatalogError: If it cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "a file that is no text"
        raise CatalogError(
            f"{path}: the file must exist and be readable: got {why}. "
            f"Write the catalog again, or give the right folder."
        ) from None
    except yaml.YAMLError as error:
        raise CatalogError(f"{path}: it must be YAML: got {error}. Correct the file.") from None


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


def unknown_name(where: str, word: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is not known, with the nearest one."""
    names = list(known)
    hint = did_you_mean(name, names)
    return f"{where}: no {word} '{name}'.{hint} Known: {', '.join(names)}."
