"""Whether a row has the same bits alone and in any batch: measured once, and remembered.

Kernels of linear algebra round by the shape of a batch, and a sum taken by several threads by their
order. So nothing is assumed of a library: the loaded model is asked, on this processor. The finding
is kept in the cache folder, by the digest of the model, the versions of its library, its parameters
and the processor; the model's own files are never touched.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError

__all__ = ["Invariance", "invariance_of", "measure_invariance"]

Floats = NDArray[np.float64]
Predict = Callable[[Floats], Floats]
Threads = Callable[[int], AbstractContextManager[None]]

SIZES = (2, 3, 7, 8, 16, 33, 64, 100, 256)
"""Sizes of batches that are tried beside a row alone: around the blocks in which kernels work."""

THREADS = (2, 3)
"""Numbers of threads that are tried beside the pinned one."""

_ROWS = 512
_BATCHES = 8
"""Batches tried of each size, spread over the rows."""


class Invariance(NamedTuple):
    """A finding: whether every batch gave a row the same bits, and else where one did not."""

    holds: bool
    why: str = ""


def invariance_of(
    predict: Predict,
    rows: Floats,
    *,
    key: Sequence[Any] | None,
    packages: Sequence[str],
    threads: Threads | None = None,
) -> Invariance:
    """Return what was found of a model before, or measure it; warms the model up either way.

    Args:
        predict: The model.
        rows: Rows like those it will see, shape (n, n_features).
        key: What tells the model from others: digest, class, parameters; None: do not remember.
        packages: Distributions whose versions may change its bits.
        threads: Gives a context in which the model runs on so many threads, where it can.

    Raises:
        PredictorError: If it cannot answer these rows, one value a row.
    """
    if key is None:
        return measure_invariance(predict, rows, threads)
    place = _place([*map(str, key), *map(_version, packages), rows.shape, rows.tobytes()])
    found = _remembered(place)
    if found is not None:
        asked(predict, rows[:1])
        asked(predict, rows)
        return found
    found = measure_invariance(predict, rows, threads)
    _remember(place, found)
    return found


def measure_invariance(
    predict: Predict, rows: Floats, threads: Threads | None = None
) -> Invariance:
    """Ask for the same rows alone, in batches of several sizes, and on several threads.

    Raises:
        PredictorError: If the model cannot answer them, one value a row.
    """
    asked(predict, rows[:1])  # the first call of a library may take another way
    many = _many(rows)
    whole = asked(predict, many)
    found = _compare(predict, many, whole, "")
    if not found.holds or threads is None:
        return found
    for count in THREADS:
        with threads(count):
            found = _compare(predict, many, whole, f" on {count} threads")
        if not found.holds:
            return found
    return found


def asked(predict: Predict, rows: Floats) -> Floats:
    """Return a model's values for some rows.

    Raises:
        PredictorError: If it raises, or does not answer one value a row.
    """
    try:
        values = np.asarray(predict(rows), np.float64)
    except PredictorError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise PredictorError(
            f"a model must answer rows of {rows.shape[1]} features: got {type(error).__name__} "
            f"({first}) for {len(rows)} of them."
        ) from error
    if values.shape != (len(rows),):
        raise PredictorError(
            f"a model must have one output, one value a row: got shape {values.shape} for "
            f"{len(rows)} rows."
        )
    return values


def _compare(predict: Predict, rows: Floats, whole: Floats, where: str) -> Invariance:
    for start in range(min(64, len(rows))):
        if not _same(predict(rows[start : start + 1]), whole[start : start + 1]):
            return Invariance(False, f"row {start} alone differs from a batch{where}")
    for size in SIZES:
        last = len(rows) - size
        for start in np.unique(np.linspace(0, last, _BATCHES).astype(np.int64)).tolist():
            if not _same(predict(rows[start : start + size]), whole[start : start + size]):
                return Invariance(
                    False, f"a batch of {size} differs from one of {len(rows)}{where}"
                )
    for _ in range(3):
        if not _same(predict(rows), whole):
            return Invariance(False, f"the same batch differs from itself{where}")
    return Invariance(True)


def _same(one: Any, other: Floats) -> bool:
    return np.ascontiguousarray(one, np.float64).tobytes() == other.tobytes()


def _many(rows: Floats) -> Floats:
    """Return at least 512 rows: the given ones first, then the same ones stretched and mirrored."""
    copies = -(-_ROWS // len(rows))
    factors = [(1.0 + 0.37 * k) * (-1.0) ** k for k in range(copies)]
    return np.concatenate([rows * factor for factor in factors])


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} none"


def _place(parts: Sequence[Any]) -> Path:
    """Return the file of a finding, in the cache of these sources and this processor."""
    from clock.compiled import CACHE_FOLDER

    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return CACHE_FOLDER / "batch-invariance" / f"{digest.hexdigest()}.json"


def _remembered(place: Path) -> Invariance | None:
    try:
        told: Mapping[str, Any] = json.loads(place.read_text())
        return Invariance(bool(told["holds"]), str(told["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(place: Path, found: Invariance) -> None:
    with suppress(OSError):  # a folder that cannot be written only costs a measurement each time
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{place.name}.{os.getpid()}.new")
        new.write_text(json.dumps(found._asdict()) + "\n")
        new.replace(place)
