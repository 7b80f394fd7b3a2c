"""What can end a paper run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtester.errors import StrategyError

if TYPE_CHECKING:
    from backtester.result import RunResult

__all__ = ["PaperFailedError"]


class PaperFailedError(StrategyError):
    """A strategy's exception in a paper run, whose time cannot be had again.

    Attributes:
        result: What was recorded until then, marked as stopped.
    """

    def __init__(self, error: StrategyError, result: RunResult) -> None:
        super().__init__(str(error), error.callback, error.instant)
        self.result = result

    def __reduce__(self) -> tuple[type[StrategyError], tuple[str, str, int]]:
        return StrategyError, (str(self), self.callback, self.instant)
