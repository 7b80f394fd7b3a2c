"""The command `lightcone`."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import typer

from backtester.commands import (
    check,
    data,
    explain,
    export,
    featurize,
    paper,
    profile,
    run,
    schema,
    score,
    serve,
    serve_http,
    swarm,
    train,
    validate,
)
from backtester.errors import StrategyError
from clock.errors import InputError, SimulationError

__all__ = ["app", "main"]

app = typer.Typer(
    name="lightcone",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="An event-driven backtester in which nothing outruns its latency.",
)
app.command("run")(run.run)
app.command("train")(train.train)
app.command("check")(check.check)
app.command("swarm")(swarm.swarm)
app.command("export")(export.export)
app.command("explain")(explain.explain)
app.command("featurize")(featurize.featurize)
app.command("paper")(paper.paper)
app.command("profile")(profile.profile)
app.command("validate")(validate.validate)
app.command("schema")(schema.schema)
app.command("score")(score.score)
app.add_typer(data.app, name="data")
app.add_typer(serve.app, name="serve")
serve.app.command("http")(serve_http.http)


@app.callback()
def _root() -> None:
    """An event-driven backtester in which nothing outruns its latency."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the run failed, 2 bad input.

    A user's error is one message on standard error. An exception in a strategy shows its
    traceback, from the strategy on; an error of ours shows all of it.
    """
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> int:
    try:
        app(args=arguments)
    except InputError as error:
        _say(str(error))
        return 2
    except StrategyError as error:
        cause = error.__cause__ or error
        traceback.print_exception(type(cause), cause, _from_strategy(cause), file=sys.stderr)
        _say(str(error))
        return 1
    except SimulationError as error:
        _say(str(error))
        return 1
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0


_OURS = ("backtester.engine", "backtester.lockstep", "clock.simulated")


def _from_strategy(error: BaseException) -> Any:
    """Return the traceback without the frames of ours above the callback."""
    trace = error.__traceback__
    inner = trace
    while inner is not None and inner.tb_frame.f_globals.get("__name__") in _OURS:
        inner = inner.tb_next
    return inner or trace


def _say(text: str) -> None:
    sys.stdout.flush()
    for line in text.splitlines():
        print(f"lightcone: {line}", file=sys.stderr)
