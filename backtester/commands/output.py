"""Where results are written: refused before a long run, not after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backtester.errors import ScenarioError

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["check_file", "check_folder", "save", "writing"]


def check_folder(folder: Path) -> None:
    """Refuse a folder that a result cannot be written to.

    Raises:
        ScenarioError: If it is a file, the present folder or one around it, or holds something that
            is not a result.
    """
    whole = folder.absolute().resolve()
    if whole == Path.cwd() or whole in Path.cwd().parents:
        raise ScenarioError(
            f"`--out` must be a folder of its own, which is replaced as a whole: got {folder}, "
            "which holds the present folder. Name another one."
        )
    if folder.exists() and not folder.is_dir():
        raise ScenarioError(f"`--out` must be a folder: {folder} is a file. Name another one.")
    if folder.exists() and any(folder.iterdir()) and not (folder / "summary.json").exists():
        raise ScenarioError(
            f"`--out` must be a new folder or an earlier result: {folder} holds other files. "
            "Name another one."
        )


def check_file(path: Path) -> None:
    """Refuse a path that a file cannot be written to.

    Raises:
        ScenarioError: If it is a folder.
    """
    if path.is_dir():
        raise ScenarioError(f"`--out` must be a file: {path} is a folder. Name a file in it.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell a failure to write as bad input.

    Raises:
        ScenarioError: If the operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise ScenarioError(
            f"`--out` must be writable: {error.strerror} ({error.filename or path}). "
            "Name another place."
        ) from error


def save(result: RunResult, folder: Path, *, picture: bool) -> None:
    """Save a result.

    Raises:
        ScenarioError: If the folder cannot be written.
    """
    with writing(folder):
        result.save(folder.absolute(), picture=picture)
