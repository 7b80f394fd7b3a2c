"""Modules that users name in their files: found from the folder a command is run from."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from clock.errors import InputError

__all__ = ["import_user_module"]


def import_user_module(name: str, field: str, refusal: type[InputError]) -> ModuleType | None:
    """Import a module by its dotted name; None if there is none of that name.

    Args:
        name: The name, `package.module`.
        field: Where the user wrote it, for messages.
        refusal: The error that tells the user.

    Raises:
        InputError: As *refusal*, if the module cannot be imported; the message names the line.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except SyntaxError as error:
        raise refusal(
            f"{error.filename}:{error.lineno}: `{field}` must lead to valid Python: got a "
            f"{type(error).__name__}, {error.msg}. Correct the file."
        ) from error
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise refusal(
            f"{_line_of(error)}: `{field}` must lead to a module that can be imported: got "
            f"{name!r}, which needs {error.name!r}. Install it, or correct the import."
        ) from error
    except Exception as error:  # whatever the user's module does
        raise refusal(
            f"{_line_of(error)}: `{field}` must lead to a module that can be imported: got "
            f"{name!r}, which raises {type(error).__name__}, {_first_line(error)}. Correct the "
            "file."
        ) from error


def _line_of(error: Exception) -> str:
    """Return the line of the user's that the error came by, whoever raised it in the end."""
    frames = traceback.extract_tb(error.__traceback__)
    code = [f for f in frames if f.filename != __file__ and not f.filename.startswith("<frozen")]
    own = [frame for frame in code if not _is_a_librarys(frame.filename)]
    frame = (own or code or list(frames))[-1]
    return f"{frame.filename}:{frame.lineno}"


def _is_a_librarys(path: str) -> bool:
    return path.startswith((sys.base_prefix, sys.prefix)) or "site-packages" in path


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else "which says nothing").rstrip(".")
