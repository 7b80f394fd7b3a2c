"""From a scenario's names to objects: the strategy, its parameters, the instruments, the models."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ValidationError

from backtester.errors import ScenarioError
from backtester.scenario import Scenario
from backtester.scenario_faults import checked_value, refused
from backtester.strategy import Strategy
from clock.nearest import nearest
from clock.units import format_instant
from clock.user_modules import import_user_module
from featurizer.market import Instrument

if TYPE_CHECKING:
    from featurizer.catalog import Catalog
    from featurizer.synthetic import SyntheticMarket
    from inference.predictors.base import Predictor

__all__ = [
    "load_model",
    "load_predictor",
    "load_strategy",
    "make_synthetic",
    "open_catalog",
    "scenario_instruments",
    "trained_late",
]


def load_strategy(path: str, params: Mapping[str, Any]) -> Strategy:
    """Return a strategy by the dotted path of its class, its parameters checked.

    Args:
        path: `module.Class`; modules are also found in the folder the command is run from.
        params: Keyword arguments of the class, checked against its annotations.

    Raises:
        ScenarioError: If there is no such module or class, it is no strategy, or a parameter is
            unknown or of another type.
    """
    cls = _strategy_class(path)
    signature = inspect.signature(cls)
    known = [name for name in signature.parameters if name != "self"]
    for name in params:
        if name not in signature.parameters:
            raise ScenarioError(f"strategy.params: {path} has no `{name}`. {nearest(name, known)}")
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in params
    ]
    if missing:
        raise ScenarioError(f"strategy.params: {path} needs `{'`, `'.join(missing)}`. Add it.")
    hints = _hints(cls)
    where = f"strategy.params: {path}:"
    checked = {
        name: checked_value(hints.get(name, Any), value, f"{where} `{name}`")
        for name, value in params.items()
    }
    try:
        return cls(**checked)
    except ValueError as error:
        raise ScenarioError(f"{where} it refuses its parameters: {error}") from error
    except Exception as error:
        raise ScenarioError(
            f"strategy: {path}.__init__ must make a strategy of its parameters: it raised "
            f"{type(error).__name__}, {error} ({_raised_at(error)}). Correct it."
        ) from error


def open_catalog(scenario: Scenario) -> Catalog:
    """Open the scenario's catalog, making its synthetic market first where one is declared.

    Raises:
        CatalogError: If there is no catalog.
        ScenarioError: If the catalog holds something else than the synthetic market declared.
    """
    from featurizer.catalog import Catalog

    data = scenario.data
    if data.synthetic is not None:
        if (data.catalog / "instruments.yaml").exists():
            _check_made_of(data.synthetic, data.catalog)
        else:
            make_synthetic(data.synthetic, data.catalog)
    return Catalog(data.catalog)


def make_synthetic(
    config: SyntheticMarket, root: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Make a synthetic market in a new folder, whole or not at all, and note what it is made of.

    Raises:
        ScenarioError: If the folder holds anything already, or cannot be written.
    """
    from featurizer.synthetic import write_synthetic

    root = root.absolute()
    new = root.with_name(f".{root.name}.{os.getpid()}.new")
    try:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise ScenarioError(
                f"`{root}` must be a new folder for a synthetic market: got one that holds "
                "something. Name another one, or remove it."
            )
        write_synthetic(config, new, progress=progress)
        (new / _MADE_OF).write_text(config.model_dump_json(indent=2) + "\n")
        new.rename(root)
    except ValidationError as error:
        raise refused("synthetic market", error) from error
    except OSError as error:
        raise ScenarioError(
            f"`{root}` must be a folder that can be written: {error.strerror}."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def scenario_instruments(scenario: Scenario, catalog: Catalog) -> list[Instrument]:
    """Return the scenario's instruments as they are defined at its start.

    Raises:
        CatalogError: If the catalog does not know one, or not yet at that instant.
        ScenarioError: If the definition of one changes during the run.
    """
    found = [catalog.instrument(name, scenario.data.start) for name in scenario.data.instruments]
    for name in scenario.data.instruments:
        for entry in catalog.definitions[name]:
            if scenario.data.start < entry.valid_from < scenario.data.until:
                raise ScenarioError(
                    f"`data` must lie within one definition of {name}: another one is valid from "
                    f"{format_instant(entry.valid_from)}. Run the parts before and after it apart."
                )
    return found


def load_predictor(
    scenario: Scenario, loop: str, scenario_file: str
) -> Predictor | dict[str, Predictor]:
    """Resolve a loop's models once, load them, and refuse one that could have seen the run.

    Args:
        scenario: The scenario.
        loop: Name of the loop.
        scenario_file: Named in the command that would make a missing model.

    Returns:
        The model, or one by the name of each variant where the loop has variants.

    Raises:
        ModelNotFoundError: If there is no such model; names the command that makes it.
        FeatureMismatchError: If it expects other features.
        ScenarioError: If it was trained on labels visible at or after the run's start.
    """
    loaded = load_model(scenario, loop, scenario_file)
    uris = scenario.inference_config[loop].model_uris
    models = loaded if isinstance(loaded, dict) else {"": loaded}
    for name, predictor in models.items():
        fault = trained_late(predictor, uris[name], scenario.data.start)
        if fault:
            raise ScenarioError(f"{fault} Train it on an earlier range, or start the run later.")
    return loaded


def load_model(
    scenario: Scenario, loop: str, scenario_file: str
) -> Predictor | dict[str, Predictor]:
    """Resolve a loop's models and load them, whatever they were trained on.

    See `load_predictor`.
    """
    from backtester.train import stacked_columns
    from inference.models import load_model as load
    from inference.models import model_specs
    from inference.registry import Registry

    config = stacked_columns(scenario.inference_config[loop], scenario.featurizer)
    hint = f"Make it with `lightcone train {scenario_file}`."
    specs = model_specs(config, Registry(), hint)
    loaded = {name: load(spec) for name, spec in specs.items()}
    return loaded if config.variants else loaded[""]


def trained_late(predictor: Predictor, uri: str, start: int) -> str:
    """Return in words that a model was trained on what a run is yet to see, or nothing."""
    record = predictor.training
    if record is None or record.last_label_visible_at < start:
        return ""
    return (
        f"inference_config.model_uri: the labels `{uri}` was trained on must be visible before the "
        f"run's start ({format_instant(start)}): its last one became visible at "
        f"{format_instant(record.last_label_visible_at)}."
    )


_MADE_OF = "synthetic.json"


def _check_made_of(config: SyntheticMarket, root: Path) -> None:
    # a market of another seed or length under the same name would give another answer, silently
    note = root / _MADE_OF
    made_of = json.loads(note.read_text()) if note.exists() else {}
    wanted = config.model_dump(mode="json")
    other = [name for name, value in wanted.items() if made_of.get(name) != value]
    if other:
        raise ScenarioError(
            f"`data.synthetic` must be what {root} was made of: got another "
            f"{', '.join(f'`{name}`' for name in other)}. Remove the folder to make the market "
            "anew, or name another `data.catalog`."
            if made_of
            else f"`data.synthetic` must be what {root} was made of: that catalog was not made by "
            "a scenario. Remove `data.synthetic` to use it as it is, or the folder to make it anew."
        )


def _strategy_class(path: str) -> type[Strategy]:
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise ScenarioError(
            f"`strategy.class` must be a dotted path, module.Class: got {path!r}. "
            "Ours are backtester.strategies.MLStrategy and backtester.strategies.BuyAndHold."
        )
    module = import_user_module(module_name, "strategy.class", ScenarioError)
    if module is None:
        raise ScenarioError(
            f"`strategy.class` must lead to a module: there is no module {module_name!r} "
            f"(got {path!r}). Modules are looked up from {Path.cwd()}."
        )
    cls = getattr(module, name, None)
    if cls is None:
        classes = [n for n, c in vars(module).items() if _is_strategy(c)]
        raise ScenarioError(
            f"`strategy.class`: {module_name} has no `{name}`. {nearest(name, classes)}"
        )
    if not _is_strategy(cls):
        raise ScenarioError(
            f"`strategy.class` must be a subclass of backtester.strategy.Strategy: got {path}."
        )
    found: type[Strategy] = cls
    return found


def _is_strategy(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Strategy) and thing is not Strategy


def _raised_at(error: Exception) -> str:
    """Return file and line where an exception was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _hints(cls: type[Strategy]) -> dict[str, Any]:
    try:
        return get_type_hints(cls.__init__, include_extras=True)  # durations are annotated ints
    except NameError:
        return {}  # names imported for type checkers alone: nothing to check values against
