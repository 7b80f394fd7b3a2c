"""`lightcone serve deploy`, `status`, `scale`, `delete`: a scenario's deployments on Ray Serve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from backtester.commands.shared_options import Address, Json, Overrides, ScenarioFile

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.config import InferenceConfig
    from inference.ray_serve.cluster import RayCluster
    from inference.ray_serve.running import Running

__all__ = ["delete", "deploy", "scale", "status"]

_NO_LOOPS: Mapping[str, InferenceConfig] = {}


def deploy(
    scenario: ScenarioFile,
    address: Address = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when it is ready; `serve delete` ends it.")
    ] = False,
    set_: Overrides = None,
) -> None:
    """Deploy the scenario's models on Ray Serve, and keep them until Ctrl-C.

    On a Ray of our own that runs already, else on a new one, which ends with the command. With
    --detach it goes on in a process of its own. Deployed again, what changed is replaced.
    """
    from backtester.commands.console import note
    from inference.ray_serve.options import simulated_only

    loops = _loops(scenario, set_ or [])
    for config in loops.values():
        for sentence in (*config.remarks, *simulated_only(config)):
            note(f"Note: {sentence}")
    if detach and address is None:
        _deploy_detached(loops)
        return
    with _cluster(address, start=True, loops=loops) as cluster:
        names = _deploy_all(cluster, loops)
        if detach:
            note(f"Deployed at {cluster.address}: {', '.join(names)}.")
            return
        try:
            _serve_until_the_end(cluster, names)
        finally:
            if not cluster.own and not cluster.lost:
                _delete_quietly(names)


def status(address: Address = None, json_: Json = False) -> None:
    """Say what is deployed, and how its replicas do."""
    from backtester.commands.console import note, print_json, print_table
    from backtester.report.deployment_table import deployments_json, deployments_table

    with _cluster(address) as cluster:
        from inference.ray_serve.status import statuses

        found = statuses()
        if json_:
            print_json({"address": cluster.address, "deployments": deployments_json(found)})
        elif found:
            print_table(deployments_table(found, cluster.address))
        else:
            note(f"Nothing is deployed at {cluster.address}.")


def scale(
    scenario: ScenarioFile,
    replicas: Annotated[int, typer.Option(min=1, max=4096, help="How many of each model.")],
    address: Address = None,
    set_: Overrides = None,
) -> None:
    """Change how many replicas a deployed scenario has; those that stay go on answering."""
    from backtester.commands.console import note
    from backtester.errors import ScenarioError
    from inference.ray_serve.deploy import application_name
    from inference.ray_serve.status import check_deployed

    loops = _loops(scenario, set_ or [])
    for name, config in loops.items():
        if any(one.autoscaling_config is not None for one in config.deployments.values()):
            raise ScenarioError(
                f"{scenario}: `{name}` has an `autoscaling_config`, which decides how many replicas"
                " there are: got `--replicas`. Change its bounds and deploy again."
            )
    with _cluster(address) as cluster:
        names = [application_name(n, v) for n, config in loops.items() for v in config.deployments]
        check_deployed(names)
        _deploy_all(cluster, {name: _with(config, replicas) for name, config in loops.items()})
        note(f"{', '.join(names)}: {replicas} replica{'s' if replicas > 1 else ''} each.")


def delete(
    what: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Argument(help="The scenario's YAML file, or the name of a deployment."),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="All of them, and the Ray of our own that is left.")
    ] = False,
    address: Address = None,
    set_: Overrides = None,
) -> None:
    """Take deployments down. A detached Ray of our own on which nothing is left ends too."""
    from backtester.commands.console import note
    from backtester.errors import ScenarioError

    if (what is None) != all_:
        raise ScenarioError("`serve delete` needs the name of a deployment, a scenario, or --all.")
    from inference.ray_serve.deploy import application_name
    from inference.ray_serve.status import delete as take_down
    from inference.ray_serve.status import statuses

    with _cluster(address):
        if what is None:
            names = [one.name for one in statuses()]
        elif Path(what).suffix in (".yaml", ".yml"):
            loops = _loops(Path(what), set_ or [])
            names = [application_name(n, v) for n, conf in loops.items() for v in conf.deployments]
        else:
            names = [what]
        take_down(names)
        left = statuses()
        note(f"Deleted: {', '.join(names) or 'nothing was deployed'}.")
    if not left and address is None:
        _stop_ours(detached_only=not all_)


def _loops(path: Path, settings: list[str]) -> dict[str, InferenceConfig]:
    """Return the loops of a scenario by the names that their deployments get.

    Raises:
        ScenarioError: If there is none, or two have the same name.
    """
    from backtester.errors import ScenarioError
    from backtester.scenario import load_scenario
    from backtester.train import stacked_columns

    scenario = load_scenario(path, settings)
    if not scenario.inference_config:
        raise ScenarioError(f"{path}: a deployment needs `inference_config`: got none. Add it.")
    found: dict[str, InferenceConfig] = {}
    for loop, config in scenario.inference_config.items():
        name = config.deployment_name or _name_of(scenario, loop)
        if name in found:
            raise ScenarioError(
                f"{path}: `deployment_name` must be distinct for each loop: got '{name}' twice."
            )
        found[name] = stacked_columns(config, scenario.featurizer)
    return found


def _name_of(scenario: Scenario, loop: str) -> str:
    return scenario.name if len(scenario.inference_config) == 1 else f"{scenario.name}-{loop}"


@contextmanager
def _cluster(
    address: str | None, *, start: bool = False, loops: Mapping[str, InferenceConfig] = _NO_LOOPS
) -> Iterator[RayCluster]:
    """Connect to the address, or to the newest Ray of our own that runs; or start one.

    This process, and the Ray that it starts, keep off the processors that loops are bound to.

    Raises:
        NoClusterError: If none runs, and none is to be started.
    """
    from inference.errors import NoClusterError
    from inference.ray_serve.cluster import ray_cluster
    from inference.ray_serve.processors import of_models
    from inference.ray_serve.running import announced, running

    if address is None:
        ours = running()
        address = ours[-1].address if ours else None
    if address is None and not start:
        raise NoClusterError(
            "no Ray of ours runs on this machine. Run `lightcone serve deploy SCENARIO`, or name a "
            "cluster with --address."
        )
    with ExitStack() as stack:
        kept = of_models(loops.values())
        cluster = stack.enter_context(ray_cluster(address, keep_off=kept))
        stack.enter_context(announced(cluster))
        yield cluster


def _deploy_all(cluster: RayCluster, loops: dict[str, InferenceConfig]) -> list[str]:
    from inference.ray_serve.deploy import deploy as put_up

    names: list[str] = []
    for name, config in loops.items():
        names += put_up(cluster, config, name=name).applications.values()
    return names


def _deploy_detached(loops: dict[str, InferenceConfig]) -> None:
    from backtester.commands.console import note
    from inference.ray_serve.cluster import ray_cluster
    from inference.ray_serve.processors import of_models
    from inference.ray_serve.running import running, start_head

    ours = running()
    head: Running = ours[-1] if ours else start_head(keep_off=of_models(loops.values()))
    try:
        with ray_cluster(head.address) as cluster:
            names = _deploy_all(cluster, loops)
    except BaseException:
        if not ours:
            head.stop()
        raise
    note(f"Deployed at {head.address}: {', '.join(names)}. `lightcone serve delete --all` ends it.")


def _serve_until_the_end(cluster: RayCluster, names: list[str]) -> None:
    """Say what is served, and wait for Ctrl-C.

    Raises:
        ServingError: If the cluster is lost first.
    """
    from threading import Event

    from backtester.commands.console import note
    from inference.errors import ServingError

    over = Event()
    cluster.when_lost(lambda why: over.set())
    try:  # from the first word on: who reads it may stop it at once
        note(f"Serving {', '.join(names)} at {cluster.address}. Ctrl-C stops it.")
        while not over.wait(1.0):  # a wait without an end would hold Ctrl-C back
            pass
    except KeyboardInterrupt:
        return
    raise ServingError(f"{cluster.lost}. Deploy again.")


def _delete_quietly(names: list[str]) -> None:
    from inference.errors import NotDeployedError
    from inference.ray_serve.status import delete as take_down

    for name in names:
        try:
            take_down([name])
        except NotDeployedError:  # somebody else did
            continue


def _stop_ours(*, detached_only: bool) -> None:
    from backtester.commands.console import note
    from inference.ray_serve.running import running

    for one in running():
        if one.detached or not detached_only:
            one.stop()
            note(f"Stopped the Ray at {one.address}.")


def _with(config: InferenceConfig, replicas: int) -> InferenceConfig:
    """Return a loop each of whose deployments has so many replicas."""
    update: dict[str, Any] = {"num_replicas": replicas}
    variants = {
        name: variant.model_copy(update=update) for name, variant in config.variants.items()
    }
    return config.model_copy(update=update | {"variants": variants})
