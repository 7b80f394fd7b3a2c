"""A model's variants in ONNX, registered beside it: smaller or faster, and how much less exact."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clock.wall import host_ns
from inference.errors import PredictorError
from inference.mlflow_client import mlflow_client
from inference.models import ModelSpec
from inference.onnx_export import largest_difference, quantise, to_onnx
from inference.predictors.base import Predictor
from inference.predictors.card import CARD, card_text, made_up_rows, read_card
from inference.registry import MEASURED, Registry, ResolvedModel
from inference.training import RECIPE, metrics_of, register_model, registered_before

__all__ = ["Export", "ExportedModel", "SingleRows", "convert", "export_variant", "time_single_rows"]

Floats = NDArray[np.float64]

_TOLERANCE = 1e-3
"""Largest difference of an ONNX graph from its model, as a share of how far its values spread."""


class SingleRows(NamedTuple):
    """How long a model takes for one row, in nanoseconds of this machine."""

    p50_ns: int
    p99_ns: int
    rows: int
    machine: str


class ExportedModel(NamedTuple):
    """A registered variant; `reused` when the same export had registered it before."""

    kind: str
    model: ResolvedModel
    size: int
    metrics: dict[str, float]
    latency: SingleRows
    largest_difference: float
    reused: bool


class Export(NamedTuple):
    """What is exported: the model, as its loop asks it, and rows held out from its training."""

    parent: ResolvedModel
    spec: ModelSpec
    predictor: Predictor
    held_out: tuple[Floats, Floats] | None

    @property
    def probe(self) -> Floats:
        """Rows like those it will see: of its card, or made up."""
        card = read_card(self.parent.path, self.parent.digest, "")
        return made_up_rows(len(self.predictor.feature_names)) if card.probe is None else card.probe


def convert(asked: Export, kinds: Sequence[str]) -> dict[str, Any]:
    """Return a graph of each kind, `onnx` or `int8`; all of them, or none.

    Raises:
        PredictorError: If the model has no such form, or is not registered.
    """
    if not asked.parent.name:
        raise PredictorError(
            f"a model to export must be registered: got '{asked.parent.uri}'. Its variants are "
            "registered beside it."
        )
    return {
        kind: quantise(to_onnx(asked.predictor)) if kind == "int8" else to_onnx(asked.predictor)
        for kind in kinds
    }


def export_variant(asked: Export, kind: str, graph: Any, registry: Registry) -> ExportedModel:
    """Measure a graph of a model, and register it as `<name>-<kind>`.

    Its accuracy is that on the rows that the model's training held out. The same export is not
    repeated; its latency is measured anew only when it is registered.

    Raises:
        PredictorError: If an ONNX graph does not answer as the model does.
    """
    name = f"{asked.parent.name}-{kind}"
    recipe = _recipe(asked, kind)
    known = registered_before(registry, name, recipe)
    if known is not None:
        return _told(kind, known, reused=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _write(folder, graph, asked)
        variant = _load(folder, asked)
        found = _measured(asked, variant, kind, (folder / "model.onnx").stat().st_size)
        (folder / MEASURED).write_text(json.dumps(found, indent=1) + "\n")
        tags = {
            RECIPE: recipe,
            "lightcone.parent": f"models:/{asked.parent.name}/{asked.parent.version}",
            "lightcone.parent_digest": asked.parent.digest,
            "lightcone.kind": kind,
            **{f"lightcone.{key}": _text(value) for key, value in found.items()},
        }
        record = {"parent": tags["lightcone.parent"], "kind": kind}
        with mlflow_client(registry.address) as client:
            made = register_model(client, registry, name, folder, record, found["metrics"], tags)
    return _told(kind, registry.resolve(f"models:/{name}/{made}"), reused=False)


def time_single_rows(predictor: Predictor, rows: Floats, count: int = 2000) -> SingleRows:
    """Ask a model for one row at a time and return how long that takes on this machine."""
    singles = [rows[place : place + 1] for place in range(len(rows))]
    for row in singles[:50]:
        predictor.predict(row)
    taken = np.empty(count, np.int64)
    for ask in range(count):
        row = singles[ask % len(singles)]
        begun = host_ns()
        predictor.predict(row)
        taken[ask] = host_ns() - begun
    p50, p99 = np.quantile(taken, [0.5, 0.99], method="higher").tolist()
    return SingleRows(int(p50), int(p99), count, _machine())


def _recipe(asked: Export, kind: str) -> str:
    packages = ("onnx", "onnxmltools", "skl2onnx", "onnxruntime")
    parts = [asked.parent.digest, kind, *(version(package) for package in packages)]
    parts.append(repr(sorted(asked.spec.params.items())))
    digest = hashlib.sha256("\0".join(parts).encode())
    for rows in asked.held_out or ():
        digest.update(np.ascontiguousarray(rows, np.float64).tobytes())
    return digest.hexdigest()


def _write(folder: Path, graph: Any, asked: Export) -> None:
    """Write what `mlflow.onnx.load_model` reads, and the card."""
    import onnx
    from mlflow.models import Model

    (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
    card = card_text(asked.predictor.training, asked.probe, asked.predictor.feature_names)
    (folder / CARD).write_text(card)
    needed = [f"{package}=={version(package)}" for package in ("onnx", "onnxruntime")]
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    native = {
        "data": "model.onnx",
        "onnx_version": onnx.__version__,
        "providers": ["CPUExecutionProvider"],
        "onnx_session_options": None,
        "save_as_external_data": False,
        "code": None,
    }
    generic = {"loader_module": "mlflow.onnx", "data": "model.onnx"}
    Model(flavors={"onnx": native, "python_function": generic}).save(str(folder / "MLmodel"))


def _load(folder: Path, asked: Export) -> Predictor:
    from inference.predictors.onnx import OnnxPredictor

    params = {key: asked.spec.params[key] for key in _SHARED if key in asked.spec.params}
    return OnnxPredictor.load(folder, **params)


_SHARED = ("output", "accepts_nan")
"""Parameters that mean the same to a model and to its graph."""


def _measured(asked: Export, variant: Predictor, kind: str, size: int) -> dict[str, Any]:
    rows = asked.probe if asked.held_out is None else asked.held_out[0]
    said, own = variant.predict(rows), asked.predictor.predict(rows)
    apart = largest_difference(said, own)
    if kind == "onnx" and apart > _TOLERANCE * max(float(np.std(own)), 1e-12):
        raise PredictorError(
            f"the ONNX graph of '{asked.parent.uri}' must say what the model says: its values "
            f"differ by up to {apart:.3g}, where they spread by {float(np.std(own)):.3g}. It is "
            "not registered."
        )
    metrics = {}
    if asked.held_out is not None and len(asked.held_out[1]):
        metrics = metrics_of(variant.predict, "validation", *asked.held_out)
    return {
        "size_bytes": size,
        "metrics": metrics,
        "latency": time_single_rows(variant, asked.probe)._asdict(),
        "largest_difference": apart,
    }


def _told(kind: str, model: ResolvedModel, *, reused: bool) -> ExportedModel:
    tags = model.tags
    return ExportedModel(
        kind,
        model,
        int(tags["lightcone.size_bytes"]),
        json.loads(tags["lightcone.metrics"]),
        SingleRows(**json.loads(tags["lightcone.latency"])),
        float(tags["lightcone.largest_difference"]),
        reused,
    )


def _text(value: Any) -> str:
    return json.dumps(value)


def _machine() -> str:
    from llvmlite import binding  # type: ignore[import-untyped]

    return f"{platform.node()} ({binding.get_host_cpu_name()}, {platform.system()})"
