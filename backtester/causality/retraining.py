"""Whether a model would be trained on anything that its training range does not hold.

Four questions, each answered from the rows and not from the models, as a fit may hide what it was
given: do rows change when only what follows the range changes; do those that are fitted change when
only what the held-out ones stand for changes (a scaler fitted on the test range); do fitted and
held-out rows speak of the same time (an overlap); and are labels known before the run begins?
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from backtester.causality.catalogs import write_future
from backtester.causality.futures import Future, Stamp
from backtester.causality.probe import Subject, in_another_folder
from clock.units import format_instant
from featurizer.catalog import Catalog

if TYPE_CHECKING:
    from featurizer.dataset import FeatureLabelSet

__all__ = ["retrain"]

_STAMPS: tuple[Stamp, ...] = ("event_time", "receipt_time")


class _Boundary(NamedTuple):
    """An instant, and the training rows that may not depend on anything after it."""

    cut: int
    what: str


def retrain(subject: Subject, seed: int) -> list[str]:
    """Return what is wrong with the training of a scenario, a sentence each.

    Args:
        subject: The scenario; it describes a training.
        seed: Of the other futures.

    Raises:
        InputError: If the training set cannot be built.
    """
    training = subject.scenario.training
    assert training is not None
    rows = _rows(subject, Catalog(subject.folder / subject.scenario.data.catalog))
    found = list(_known_late(subject, rows.frame))
    boundaries = [_Boundary(training.until - 1, "`training.until`")]
    if training.validation:
        opens, overlap = _held_out(subject, rows)
        found += overlap
        boundaries += [] if opens is None else [_Boundary(opens, "the first held-out row")]
    for boundary in boundaries:
        told = _told_of(subject, boundary, rows, seed)
        found += [told] if told else []
    return found


def _known_late(subject: Subject, rows: pl.DataFrame) -> Iterator[str]:
    """Tell of labels that a run would be yet to see, where one of its models is trained on them."""
    scenario, training = subject.scenario, subject.scenario.training
    assert training is not None
    uris = [u for loop in scenario.inference_config.values() for u in loop.model_uris.values()]
    if not any(uri.startswith((f"models:/{training.model}/", f"models:/{training.model}@"))
               for uri in uris):  # fmt: skip
        return
    known = rows["label_visible_at"].drop_nulls().to_physical().to_numpy()
    late = known[known >= scenario.data.start]
    if len(late):
        yield (
            f"training: {len(late)} of {len(known)} labels become visible at or after the run's "
            f"start ({format_instant(scenario.data.start)}), the last one at "
            f"{format_instant(int(late.max()))}. End `training` earlier, or start the run later."
        )


def _held_out(subject: Subject, rows: FeatureLabelSet) -> tuple[int | None, list[str]]:
    """Return when the first held-out row is emitted, and whether fitted rows reach beyond it."""
    from backtester.train import split_rows

    training = subject.scenario.training
    assert training is not None
    fitted, held_out = split_rows(rows, training)
    if held_out is None:
        return None, []
    opens = int(held_out.frame["emitted_at"].to_physical().min())  # type: ignore[arg-type]
    known = fitted.frame["label_visible_at"].drop_nulls().to_physical().to_numpy()
    beyond = known[known > opens]
    if not len(beyond):
        return opens, []
    return opens, [
        f"training: {len(beyond)} of {len(known)} labels that are fitted become visible after the "
        f"first held-out row ({format_instant(opens)}): the two speak of the same time, and the "
        "held-out metrics are too good. Purge them."
    ]


def _rows(subject: Subject, catalog: Catalog) -> FeatureLabelSet:
    from backtester.train import training_rows

    return training_rows(subject.scenario, catalog)


def _told_of(subject: Subject, boundary: _Boundary, rows: FeatureLabelSet, seed: int) -> str:
    for stamp in _STAMPS:
        told = _compare(subject, Future(boundary.cut, stamp, "values", seed), rows, boundary.what)
        if told:
            return told
    return ""


def _compare(subject: Subject, future: Future, rows: FeatureLabelSet, what: str) -> str:
    catalog = Catalog(subject.folder / subject.scenario.data.catalog)
    names = set(subject.scenario.data.instruments)
    streams = [key for key in catalog.streams() if key[0] in names]
    start = subject.scenario.data.start
    with tempfile.TemporaryDirectory(prefix="lightcone-") as scratch:
        root = Path(scratch) / "catalog"
        with in_another_folder(subject, Path(scratch)) as moved:
            other, _ = write_future(catalog, streams, future, start, root)
            changed = _rows(moved, other)
    return _difference(_learnable(rows, future.cut), _learnable(changed, future.cut), future, what)


def _learnable(rows: FeatureLabelSet, cut: int) -> pl.DataFrame:
    """Return the rows that are known, label and all, at an instant."""
    known = rows.frame["label_visible_at"].to_physical()
    emitted = rows.frame["emitted_at"].to_physical()
    kept = rows.frame.filter((emitted <= cut) & (known <= cut).fill_null(value=False))
    return kept.select("emitted_at", "label", *rows.names)


def _difference(real: pl.DataFrame, rows: pl.DataFrame, future: Future, what: str) -> str:
    if real.equals(rows, null_equal=True):
        return ""
    at = format_instant(future.cut + 1)
    if len(real) != len(rows):
        return (
            f"training: the rows must depend on what is known before {what} ({at}): "
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
                f"{two[row].item()!r} when only what follows {what} ({at}) changes."
            )
    return ""
