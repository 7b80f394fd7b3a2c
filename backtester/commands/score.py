"""`lightcone score`: a Parquet file, scored offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from backtester.commands.shared_options import Json, Loop, Variant

if TYPE_CHECKING:
    from inference.predictors.base import Predictor

__all__ = ["score"]

_SCENARIOS = (".yaml", ".yml")


def score(
    model: Annotated[
        str, typer.Argument(help="A scenario's YAML file, or a model's URI.", metavar="MODEL")
    ],
    input_: Annotated[Path, typer.Option("--input", help="Parquet file with the features.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write; replaced as a whole.")],
    chunk_rows: Annotated[int, typer.Option(min=1, help="Rows held in memory at once.")] = 65_536,
    features: Annotated[
        Optional[str],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(help="Columns that are the model's features, in its order: a,b,c."),
    ] = None,
    predictor: Annotated[
        str, typer.Option(help="Predictor class, where MODEL is a URI.")
    ] = "XGBoostPredictor",
    loop: Loop = None,
    variant: Variant = None,
    json_: Json = False,
) -> None:
    """Add the column `prediction` to the rows of a Parquet file, chunk by chunk.

    Rows with a missing feature are given to models that accept that, and a null prediction by the
    others. Memory does not grow with the file. Model files are code: score with those you trust.
    """
    from backtester.commands.console import note, print_json, progress
    from backtester.errors import ScenarioError
    from backtester.output import check_file, writing

    check_file(out)
    if out.exists() and input_.exists() and out.samefile(input_):
        raise ScenarioError(f"`--out` must be another file than `--input`: got {out} for both.")
    uri, loaded = _load(model, predictor, loop, variant)
    from inference.scoring import score_file

    names = None if features is None else [name.strip() for name in features.split(",")]
    with progress(f"scoring {input_.name}", quiet=json_) as report, writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        found = score_file(
            loaded,
            input_,
            out,
            features=names,
            chunk_rows=chunk_rows,
            model_uri=uri,
            progress=report,
        )
    if json_:
        model_told = {"uri": uri, "version": loaded.version, "digest": loaded.digest}
        print_json({"path": str(out), "model": model_told, **found._asdict()})
        return
    note(f"Saved to {out}: {found.rows:,} rows, {found.predicted:,} predicted by {uri}.")
    if found.missing:
        note(f"{found.missing:,} rows lack a feature: the model does not accept that, so null.")
    if found.not_a_number:
        note(f"{found.not_a_number:,} rows were answered with NaN.")
    if not loaded.batch_invariant:
        note("The model's bits depend on the batch: it was asked row by row.")


def _load(
    model: str, class_name: str, loop: str | None, variant: str | None
) -> tuple[str, Predictor]:
    """Return a model and the URI that it was loaded from."""
    from inference.models import ModelSpec, load_model, model_specs
    from inference.registry import Registry

    if model.endswith(_SCENARIOS):
        from backtester.commands.serve import named
        from backtester.scenario import load_scenario
        from backtester.train import stacked_columns

        scenario = load_scenario(model)
        config = named("loop", "inference_config", scenario.inference_config, loop)
        specs = model_specs(stacked_columns(config, scenario.featurizer), Registry())
        if not config.variants and variant is None:
            spec = specs[""]
        else:
            spec = named("variant", "variants", specs if config.variants else {}, variant)
        return spec.uri, load_model(spec)
    found = Registry().resolve(model)
    return model, load_model(ModelSpec.of(found, class_name))
