"""What can go wrong while a scenario is read and run.

SimulationError
├── InputError                 bad input: one message, exit code 2
│   ├── ScenarioError          a scenario file, or a `--set`, that cannot be used
│   └── OrderError             an order that no venue could be sent
├── StrategyError              an exception in a strategy's callback ended the run
│   └── PaperFailedError       the same in a paper run (`backtester.paper.errors`)
├── BooksDisagreeError         the books do not balance: our bug, never the user's
└── OrderStateError            a report that cannot follow in its order's state: our bug too
"""

from __future__ import annotations

from clock.errors import InputError, SimulationError

__all__ = [
    "BooksDisagreeError",
    "OrderError",
    "OrderStateError",
    "ScenarioError",
    "StrategyError",
]


class ScenarioError(InputError):
    """A scenario that cannot be run as it is written."""


class OrderError(InputError):
    """An order whose instrument, quantity or price no venue would accept as a message."""


class StrategyError(SimulationError):
    """An exception raised by a strategy; its cause carries the traceback.

    Attributes:
        callback: Name of the callback that raised, such as `on_quote`.
        instant: Simulated instant at which it was called, in ns.
    """

    def __init__(self, message: str, callback: str, instant: int) -> None:
        super().__init__(message)
        self.callback = callback
        self.instant = instant

    def __reduce__(self) -> tuple[type[StrategyError], tuple[str, str, int]]:
        return type(self), (str(self), self.callback, self.instant)


class BooksDisagreeError(SimulationError, AssertionError):
    """A ledger that does not add up to the last unit."""


class OrderStateError(SimulationError, AssertionError):
    """A report that the state machine of orders does not allow."""
