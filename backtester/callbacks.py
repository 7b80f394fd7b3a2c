"""Which callbacks a strategy overrides, and those among them that nothing could ever wake."""

from __future__ import annotations

from collections.abc import Collection

from backtester.errors import ScenarioError
from backtester.strategy import Strategy
from clock.nearest import nearest

__all__ = ["CALLBACKS", "check_names", "check_planes", "needs", "overrides"]

CALLBACKS = tuple(name for name in vars(Strategy) if name.startswith("on_"))
"""Every callback that there is, in the order of `Strategy`."""


def overrides(strategy: Strategy, callback: str) -> bool:
    """Return whether a strategy overrides a callback, and so wants to be called."""
    return getattr(type(strategy), callback) is not getattr(Strategy, callback)


def needs(strategy: Strategy, callback: str) -> bool:
    """Return whether a strategy overrides a callback and cannot do without it."""
    return overrides(strategy, callback) and callback not in strategy.optional_callbacks


def check_names(strategy: Strategy) -> None:
    """Refuse a method that looks like a callback and is none, or that the class does not hold.

    Names that begin with `on_` are the callbacks' own: a misspelt one would never be called, and
    the run would say nothing of it.

    Raises:
        ScenarioError: Naming the method, and the callback that may have been meant.
    """
    name = type(strategy).__name__
    for cls in type(strategy).__mro__:
        if issubclass(cls, Strategy):
            for method in vars(cls):
                if method.startswith("on_") and method not in CALLBACKS:
                    raise ScenarioError(
                        f"`{name}.{method}` must be a callback, as its name begins with on_: there "
                        f"is none of that name. {nearest(method, CALLBACKS)}"
                    )
    for callback in strategy.optional_callbacks:
        if callback not in CALLBACKS:
            raise ScenarioError(
                f"`{name}.optional_callbacks` must name callbacks: got {callback!r}. "
                f"{nearest(callback, CALLBACKS)}"
            )
    for callback in CALLBACKS:
        if _is_hidden(strategy, callback):
            raise ScenarioError(
                f"`{name}.{callback}` must be a method of the class: got an attribute of the "
                "object, which is never called. Define it in the class."
            )


def _is_hidden(strategy: Strategy, callback: str) -> bool:
    """Return whether an attribute of the object hides the class's callback.

    Its `vars` are asked for only where there is reason to: from then on every attribute of the
    object takes longer to read, which a strategy that is called on every quote would feel.
    """
    found, of_class = getattr(strategy, callback), getattr(type(strategy), callback)
    if found is of_class or getattr(found, "__func__", None) is of_class:
        return False
    return callback in vars(strategy)


def check_planes(strategy: Strategy, *, has_rows: bool, loops: Collection[str]) -> None:
    """Refuse callbacks for rows, answers and data that the scenario does not have.

    Args:
        strategy: The strategy.
        has_rows: Whether the scenario has a `featurizer`.
        loops: Names of its inference loops.

    Raises:
        ScenarioError: Naming the callback, and what would wake it.
    """
    wakers = (
        ("on_features", has_rows, "a `featurizer`, whose rows wake it", "none"),
        ("on_prediction", bool(loops), "an `inference_config`, whose answers wake it", "none"),
        (
            "on_data",
            bool(strategy.data_fields),
            "the class to name the kinds that wake it in `data_fields`",
            "an empty one",
        ),
    )
    for callback, is_woken, what, got in wakers:
        if needs(strategy, callback) and not is_woken:
            raise ScenarioError(
                f"`{type(strategy).__name__}.{callback}` needs {what}: got {got}. Add it, or drop "
                "the callback."
            )
