"""The real run: its trace, what its user code does beside it, and where its models come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from backtester.causality.acts import watched
from backtester.causality.foreknowledge import foreknown
from backtester.causality.probe import Subject, trace_of
from backtester.trace import TraceEntry
from featurizer.market import StreamRequest

__all__ = ["Witness", "bear_witness", "step_by_step"]


class Witness(NamedTuple):
    """What a real run tells.

    Attributes:
        entries: Its trace.
        doubts: What no other future could show: models of unknown origin, files, network, clock.
        leaks: Models trained on what the run is yet to see, data that knows later prices: each a
            sentence. The scenario is not run when a model has seen it.
    """

    entries: list[TraceEntry]
    doubts: list[str]
    leaks: list[str]


def step_by_step(subject: Subject, window_rows: int, windows: int) -> list[TraceEntry]:
    """Return the trace of the run's beginning in lockstep: each record is handed over alone."""
    from backtester.loading import open_catalog

    catalog = open_catalog(subject.scenario)
    return trace_of(subject, catalog, window_rows, mode="lockstep", windows=windows)


def bear_witness(subject: Subject, window_rows: int, *, watch: bool) -> Witness:
    """Run the scenario as it is.

    Args:
        subject: The scenario.
        window_rows: Rows of a window.
        watch: Also watch what the user's code does, at some cost.

    Raises:
        InputError: If it cannot be run.
        StrategyError: If its strategy raises.
    """
    from backtester.loading import open_catalog

    with watched() as acts, acts.loading(_artifacts(subject)):
        models = _models(subject)
    late, doubts = _origins(subject, models)
    if late:
        return Witness([], doubts, late)
    catalog = open_catalog(subject.scenario)
    if not watch:
        return Witness(trace_of(subject, catalog, window_rows, models=models), doubts, [])
    reads: list[StreamRequest] = []
    with watched(acts):
        entries = trace_of(subject, catalog, window_rows, reads=reads, models=models)
    data = subject.scenario.data
    known = foreknown(catalog, reads, (data.start, data.until))
    return Witness(entries, doubts + acts.sentences(), [column.sentence() for column in known])


def _artifacts(subject: Subject) -> list[Path]:
    """Return where the models lie that user code is asked to load.

    One that does not exist is left to whoever loads it.
    """
    from inference.errors import ModelNotFoundError
    from inference.registry import Registry

    found = []
    for config in subject.scenario.inference_config.values():
        for uri in config.model_uris.values():
            with suppress(ModelNotFoundError):
                found.append(Registry().resolve(uri).path)
    return found


def _models(subject: Subject) -> dict[str, Any]:
    """Return the model of each loop, whatever it was trained on."""
    from backtester.loading import load_model

    scenario = subject.scenario
    return {
        loop: load_model(scenario, loop, subject.scenario_file)
        for loop in scenario.inference_config
    }


def _origins(subject: Subject, models: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    from backtester.loading import trained_late

    late: list[str] = []
    doubts: list[str] = []
    scenario = subject.scenario
    for loop, config in scenario.inference_config.items():
        loaded = models[loop]
        of_variants = loaded if isinstance(loaded, dict) else {"": loaded}
        for name, predictor in of_variants.items():
            uri = config.model_uris[name]
            fault = trained_late(predictor, uri, scenario.data.start)
            if fault:
                late.append(fault)
            elif predictor.training is None:
                doubts.append(
                    f"inference_config: `{uri}` does not say what it was trained on. Register it "
                    "with `lightcone train`, which records that."
                )
    return late, doubts
