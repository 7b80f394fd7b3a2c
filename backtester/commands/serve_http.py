"""`lightcone serve http`: the models of a scenario over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from backtester.commands.shared_options import Address, Overrides, ScenarioFile

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.config import InferenceConfig
    from inference.http.served import Served

__all__ = ["http"]

_MOST_THREADS = 64
"""Replicas in this process are threads: more than this help no processor."""


def http(
    scenario: ScenarioFile,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback ask for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    backend: Annotated[
        str, typer.Option(help="`local`: models in this process; `ray_serve`: its replicas.")
    ] = "local",
    address: Address = None,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="File with the bearer token; by default LIGHTCONE_HTTP_TOKEN, if set."),
    ] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one batch.")] = 10_000,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of one request's body.")] = 1 << 20,
    timeout: Annotated[str, typer.Option(help="How long an answer may take.")] = "30s",
    set_: Overrides = None,
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
            from inference.http.on_ray_serve import on_ray_serve
            from inference.ray_serve import of_models, ray_cluster

            loops = _loops(loaded, str(scenario))
            connection = ray_cluster(address, keep_off=of_models(loops.values()))
            deployments = on_ray_serve(stack.enter_context(connection), loops)
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
