"""A change of a catalog, whole or not at all, whatever kills the process in the middle of it.

New files are staged in `<root>/.staging/<name>/`, where nobody reads. A commit then writes what is
to be moved and removed to `<root>/.commit.json`, in one step: with that the change has happened.
Only after it are the files moved. Who lists a catalog holds a shared lock of its root, who commits
an exclusive one, so a reader meets the journal only where a committer was killed: it reads as if
the journal had been carried out, and the next committer carries it out.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from featurizer.errors import CatalogError

__all__ = ["Staging", "carry_out", "commit", "locked", "present_files", "write_atomically"]

_JOURNAL: Final = ".commit.json"
_STAGING: Final = ".staging"


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, whole.

    The caller holds the exclusive lock of the catalog.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextmanager
def locked(root: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock of a catalog; it goes when the process does, however that ends.

    Nothing of a user's is called while it is held, and it is never held for long. Where the file
    system has no locks a catalog can be read, if nobody writes, and not be written.

    Raises:
        CatalogError: If it is to be written, and the file system has no locks.
    """
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        except OSError as error:
            if exclusive:
                raise CatalogError(
                    f"{root}: the file system must have locks for a catalog to be written: got "
                    f"{error.strerror}. Use a folder on a local disk."
                ) from None
        yield
    finally:
        os.close(handle)


class Staging:
    """A folder for files that are not yet part of a catalog.

    It is locked while its owner lives, so that others can tell what a killed process left.

    Args:
        root: Folder of the catalog.
    """

    def __init__(self, root: Path) -> None:
        self._parent = root / _STAGING
        with locked(root, exclusive=False):
            self._parent.mkdir(exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(dir=self._parent))
            self._handle = os.open(self.folder, os.O_RDONLY)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        self._count = 0

    def file(self) -> Path:
        """Return the path of a new file."""
        self._count += 1
        return self.folder / f"{self._count:05d}"

    def close(self) -> None:
        """Remove the folder and what is still in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._handle)
        with suppress(OSError):  # others stage too
            self._parent.rmdir()


def commit(root: Path, moves: Mapping[Path, Path], removals: Iterable[Path]) -> None:
    """Move staged files into the catalog and remove others, as one change.

    The caller holds the exclusive lock and has carried out what was left.

    Args:
        root: Folder of the catalog.
        moves: Where each staged file goes; what lies there is replaced.
        removals: Files that go; none of them is a target.
    """
    for staged in moves:
        _sync(staged)
    plan = {
        "moves": {str(s.relative_to(root)): str(t.relative_to(root)) for s, t in moves.items()},
        "removals": [str(path.relative_to(root)) for path in removals],
    }
    write_atomically(root / _JOURNAL, json.dumps(plan) + "\n")
    _sync(root)
    _apply(root, plan["moves"], plan["removals"])  # type: ignore[arg-type]


def carry_out(root: Path) -> None:
    """Finish the commit of a process that was killed, and sweep what killed processes staged.

    The caller holds the exclusive lock.
    """
    moves, removals = _read_journal(root)
    if moves or removals:
        _apply(root, moves, removals)
    for temporary in root.glob(".*.tmp"):
        temporary.unlink()
    for folder in root.glob(f"{_STAGING}/*"):
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its owner lives
        finally:
            os.close(handle)
    with suppress(OSError):
        (root / _STAGING).rmdir()


def present_files(root: Path, folder: Path, pattern: str) -> list[tuple[Path, Path]]:
    """Return the files of a folder as they are after the last commit; the caller holds the lock.

    Returns:
        For each file where it belongs and where it lies now: elsewhere only when the process
        that committed it was killed before it could move it.
    """
    found = {path: path for path in folder.glob(pattern)}
    moves, removals = _read_journal(root)
    for staged, target in moves.items():
        path = root / target
        if path.is_relative_to(folder) and path.relative_to(folder).match(pattern):
            found[path] = root / staged if (root / staged).exists() else path
    for name in removals:
        found.pop(root / name, None)
    return sorted(found.items())


def _read_journal(root: Path) -> tuple[dict[str, str], list[str]]:
    try:
        plan = json.loads((root / _JOURNAL).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    return plan["moves"], plan["removals"]


def _apply(root: Path, moves: Mapping[str, str], removals: Iterable[str]) -> None:
    for staged, target in moves.items():
        path = root / target
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # moved before its committer was killed
            os.replace(root / staged, path)
    for name in removals:
        (root / name).unlink(missing_ok=True)
    (root / _JOURNAL).unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
