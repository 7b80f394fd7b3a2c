"""`lightcone explain`: what was behind one order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backtester.commands.shared_options import Json

__all__ = ["explain"]


def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a run made with `--lineage`.")],
    order: Annotated[int, typer.Argument(help="Number of the order, counted from 1.")],
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="Draw no order-NUMBER.png.")
    ] = False,
    json_: Json = False,
) -> None:
    """Show what was behind an order: decision, prediction, request, feature row, market records.

    Prints the chain with all its stamps, and draws it on an axis of time in the run's folder.
    """
    from backtester.commands.console import note, print_json, print_table
    from backtester.output import writing
    from backtester.report.lineage_table import chain_of, chain_table
    from backtester.result import load_result

    chain = chain_of(load_result(run), order, run)
    picture = run / f"order-{order}.png"
    if not no_picture:
        from backtester.report.lineage_picture import draw_chain

        with writing(picture, "RUN"):
            draw_chain(chain, picture)
    if json_:
        print_json(chain)
        return
    print_table(chain_table(chain))
    if not no_picture:
        note(f"Picture: {picture}.")
