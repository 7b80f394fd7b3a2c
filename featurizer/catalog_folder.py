"""What a catalog's folder holds: definitions, kinds, and the parts of each stream."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from clock.units import format_instant
from featurizer.catalog_commit import locked, present_files
from featurizer.catalog_instruments import Definitions, read_instruments, unknown_name
from featurizer.catalog_kinds import UserKind, read_kinds, with_built_in
from featurizer.catalog_parts import Part, list_parts
from featurizer.errors import CatalogError
from featurizer.ingest.validation import DEFAULT_MAX_LATENESS_NS
from featurizer.market import Instrument, Kind, StreamKey

__all__ = ["CatalogFolder", "user_kinds"]

_PARTS: Final = "date=*/part-*.parquet"


class CatalogFolder:
    """The folder of a catalog, looked at; `Catalog` reads and writes what is in it.

    Args:
        root: The folder.

    Raises:
        CatalogError: If it holds no catalog, or its `instruments.yaml` is wrong.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not (self.root / "instruments.yaml").exists():
            raise CatalogError(
                f"{self.root}: a catalog must hold `instruments.yaml`: got "
                f"{'a folder without it' if self.root.exists() else 'no such folder'}. Make one "
                f"with `lightcone data synth` or `lightcone data ingest`."
            )
        self.definitions: Definitions = read_instruments(self.root / "instruments.yaml")
        self.user_kinds = user_kinds(self.root)
        self.kinds: dict[str, Kind] = with_built_in(self.user_kinds)
        self._index: dict[StreamKey, list[Part]] = {}

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The newest definition of each instrument, by id."""
        return {name: entries[-1] for name, entries in self.definitions.items()}

    def instrument(self, name: str, at: int) -> Instrument:
        """Return the definition of an instrument that is valid at an instant.

        Raises:
            CatalogError: If the catalog does not know it, or not that early.
        """
        entries = self.definitions_of(name)
        valid = [entry for entry in entries if entry.valid_from <= at]
        if not valid:
            raise CatalogError(
                f"{self.root / 'instruments.yaml'}: {name} must be defined at "
                f"{format_instant(at)}: got a first `valid_from` of "
                f"{format_instant(entries[0].valid_from)}. Add an earlier definition."
            )
        return valid[-1]

    def kind(self, name: str) -> Kind:
        """Return a kind of record by name.

        Raises:
            CatalogError: If the catalog does not know it.
        """
        if name not in self.kinds:
            raise CatalogError(unknown_name(str(self.root), "kind of record", name, self.kinds))
        return self.kinds[name]

    def parts(self, instrument: str, kind: str) -> list[Part]:
        """Return the parts of a stream in order of time; none where there is no such stream.

        Raises:
            CatalogError: If a part cannot be read, or parts overlap.
        """
        key = (instrument, kind)
        if key not in self._index:
            self.definitions_of(instrument), self.kind(kind)
            with locked(self.root, exclusive=False):
                self._index[key] = self.listed(*key)
        return self._index[key]

    def listed(self, instrument: str, kind: str) -> list[Part]:
        """Return the parts of a stream as they are now; the caller holds the catalog's lock."""
        files = present_files(self.root, self.folder(instrument, kind), _PARTS)
        definitions = self.definitions_of(instrument)
        return list_parts(files, self.kind(kind), definitions, DEFAULT_MAX_LATENESS_NS)

    def streams(self) -> list[StreamKey]:
        """Return the streams that hold records, by instrument in the catalog's order, by kind."""
        with locked(self.root, exclusive=False):
            return [
                (name, kind)
                for name in self.definitions
                for kind in self.kinds
                if present_files(self.root, self.folder(name, kind), _PARTS)
            ]

    def held(self, instrument: str, kind: str) -> list[Part]:
        """Return the parts of a stream that holds records.

        Raises:
            CatalogError: If it holds none.
        """
        parts = self.parts(instrument, kind)
        if not parts:
            held = ", ".join(f"{k} of {n}" for n, k in self.streams()) or "nothing"
            raise CatalogError(
                f"{self.root}: the catalog must hold {kind} of {instrument}: got none. It holds "
                f"{held}."
            )
        return parts

    def definitions_of(self, name: str) -> tuple[Instrument, ...]:
        """Return the definitions of an instrument, by `valid_from`.

        Raises:
            CatalogError: If the catalog does not know it.
        """
        if name not in self.definitions:
            raise CatalogError(unknown_name(str(self.root), "instrument", name, self.definitions))
        return self.definitions[name]

    def key_of(self, kind: str) -> tuple[str, ...]:
        """Return the columns that say what a record of a kind is about; empty for most."""
        own = {declared.kind.name: declared.key for declared in self.user_kinds}
        return own.get(kind, ())

    def folder(self, instrument: str, kind: str) -> Path:
        """Return the folder of a stream, whether it exists or not."""
        return self.root / kind / f"instrument={instrument}"


def user_kinds(root: Path) -> tuple[UserKind, ...]:
    """Return the kinds that a catalog's `kinds.yaml` declares; none where there is no file."""
    path = root / "kinds.yaml"
    return read_kinds(path) if path.exists() else ()
