"""The instruments that adapters know, and those that a user's file adds."""

from __future__ import annotations

from pathlib import Path

from featurizer.catalog_instruments import read_instruments
from featurizer.errors import CatalogError
from featurizer.market import Instrument

__all__ = ["find_instrument"]


def find_instrument(name: str, file: Path | None = None) -> tuple[Instrument, ...]:
    """Return the definitions of an instrument, from the user's file if it is there.

    Args:
        name: Id of the instrument.
        file: A YAML file like a catalog's `instruments.yaml`.

    Raises:
        CatalogError: If neither the file nor the built-in list defines it.
    """
    known = read_instruments(Path(__file__).with_name("instruments.yaml"))
    if file is not None:
        known |= read_instruments(file)
    if name not in known:
        raise CatalogError(
            f"{file or 'built-in instruments'}: instrument '{name}' must be defined: got only "
            f"{', '.join(known)}. Define it, with tick size, lot size, contract and fees, in a "
            f"file and give that with `--instruments FILE`."
        )
    return known[name]
