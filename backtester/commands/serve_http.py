"""`lightcone serve http`: the models of a scenario over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.http.served import Served

__all__ = ["http"]


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

    listening = listen(host, port, settings)
    with listening:
        deployments = _served(loaded, str(scenario))
        from inference.http.app import make_app

        names = ", ".join(deployment.about.name for deployment in deployments)
        serve(
            make_app(deployments, settings),
            listening,
            settings,
            lambda address: note(f"Serving {names} at {address}. Ctrl-C stops it."),
        )


def _served(scenario: Scenario, file: str) -> list[Served]:
    """Return a deployment for each model of a scenario, named after its loop.

    Raises:
        ScenarioError: If the scenario has no model.
    """
    from backtester.errors import ScenarioError
    from backtester.loading import load_model
    from inference.http.in_process import InProcess

    if not scenario.inference_config:
        raise ScenarioError(f"{file}: `inference_config` must name a model to serve. Add it.")
    found: list[Served] = []
    for loop, config in scenario.inference_config.items():
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
                    replicas=one.start_replicas,
                    max_queued=one.max_queued_requests if one.max_queued_requests > 0 else 100,
                )
            )
    return found
