"""`lightcone serve http`: the models of a scenario over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.config import InferenceConfig
    from inference.http.served import Served

__all__ = ["http"]

_MOST_THREADS = 64
"""Replicas in this process are threads: more than this help no processor."""


def http(
    scenario: Annotated[Path, typer.Argument(help="The scenario's YAML file.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback ask for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    backend: Annotated[
        str, typer.Option(help="`local`: models in this process; `ray_serve`: its replicas.")
    ] = "local",
    token_file: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="File with the bearer token; by default LIGHTCONE_HTTP_TOKEN, if set."),
    ] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one batch.")] = 10_000,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of one request's body.")] = 1 << 20,
    timeout: Annotated[str, typer.Option(help="How long an answer may take.")] = "30s",
    set_: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="Override: dotted.key=value, the value in YAML. Repeatable."),
    ] = None,
) -> None:
    """Answer predictions over HTTP, in the foreground, until Ctrl-C.

    `POST /api/v1/predictions` and `/batch`, `GET /api/v1/deployments`, `/metrics`, `/health`;
    `/openapi.json` describes them. Model files are code: serve those of a registry you trust.
    """
    from backtester.commands.console import note
    from backtester.commands.options import duration, one_of
    from backtester.scenario import load_scenario
    from inference.http.settings import Settings, read_token

    one_of("--backend", backend, ("local", "ray_serve"))
    settings = Settings(
        max_rows=max_rows,
        max_body_bytes=max_body,
        timeout_ns=duration("--timeout", timeout),
        token=read_token(token_file),
    )
    loaded = load_scenario(scenario, set_ or [])
    from inference.http.server import listen, serve

    with ExitStack() as stack:
        listening = stack.enter_context(listen(host, port, settings))
        if backend == "ray_serve":
            deployments = _on_replicas(stack, loaded, str(scenario))
        else:
            deployments = _in_process(loaded, str(scenario))
        from inference.http.app import make_app

        names = ", ".join(deployment.about.name for deployment in deployments)
        serve(
            make_app(deployments, settings),
            listening,
            settings,
            lambda address: note(f"Serving {names} at {address}. Ctrl-C stops it."),
        )


def _loops(scenario: Scenario, file: str) -> dict[str, InferenceConfig]:
    """Return the loops of a scenario.

    Raises:
        ScenarioError: If it has none.
    """
    from backtester.errors import ScenarioError

    if not scenario.inference_config:
        raise ScenarioError(f"{file}: `inference_config` must name a model to serve. Add it.")
    return scenario.inference_config


def _on_replicas(stack: ExitStack, scenario: Scenario, file: str) -> list[Served]:
    """Deploy the models of a scenario on a Ray of our own, which ends with the stack."""
    from inference.http.over_backend import OverBackend
    from inference.http.served import About
    from inference.ray_serve import deploy, ray_cluster

    loops = _loops(scenario, file)
    cluster = stack.enter_context(ray_cluster())
    found: list[Served] = []
    for loop, config in loops.items():
        name = config.deployment_name or loop
        deployed = deploy(cluster, config, name=name)
        for variant, application in deployed.applications.items():
            client = deployed.backend(variant)
            told, one = client.description, config.deployments[variant]
            about = About(
                f"{name}.{variant}" if variant else name,
                config.model_uris[variant],
                told.version,
                client.feature_names,
                told.accepts_nan,
                one.predictor_class_name,
                told.digest,
                "ray_serve",
                one.start_replicas,
            )
            found.append(
                OverBackend(
                    client,
                    about,
                    batch_invariant=told.batch_invariant,
                    ready=partial(_state, application),
                )
            )
    return found


def _state(application: str) -> str:
    """Return why an application on Ray Serve cannot answer, an empty text where it can."""
    from ray import serve

    found = serve.status().applications.get(application)
    if found is None:
        return "there is no such application on Ray Serve"
    return "" if found.status.value == "RUNNING" else f"Ray Serve says {found.status.value}"


def _in_process(scenario: Scenario, file: str) -> list[Served]:
    """Load the models of a scenario into this process."""
    from backtester.loading import load_model
    from inference.http.in_process import InProcess

    found: list[Served] = []
    for loop, config in _loops(scenario, file).items():
        loaded = load_model(scenario, loop, file)
        models = loaded if isinstance(loaded, dict) else {"": loaded}
        name = config.deployment_name or loop
        for variant, predictor in models.items():
            one = config.deployments[variant]
            found.append(
                InProcess(
                    f"{name}.{variant}" if variant else name,
                    predictor,
                    model_id=config.model_uris[variant],
                    replicas=min(max(one.start_replicas, 1), _MOST_THREADS),
                    max_queued=one.max_queued_requests if one.max_queued_requests > 0 else 100,
                )
            )
    return found
