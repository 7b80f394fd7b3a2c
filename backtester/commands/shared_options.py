"""The options that several commands share, each written once. typer reads them at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

__all__ = [
    "Address",
    "Jobs",
    "Json",
    "Loop",
    "NoReport",
    "Overrides",
    "RealOrLocal",
    "ScenarioFile",
    "Variant",
]

ScenarioFile = Annotated[Path, typer.Argument(help="The scenario's YAML file.")]
Overrides = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", help="Override: dotted.key=value, the value in YAML. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, and nothing else.")]
Loop = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Which loop, where there are several."),
]
Variant = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Which variant, where the loop has several."),
]
Jobs = Annotated[int, typer.Option(min=1, help="Processes at work.")]
RealOrLocal = Annotated[str, typer.Option(help="`ray_serve`, or `local`: threads of this process.")]
Address = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="A Ray's `host:port`, from one of its machines; by default one of our own here."
    ),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Draw no report.png.")]
