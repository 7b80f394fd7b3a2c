"""The real run: its trace, what its user code does beside it, and where its models come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from backtester.causality.acts import watched
from backtester.causality.foreknowledge import foreknown
from backtester.causality.probe import Subject, trace_of
from backtester.trace import TraceEntry
from clock.wall import host_ns

if TYPE_CHECKING:
    from backtester.run import Run

__all__ = ["Steps", "Witness", "bear_witness", "step_by_step"]

_LEAST_WINDOWS = 40
"""Windows that are walked record by record however short the time."""


class Witness(NamedTuple):
    """What a real run tells.

    Attributes:
        entries: Its trace.
        doubts: What no other future could show: models of unknown origin, files, network, clock.
        leaks: Models trained on what the run is yet to see, data that knows later prices: each a
            sentence. The scenario is not run when a model has seen it.
        asks: Whether its strategy submits requests of its own.
    """

    entries: list[TraceEntry]
    doubts: list[str]
    leaks: list[str]
    asks: bool = False


class Steps(NamedTuple):
    """A run in lockstep, in which each record is handed over alone.

    Attributes:
        entries: Its trace, as far as it came.
        reached: Instant that it came to: all before it is in the trace.
    """

    entries: list[TraceEntry]
    reached: int


def step_by_step(subject: Subject, window_rows: int, budget_ns: int) -> Steps:
    """Run the scenario record by record, from its beginning as far as the time goes.

    Args:
        subject: The scenario.
        window_rows: Rows of a window; time is looked at between two of them.
        budget_ns: How long to go on, about; the first windows are walked however long they take.
    """
    from backtester.loading import open_catalog

    windows: list[int] = []
    until = host_ns() + budget_ns

    def goes_on(reached: int) -> bool:
        windows.append(reached)
        return len(windows) < _LEAST_WINDOWS or host_ns() < until

    catalog = open_catalog(subject.scenario)
    entries = trace_of(subject, catalog, window_rows, mode="lockstep", goes_on=goes_on)
    return Steps(entries, windows[-1] if windows else subject.scenario.data.until)


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
    runs: list[Run] = []
    with watched(acts) if watch else nullcontext():
        entries = trace_of(subject, catalog, window_rows, made=runs.append, models=models)
    asks = runs[0].engine.strategy.submits_requests
    if not watch:
        return Witness(entries, doubts, [], asks)
    data = subject.scenario.data
    known = foreknown(catalog, runs[0].requests, (data.start, data.until))
    told = [column.sentence() for column in known]
    return Witness(entries, doubts + acts.sentences(), told, asks)


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
