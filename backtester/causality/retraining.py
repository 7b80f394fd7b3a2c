"""Whether a model would be trained on anything that its training range does not hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from backtester.causality.catalogs import write_future
from backtester.causality.futures import Future, Stamp
from backtester.causality.probe import Subject, in_another_folder
from clock.units import format_instant
from featurizer.catalog import Catalog

__all__ = ["retrain"]

_STAMPS: tuple[Stamp, ...] = ("event_time", "receipt_time")


def retrain(subject: Subject, seed: int) -> str:
    """Return in words which training row changes when what follows the training range changes.

    Empty where none does. The rows are compared, not the models: a fit may hide what it was given.

    Raises:
        InputError: If the training set cannot be built.
    """
    training = subject.scenario.training
    assert training is not None
    real = _rows(subject, Catalog(subject.folder / subject.scenario.data.catalog))
    for stamp in _STAMPS:
        future = Future(training.until - 1, stamp, "values", seed)
        told = _compare(subject, future, real)
        if told:
            return told
    return ""


def _rows(subject: Subject, catalog: Catalog) -> pl.DataFrame:
    from backtester.train import training_rows

    rows = training_rows(subject.scenario, catalog)
    return rows.frame.select("emitted_at", "label", *rows.names)


def _compare(subject: Subject, future: Future, real: pl.DataFrame) -> str:
    catalog = Catalog(subject.folder / subject.scenario.data.catalog)
    names = set(subject.scenario.data.instruments)
    streams = [key for key in catalog.streams() if key[0] in names]
    start = subject.scenario.data.start
    with tempfile.TemporaryDirectory(prefix="lightcone-") as scratch:
        root = Path(scratch) / "catalog"
        with in_another_folder(subject, Path(scratch)) as moved:
            other, _ = write_future(catalog, streams, future, start, root)
            rows = _rows(moved, other)
    if real.equals(rows, null_equal=True):
        return ""
    until = format_instant(future.cut + 1)
    if len(real) != len(rows):
        return (
            f"training: the rows must depend on what is known before `training.until` ({until}): "
            f"there are {len(real)} of them, and {len(rows)} when what follows changes."
        )
    emitted = real["emitted_at"].to_physical()
    for name in real.columns:
        one, two = real[name].to_physical().to_numpy(), rows[name].to_physical().to_numpy()
        differs = (one != two) & ~((one != one) & (two != two))
        if differs.any():
            row = int(np.flatnonzero(differs)[0])
            return (
                f"training: `{name}` of the row emitted at "
                f"{format_instant(int(emitted[row]))} is {one[row].item()!r}, and "
                f"{two[row].item()!r} when only what follows `training.until` ({until}) changes."
            )
    return ""
