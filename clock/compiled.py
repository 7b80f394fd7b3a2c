"""The one way this project compiles a kernel, and where the machine code is kept.

Numba's cache does not see a change in a callee from another file. So the cache folder is named by
a digest of all our sources: any edit starts a fresh folder, and two versions never mix.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import binding  # type: ignore[import-untyped]

PACKAGES = ("backtester", "clock", "featurizer", "inference")
KEPT_CACHES = 16
"""Folders of older sources that stay, newest first; branches come and go."""

_CACHE_NAME = re.compile("[0-9a-f]{24}")

_F = TypeVar("_F", bound=Callable[..., Any])
_A = TypeVar("_A", bound=np.ndarray[Any, Any])


def source_digest(root: Path, packages: Iterable[str] = PACKAGES) -> str:
    """Return a digest of every Python source of the packages below a folder.

    It depends on the files' names relative to *root* and on their bytes, not on where the root is.
    Missing packages count as empty.
    """
    digest = hashlib.blake2b(digest_size=12)
    for package in sorted(packages):
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            name = path.relative_to(root).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def cache_root() -> Path:
    """Return the folder for compiled kernels: `LIGHTCONE_CACHE_DIR`, or the user's cache folder."""
    own = os.environ.get("LIGHTCONE_CACHE_DIR")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "lightcone"


def cache_folder(root: Path | None = None) -> Path:
    """Return the folder of kernels for these sources, this numba and this processor; make it.

    Falls back to a private temporary folder, removed at exit, where *root* cannot be written: the
    kernels then compile anew in every process.
    """
    sources = source_digest(Path(__file__).resolve().parent.parent)
    processor = binding.get_host_cpu_name()
    name = hashlib.blake2b(
        f"{sources}\0{numba.__version__}\0{processor}".encode(), digest_size=12
    ).hexdigest()
    try:
        folder = (root or cache_root()) / name
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # also proves that the folder is ours to write
        if not os.access(folder, os.W_OK):
            raise PermissionError(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="lightcone-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder
    _forget_old_caches(folder)
    return folder


def kernel(function: _F) -> _F:
    """Compile a function on its first call, and keep the machine code for later processes.

    Division by zero gives inf or NaN, as in NumPy. No fastmath: a sum taken in two chunks must
    have the bits of the sum taken in one. Call a kernel with one set of types only (arrays 1-D,
    C-contiguous, `int64` or `float64`; inputs read-only): each further set compiles again. It runs
    without the interpreter's lock, so that another thread can read or write meanwhile.
    """
    return numba.njit(
        cache=True, error_model="numpy", fastmath=False, boundscheck=False, nogil=True
    )(function)


def inlined_kernel(function: _F) -> _F:
    """Compile like `kernel`, and always into its caller: a loop over a call does not vectorise."""
    return numba.njit(
        cache=True, error_model="numpy", fastmath=False, boundscheck=False, forceinline=True
    )(function)


def readonly(array: _A) -> _A:
    """Return a read-only view of an array; the array itself stays as it was."""
    view = array.view()
    view.flags.writeable = False
    return view


def _forget_old_caches(current: Path) -> None:
    """Delete all but the newest cache folders; a process still using one only compiles again."""
    siblings = []
    for path in current.parent.iterdir():
        try:
            if path != current and path.is_dir() and _CACHE_NAME.fullmatch(path.name):
                siblings.append((path.stat().st_mtime_ns, path))
        except OSError:
            continue  # another process deleted it first
    for _, path in sorted(siblings, reverse=True)[KEPT_CACHES:]:
        shutil.rmtree(path, ignore_errors=True)


CACHE_FOLDER = cache_folder()
"""Where this process finds and keeps compiled kernels."""

numba.config.CACHE_DIR = str(CACHE_FOLDER)
# Intel's vector library, where it happens to be installed, has other last bits than the scalar one.
numba.config.DISABLE_INTEL_SVML = True
# Numba reads its settings anew whenever one of its variables has changed: it must find the same
os.environ["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR
os.environ["NUMBA_DISABLE_INTEL_SVML"] = "1"
