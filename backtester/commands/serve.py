"""`lightcone serve`: the deployment of a scenario, looked at alone."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from backtester.commands import serve_ray
from backtester.commands.shared_options import Json, Loop, Overrides, ScenarioFile, Variant

if TYPE_CHECKING:
    from backtester.scenario import Scenario
    from inference.config import InferenceConfig

__all__ = ["app", "named"]

app = typer.Typer(
    no_args_is_help=True,
    help="Plan a deployment, explain an answer's latency, and deploy on Ray Serve.",
)
app.command("deploy")(serve_ray.deploy)
app.command("status")(serve_ray.status)
app.command("scale")(serve_ray.scale)
app.command("delete")(serve_ray.delete)


@app.command("plan")
def plan(
    scenario: ScenarioFile,
    rate: Annotated[float, typer.Option(help="Requests a second; arrivals are Poisson.")],
    slo: Annotated[str, typer.Option(help="Bound of a quantile of the latency, as p99=20ms.")],
    batching: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Try only `none`, `ray` or `triton`."),
    ] = None,
    max_replicas: Annotated[int, typer.Option(min=1, max=4096, help="Try no more.")] = 64,
    requests: Annotated[
        int, typer.Option(min=1000, help="Requests of each simulation; more take longer.")
    ] = 20_000,
    repeats: Annotated[
        float, typer.Option(min=0, max=1, help="Share that asks what the one before asked: a cache")
    ] = 0.0,
    model_size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Memory of a model, as 250MB; by default its artifact's size, if any."),
    ] = None,
    replica_memory: Annotated[
        str, typer.Option(help="Memory of a replica beside its model, as 300MB.")
    ] = "0MB",
    price: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Price of a replica for an hour; by default cost is in hours."),
    ] = None,
    loop: Loop = None,
    variant: Variant = None,
    set_: Overrides = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Picture of the trade-off; by default runs/NAME-plan.png."),
    ] = None,
    json_: Json = False,
) -> None:
    """Find the fewest replicas, and the batching, that answer in time.

    By simulation: requests of a Poisson process, whether or not earlier ones are answered, through
    the deployment as the scenario describes it. Nothing of the market is needed.
    """
    from backtester.commands.console import note, print_json, print_table, progress
    from backtester.commands.options import one_of
    from backtester.errors import ScenarioError
    from backtester.output import check_file, writing
    from backtester.scenario import load_scenario

    if batching is not None:
        one_of("--batching", batching, ("none", "ray", "triton"))
    if not 0 < rate <= 1e6:
        raise ScenarioError(f"`--rate` must be above 0 and at most 1,000,000: got {rate:g}.")
    for option, number in (("--repeats", repeats), ("--price", price or 0.0)):
        if not isfinite(number):
            raise ScenarioError(f"`{option}` must be a finite number: got {number:g}.")
    loaded = load_scenario(scenario, set_ or [])
    config = _deployment(loaded, loop, variant)
    memory = _memory(config, model_size, replica_memory)
    picture = Path("runs") / f"{loaded.name}-plan.png" if out is None else out
    check_file(picture)
    from backtester.report.plan_table import Costs, plan_json, plan_table
    from inference.serving.goals import Goal, Load
    from inference.serving.plan import make_plan, options_for

    goal = Goal.parse(slo)
    load = Load(rate, requests, repeats, loaded.seed)
    with progress("simulating", quiet=json_) as report:
        made = make_plan(
            config,
            goal,
            load,
            options=options_for(config, goal, batching),
            most_replicas=max_replicas,
            progress=report,
        )
    features = len(config.features or ())
    costs = Costs(memory, price, rate * features * 8 if features else None)
    from backtester.report.plan_picture import draw_plan

    with writing(picture):
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_plan(made, config, costs, picture)
    if json_:
        print_json(plan_json(made, costs) | {"picture": str(picture)})
        return
    print_table(plan_table(made, costs))
    for remark in made.remarks:
        note(f"Note: {remark}")
    note(f"Picture: {picture}.")


@app.command("explain")
def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a saved run.")],
    request: Annotated[int, typer.Option(min=0, help="Number of the request.")],
    loop: Loop = None,
    json_: Json = False,
) -> None:
    """Say where the latency of one request went: legs that add up to it exactly."""
    from backtester.commands.console import print_json, print_table
    from backtester.report.explained import request_json, request_table
    from backtester.result import load_result

    told = request_json(load_result(run), request, loop)
    if json_:
        print_json(told)
    else:
        print_table(request_table(told))


def _deployment(scenario: Scenario, loop: str | None, variant: str | None) -> InferenceConfig:
    """Return the loop to plan for, with one variant's deployment in place of several.

    Raises:
        ScenarioError: If the scenario has no such loop or variant, or several and none is named.
    """
    config = named("loop", "inference_config", scenario.inference_config, loop)
    if not config.variants:
        if variant is not None:
            named("variant", "variants", {}, variant)
        return config
    chosen = named("variant", "variants", config.variants, variant)
    return config.model_copy(
        update={
            **{
                name: getattr(chosen, name) for name in type(chosen).model_fields if name in _SHARED
            },
            "variants": {},
            "routing": None,
        }
    )


_SHARED = {
    "model_uri",
    "predictor_class_name",
    "predictor_params",
    "trust_model_files",
    "max_ongoing_requests",
    "max_queued_requests",
    "service_time",
    "latency",
    "network",
    "replica_speeds",
    "cold_start",
    "warm_up",
    "router",
    "batching",
    "queue",
    "faults",
}


def named(what: str, where: str, known: Any, name: str | None) -> Any:
    """Return the loop or variant of a scenario that an option names, the only one by default.

    Raises:
        ScenarioError: If it has none of that name, or several and none is named.
    """
    from backtester.errors import ScenarioError

    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name in known:
        return known[name]
    got = "nothing" if name is None else f"'{name}'"
    listed = ", ".join(known) or f"none: the scenario has no `{where}`"
    raise ScenarioError(
        f"`--{what}` must name a {what} of the scenario: got {got}. Known: {listed}."
    )


def _memory(config: InferenceConfig, model_size: str | None, beside: str) -> float | None:
    """Return the memory of one replica in bytes; None where the model's size is not known."""
    from clock.errors import InputError

    more = _bytes("--replica-memory", beside)
    if model_size is not None:
        return _bytes("--model-size", model_size) + more
    from inference.registry import Registry

    try:
        path = Registry().resolve(config.model_uri).path
    except InputError:
        return None
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) + more


def _bytes(option: str, text: str) -> float:
    import re

    from backtester.errors import ScenarioError

    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB)", text.strip())
    if match is None:
        raise ScenarioError(f"`{option}` must be a size: got {text!r}. Write it as 250MB.")
    return float(match[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[match[2]]
