"""Where results are written: refused before a long run, not after it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from backtester.errors import ScenarioError

__all__ = [
    "FRAMES",
    "RESULT_FILES",
    "check_file",
    "check_folder",
    "check_own_folder",
    "replacing",
    "writing",
]

FRAMES = (
    "orders",
    "order_changes",
    "fills",
    "payments",
    "reports",
    "equity",
    "predictions",
    "attempts",
    "deployment_changes",
    "records",
)
"""Frames of a result; each is saved as a Parquet file of that name."""

RESULT_FILES = {
    "summary.json",
    "lineage.parquet",
    "measured.parquet",
    "service_times.parquet",
    "scenario.json",
    "report.png",
    *(f"{name}.parquet" for name in FRAMES),
}

_EXPLAINED = re.compile(r"order-\d+\.png")


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
    if folder.exists():
        others = sorted(path.name for path in folder.iterdir() if not _is_ours(path.name))
        if others:
            raise ScenarioError(
                f"`--out` must be a new folder or an earlier result, which is replaced as a whole: "
                f"{folder} holds other files ({', '.join(others[:3])}). Name another one."
            )


def _is_ours(name: str) -> bool:
    return name in RESULT_FILES or _EXPLAINED.fullmatch(name) is not None


def check_file(path: Path, option: str = "--out") -> None:
    """Refuse a path that a file cannot be written to.

    Args:
        path: The file.
        option: The option that named it.

    Raises:
        ScenarioError: If it is a folder.
    """
    if path.is_dir():
        raise ScenarioError(f"`{option}` must be a file: {path} is a folder. Name a file in it.")


@contextmanager
def writing(path: Path, option: str = "--out") -> Iterator[None]:
    """Tell a failure to write as bad input.

    Args:
        path: What is written.
        option: The option that named it.

    Raises:
        ScenarioError: If the operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise ScenarioError(
            f"`{option}` must be writable: {error.strerror} ({error.filename or path}). "
            "Name another place."
        ) from error


def check_own_folder(folder: Path, files: Collection[str]) -> None:
    """Refuse a folder that holds anything but files, or folders, of these names.

    Raises:
        ScenarioError: If it is a file, the present folder or one around it, or holds others.
    """
    whole = folder.absolute().resolve()
    if whole == Path.cwd() or whole in Path.cwd().parents or folder.is_file():
        raise ScenarioError(
            f"`--out` must be a folder of its own, which is replaced as a whole: got {folder}. "
            "Name another one."
        )
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in held if name not in files]
    if others:
        raise ScenarioError(
            f"`--out` must be a new folder or an earlier one of this command, which is replaced as "
            f"a whole: {folder} holds other files ({', '.join(others[:3])}). Name another one."
        )


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of another once the block has ended well.

    Raises:
        ScenarioError: If the operating system refused.
    """
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    with writing(folder):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
