"""What is known about a model beside its content: its card, and rows to probe it with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.errors import PredictorError
from inference.predictors.base import TrainingRecord

__all__ = ["CARD", "Facts", "card_text", "made_up_rows", "read_card"]

CARD = "lightcone.json"
"""Beside the model: what it was trained on, and rows to probe it with."""

PROBE_ROWS = 48


class Facts(NamedTuple):
    """What is known of a model, from its card and from whoever resolved it.

    `digest`: of the model's content, empty where it was not read from a file. `probe`: rows like
    those it will see, shape (n, n_features). `features`, `classes`: as the card names them.
    """

    digest: str = ""
    version: str = ""
    training: TrainingRecord | None = None
    probe: NDArray[np.float64] | None = None
    features: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None


def card_text(
    training: TrainingRecord | None,
    values: NDArray[np.float64],
    features: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> str:
    """Return what lies beside a model: its training record, and some rows it was trained on."""
    places = np.linspace(0, len(values) - 1, min(len(values), PROBE_ROWS)).astype(np.int64)
    card: dict[str, Any] = {
        "training": None if training is None else training._asdict(),
        "probe": values[places].tolist(),
    }
    if features:
        card["features"] = list(features)
    if classes:
        card["classes"] = list(classes)
    return json.dumps(card, indent=1) + "\n"


def read_card(model: Path, digest: str, version: str) -> Facts:
    """Return what is known of a model in a folder, or in a file with its card beside it.

    Raises:
        PredictorError: If there is a card that `lightcone` cannot have written.
    """
    path = (model if model.is_dir() else model.parent) / CARD
    if not path.exists():
        return Facts(digest, version)
    try:
        card = json.loads(path.read_text())
        record = card["training"]
        training = None if record is None else TrainingRecord(**record)
        probe = np.array(card["probe"], np.float64)
        if probe.size and probe.ndim != 2:
            raise ValueError(f"`probe` of shape {probe.shape}")
        names, classes = (
            tuple(map(str, card[key])) if key in card else None for key in ("features", "classes")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PredictorError(
            f"{path} must be what `lightcone train` wrote: got {error!r}."
        ) from None
    return Facts(digest, version, training, probe if len(probe) else None, names, classes)


def made_up_rows(features: int) -> NDArray[np.float64]:
    """Return rows of many magnitudes, always the same ones, shape (48, features)."""
    steps = np.arange(float(PROBE_ROWS) * features).reshape(-1, features)
    spread = (steps * 0.6180339887498949) % 1.0 - 0.5
    return spread * 10.0 ** (steps % 11 - 4)
