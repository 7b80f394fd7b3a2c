"""What is measured: a loop of a scenario, its model, rows to ask about, recorded arrivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtester.errors import ScenarioError
from backtester.loading import load_model, open_catalog
from backtester.scenario_faults import checked_model
from featurizer.market import QUOTES, TRADES, StreamRequest

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.backend import Backend
    from inference.config import InferenceConfig
    from inference.predictors.base import Predictor

__all__ = ["BACKENDS", "MOST_ROWS", "Subject", "deployed", "market_arrivals", "scenario_subject"]

BACKENDS = ("local", "ray_serve")
MOST_ROWS = 5000
MILLISECOND = 1_000_000


class Subject(NamedTuple):
    """A model to deploy and what to ask it; `rows_are` says where the rows come from."""

    name: str
    about: str
    config: InferenceConfig
    predictor: Predictor
    rows: NDArray[np.float64]
    rows_are: str


def scenario_subject(scenario: Scenario, loop: str | None, file: str) -> Subject:
    """Return a loop's own model, and rows of the scenario to ask it about.

    Args:
        scenario: The scenario.
        loop: Name of the loop, where there are several.
        file: The scenario's file, for messages.

    Raises:
        ScenarioError: If there is no such loop, or it has variants.
        ModelNotFoundError: If its model is not there.
    """
    name, config = one_loop(scenario, loop)
    predictor = load_model(scenario, name, file)
    if isinstance(predictor, dict):
        raise ScenarioError(
            f"`inference_config.{name}.variants` cannot be measured together: got "
            f"{', '.join(predictor)}. Measure each alone, in a scenario without the others."
        )
    rows, rows_are = _rows(scenario, predictor)
    about = f"{config.predictor_class_name} {config.model_uri}"
    called = config.deployment_name or scenario.name
    return Subject(called, about, config, predictor, rows, rows_are)


def one_loop(scenario: Scenario, loop: str | None) -> tuple[str, InferenceConfig]:
    """Return the loop that an option names, or the only one.

    Raises:
        ScenarioError: If there is none.
    """
    known = scenario.inference_config
    if loop is None and len(known) == 1:
        return next(iter(known.items()))
    if loop in known:
        return loop, known[loop]
    got = "nothing" if loop is None else f"'{loop}'"
    listed = ", ".join(known) or "none: the scenario has no `inference_config`"
    raise ScenarioError(f"`--loop` must name a loop of the scenario: got {got}. Known: {listed}.")


def _rows(scenario: Scenario, predictor: Predictor) -> tuple[NDArray[np.float64], str]:
    from backtester.train import training_rows

    names = predictor.feature_names
    label = scenario.featurizer.label_feature if scenario.featurizer is not None else None
    if scenario.training is not None and label is not None:
        found = training_rows(scenario, open_catalog(scenario))
        if tuple(found.names) == tuple(names):
            values = found.to_arrays().features[:MOST_ROWS]
            if len(values):
                return np.ascontiguousarray(values), "feature rows of the scenario's training range"
    steps = np.arange(256.0 * len(names)).reshape(-1, len(names))
    return (steps * 0.6180339887498949) % 1.0, "made up: uniform numbers, not features"


def market_arrivals(scenario: Scenario) -> NDArray[np.int64]:
    """Return when the scenario's quotes and trades reached us in its range, ns, rising.

    Of those that reached us in the same millisecond the last one counts: a capture holds thousands
    within a few, whose rows nobody would ask about one by one.
    """
    catalog = open_catalog(scenario)
    data = scenario.data
    wanted = [
        StreamRequest(instrument, kind, ())
        for instrument, kind in catalog.streams()
        if instrument in data.instruments and kind in (QUOTES.name, TRADES.name)
    ]
    if not wanted:
        return np.zeros(0, np.int64)
    parts = [
        records.receipt_time
        for window in catalog.windows(wanted, data.start, data.until, rows=100_000)
        for records in window.ours.values()
    ]
    received = np.sort(np.concatenate(parts))
    last = np.flatnonzero(np.diff(received // MILLISECOND, append=-1))
    return received[last]


@contextmanager
def deployed(
    kind: str, subjects: Sequence[Subject], address: str | None = None
) -> Iterator[list[Backend]]:
    """Deploy subjects, one beside the other, for the length of a block.

    Args:
        kind: `local`, threads of this process, or `ray_serve`.
        subjects: What to deploy.
        address: Of a running Ray; by default one of our own is started.
    """
    if kind == "local":
        from inference.local_backend import LocalBackend

        local = [LocalBackend.of(one.config, one.predictor) for one in subjects]
        try:
            yield list(local)
        finally:
            for backend in local:
                backend.close()
        return
    with _on_ray(subjects, address) as backends:
        yield backends


@contextmanager
def _on_ray(subjects: Sequence[Subject], address: str | None) -> Iterator[list[Backend]]:
    from inference.ray_serve import deploy, of_models, ray_cluster

    with ray_cluster(address, keep_off=of_models(one.config for one in subjects)) as cluster:
        backends: list[Backend] = []
        there = []
        try:
            for one in subjects:
                there.append(deploy(cluster, one.config, name=f"measure-{one.name}"))
                backends.append(there[-1].backend())
            yield backends
        finally:
            for backend in backends:
                backend.close()
            for deployment in there:
                deployment.delete()


def sleeping_subject(
    config: InferenceConfig, time: str, replicas: int | None, folder: Path, requests: int
) -> Subject:
    """Return a model that sleeps, deployed as a loop is.

    Args:
        config: The loop, for its replicas, router and batching.
        time: How long: a latency, in YAML.
        replicas: Replicas; the loop's where None.
        folder: Where its artifact is written.
        requests: Rows that sleep each a time of their own.

    Raises:
        ScenarioError: If the time is none.
    """
    import yaml

    from inference.measure.sleeping import (
        SLEEPING,
        SleepingPredictor,
        SleepSpec,
        sleeping_rows,
        write_sleeping,
    )

    try:
        content = yaml.safe_load(time)
    except yaml.YAMLError as error:
        raise ScenarioError(f"`--sleep` must be a latency in YAML: got {time!r}.") from error
    spec = checked_model(SleepSpec, {"time": content}, f"`--sleep` {time!r}")
    path = write_sleeping(spec, folder).absolute()
    given = config.model_dump(mode="json", exclude={"features", "num_replicas"})
    given |= {
        "model_uri": str(path),
        "predictor_class_name": SLEEPING,
        "deployment_name": "sleeping",
        "num_replicas": replicas or config.start_replicas,
    }
    own = type(config).model_validate(given)
    about = f"sleeps {time}: no model, its service time is known"
    predictor = SleepingPredictor.load(path)
    return Subject("sleeping", about, own, predictor, sleeping_rows(requests), "numbered requests")
