"""From a scenario's names to objects: the strategy, its parameters, the instruments, the models."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from backtester.engine import nearest
from backtester.errors import ScenarioError
from backtester.scenario import Scenario
from backtester.strategy import Strategy
from clock.units import format_instant
from featurizer.market import Instrument

if TYPE_CHECKING:
    from featurizer.catalog import Catalog
    from inference.predictors.base import Predictor

__all__ = ["load_predictor", "load_strategy", "open_catalog", "scenario_instruments"]


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
            raise ScenarioError(f"strategy.params: {path} has no `{name}`.{nearest(name, known)}")
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in params
    ]
    if missing:
        raise ScenarioError(f"strategy.params: {path} needs `{'`, `'.join(missing)}`. Add it.")
    hints = get_type_hints(cls.__init__)
    checked = {name: _checked(path, name, hints.get(name, Any), params[name]) for name in params}
    return cls(**checked)


def open_catalog(scenario: Scenario) -> Catalog:
    """Open the scenario's catalog, making its synthetic market first where one is declared."""
    from featurizer.catalog import Catalog

    data = scenario.data
    if data.synthetic is not None and not (data.catalog / "instruments.yaml").exists():
        from featurizer.synthetic import write_synthetic

        write_synthetic(data.synthetic, data.catalog)
    return Catalog(data.catalog)


def scenario_instruments(scenario: Scenario, catalog: Catalog) -> list[Instrument]:
    """Return the scenario's instruments as they are defined at its start.

    Raises:
        CatalogError: If the catalog does not know one, or not yet at that instant.
        ScenarioError: If one is not quoted in the portfolio's currency, or is an inverse contract.
    """
    found = [catalog.instrument(name, scenario.data.start) for name in scenario.data.instruments]
    for instrument in found:
        if instrument.quote != scenario.portfolio.quote:
            raise ScenarioError(
                f"`portfolio.quote` must be the quote currency of {instrument.id}: got "
                f"{scenario.portfolio.quote}, which is not {instrument.quote}."
            )
        if instrument.contract == "inverse":
            raise ScenarioError(
                f"{instrument.id}: `contract` must be spot or linear in this version: got inverse."
            )
    return found


def load_predictor(scenario: Scenario, loop: str, scenario_file: str) -> Predictor:
    """Resolve a loop's model once, load it, and refuse one that could have seen the run.

    Args:
        scenario: The scenario.
        loop: Name of the loop.
        scenario_file: Named in the command that would make a missing model.

    Raises:
        ModelNotFoundError: If there is no such model; names the command that makes it.
        FeatureMismatchError: If it expects other features.
        ScenarioError: If it was trained on labels visible at or after the run's start.
    """
    from inference.registry import Registry

    from inference.predictors import load

    config = scenario.inference_config[loop]
    hint = f"Make it with `lightcone train {scenario_file}`."
    resolved = Registry().resolve(config.model_uri, hint=hint)
    predictor = load(config.predictor_class_name, resolved)
    record = predictor.training
    start = scenario.data.start
    if record is not None and record.last_label_visible_at >= start:
        raise ScenarioError(
            f"inference_config.model_uri: the labels `{config.model_uri}` was trained on must be "
            f"visible before the run's start ({format_instant(start)}): its last one became "
            f"visible at {format_instant(record.last_label_visible_at)}. Train it on an earlier "
            "range, or start the run later."
        )
    return predictor


def _strategy_class(path: str) -> type[Strategy]:
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ScenarioError(
            f"`strategy.class` must be a dotted path, module.Class: got {path!r}. "
            "Ours are backtester.strategies.MLStrategy and backtester.strategies.BuyAndHold."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise ScenarioError(
            f"`strategy.class` must lead to a module: there is no module {error.name!r} "
            f"(got {path!r}). Modules are looked up from {here}."
        ) from error
    cls = getattr(module, name, None)
    if cls is None:
        classes = [n for n, c in vars(module).items() if _is_strategy(c)]
        raise ScenarioError(
            f"`strategy.class`: {module_name} has no `{name}`.{nearest(name, classes)}"
        )
    if not _is_strategy(cls):
        raise ScenarioError(
            f"`strategy.class` must be a subclass of backtester.strategy.Strategy: got {path}."
        )
    found: type[Strategy] = cls
    return found


def _is_strategy(thing: Any) -> bool:
    return isinstance(thing, type) and issubclass(thing, Strategy) and thing is not Strategy


def _checked(path: str, name: str, kind: Any, value: Any) -> Any:
    try:
        adapter = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        return adapter.validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ScenarioError(
            f"strategy.params: `{name}` of {path}: {reason}: got {value!r}."
        ) from error
