"""A refusal of market records: the first that breaks a rule, and how many do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featurizer.errors import MarketDataError
from featurizer.market import Array

__all__ = ["Origin", "plain", "refuse_if"]


@dataclass(frozen=True)
class Origin:
    """Where records come from, for messages.

    Attributes:
        file: Name of the file, or of the table when there is no file.
        word: `row` (counted from 0) or `line` (counted from 1).
        numbers: Row number of each record; without it, its position.
    """

    file: str
    word: str = "row"
    numbers: Array | None = None

    def at(self, index: int) -> str:
        """Return `file row n` for the record at an index."""
        number = index if self.numbers is None else int(self.numbers[index])
        return f"{self.file} {self.word} {number}"

    def take(self, order: Array) -> Origin:
        """Return the origin of the records in another order."""
        numbers = order if self.numbers is None else self.numbers[order]
        return Origin(self.file, self.word, numbers)


def refuse_if(
    broken: Array, origin: Origin, what: str, value: Callable[[int], str], remedy: str
) -> None:
    """Raise for the first record that breaks a rule, and say how many do.

    Args:
        broken: Shape (n,), true where a record breaks the rule.
        origin: Where the records come from.
        what: The column in backticks, and the rule.
        value: Text of the offending value, given the record's index.
        remedy: What to do, as a sentence.

    Raises:
        MarketDataError: If any record breaks the rule.
    """
    if not broken.any():
        return
    first, count = int(np.argmax(broken)), int(np.count_nonzero(broken))
    also = f" {count} of {len(broken)} {origin.word}s break this rule." if count > 1 else ""
    raise MarketDataError(f"{origin.at(first)}: {what}: got {value(first)}.{also} {remedy}")


def plain(value: object) -> str:
    """Return the text of a number, without the name of its NumPy type."""
    return repr(value.item()) if isinstance(value, np.generic) else repr(value)
