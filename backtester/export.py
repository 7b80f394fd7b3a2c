"""From a scenario's model to its variants in ONNX, registered beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backtester.errors import ScenarioError
from backtester.loading import open_catalog
from backtester.scenario import Scenario
from backtester.train import held_out_rows, stacked_columns

if TYPE_CHECKING:
    from inference.variant_export import ExportedModel, SingleRows

__all__ = ["KINDS", "Exported", "export_scenario"]

KINDS = ("onnx", "int8")


class Exported(NamedTuple):
    """What was exported: the model itself, for comparison, and its variants."""

    uri: str
    size: int
    metrics: dict[str, float]
    latency: SingleRows
    variants: tuple[ExportedModel, ...]


def export_scenario(
    scenario: Scenario,
    kinds: Sequence[str],
    *,
    loop: str,
    variant: str = "",
    scenario_file: str = "SCENARIO.yaml",
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Export the model of a loop, and measure it and its variants on the rows held out.

    Args:
        scenario: With a loop; where it describes a training, its held-out rows tell the accuracy.
        kinds: Of `KINDS`.
        loop: Name of the loop.
        variant: Which of its variants, where it has several.
        scenario_file: Named in the command that would make a missing model.
        progress: Called with the simulated ns read and the total.

    Raises:
        InputError: If there is no such model, or it has no such form.
    """
    from inference.models import load_model, model_specs
    from inference.registry import Registry
    from inference.training import metrics_of
    from inference.variant_export import Export, convert, export_variant, time_single_rows

    registry = Registry()
    config = stacked_columns(scenario.inference_config[loop], scenario.featurizer)
    hint = f"Make it with `lightcone train {scenario_file}`."
    spec = model_specs(config, registry, hint)[variant]
    parent = registry.resolve(spec.uri, hint)
    predictor = load_model(spec)
    rows = _held_out(scenario, predictor.feature_names, progress)
    asked = Export(parent, spec, predictor, rows)
    graphs = convert(asked, kinds)
    variants = [export_variant(asked, kind, graph, registry) for kind, graph in graphs.items()]
    return Exported(
        uri=f"models:/{parent.name}/{parent.version}",
        size=spec.size,
        metrics={} if rows is None else metrics_of(predictor.predict, "validation", *rows),
        latency=time_single_rows(predictor, asked.probe),
        variants=tuple(variants),
    )


def _held_out(
    scenario: Scenario, names: Sequence[str], progress: Callable[[int, int], None] | None
) -> tuple[Any, Any] | None:
    """Return features and labels that the training held out, in the model's order."""
    if scenario.training is None or not scenario.training.validation:
        return None
    found = held_out_rows(scenario, open_catalog(scenario), progress)
    if found is None or not len(found.labels):
        return None
    if found.features.shape[1] != len(names):
        raise ScenarioError(
            f"`training` must describe rows that the model reads: it gives "
            f"{found.features.shape[1]} columns, the model reads {len(names)}."
        )
    return np.ascontiguousarray(found.features), found.labels
