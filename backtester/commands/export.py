"""`lightcone export`: a scenario's model in ONNX, and in eight bits, registered beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from backtester.commands.shared_options import Json, Loop, Overrides, ScenarioFile, Variant

__all__ = ["export"]


def export(
    scenario: ScenarioFile,
    to: Annotated[
        str, typer.Option("--to", help="What to make, separated by commas: onnx, int8.")
    ] = "onnx",
    loop: Loop = None,
    variant: Variant = None,
    set_: Overrides = None,
    json_: Json = False,
) -> None:
    """Register a model's variants beside it, with their size, accuracy and latency.

    `models:/NAME/1` becomes `models:/NAME-onnx/1`, and `models:/NAME-int8/1` with weights of eight
    bits where it multiplies matrices. Accuracy is on the rows that its training held out.
    """
    from backtester.commands.console import note, print_json, print_table, progress
    from backtester.commands.options import one_of
    from backtester.commands.serve import named
    from backtester.scenario import load_scenario

    kinds = [kind.strip() for kind in to.split(",")]
    from backtester.export import KINDS, export_scenario

    for kind in kinds:
        one_of("--to", kind, KINDS)
    loaded = load_scenario(scenario, set_ or [])
    config = named("loop", "inference_config", loaded.inference_config, loop)
    name = next(key for key, one in loaded.inference_config.items() if one is config)
    if config.variants or variant is not None:
        named("variant", "variants", config.variants, variant)
        variant = variant or next(iter(config.variants))
    with progress(f"reading {loaded.name}", quiet=json_) as report:
        made = export_scenario(
            loaded,
            kinds,
            loop=name,
            variant=variant or "",
            scenario_file=str(scenario),
            progress=report,
        )
    from backtester.report.exported import exported_json, exported_table

    if json_:
        print_json(exported_json(made))
        return
    print_table(exported_table(made))
    note(f"Single rows on {made.latency.machine}.")
    for one in made.variants:
        note(
            f"models:/{one.model.name}/{one.model.version} is asked with "
            "`predictor_class_name: OnnxPredictor`."
        )
