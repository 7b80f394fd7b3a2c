"""What a check came to, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Counterexample", "Coverage", "Verdict"]

Kind = Literal["leak", "none found", "unproven"]


@dataclass(frozen=True)
class Counterexample:
    """A change to the future that changed the past.

    Attributes:
        law: `2a` (something that has not happened yet), `2b` (something that has not reached us).
        cut: Last instant that both futures share.
        what: The first decision, row or answer that changed, in words.
        instant: When it became a fact.
        columns: Features or fields that changed, with both values.
        record: The record it was reached by: stream, stamps, and how long after the cut.
        replay: The command that shows it again.
    """

    law: str
    cut: str
    what: str
    instant: str
    columns: tuple[tuple[str, str, str], ...]
    record: str
    replay: str


@dataclass
class Coverage:
    """How hard the check has looked.

    Attributes:
        cuts: Cuts tried, each with at least one other future.
        futures: Other futures run.
        records: Records changed in all of them together.
        decisions: Instants at which the strategy decided.
        decisions_cut: Those at which time was cut.
        decisions_walked: Those up to which the run was repeated record by record: no code that
            looks beyond what it is handed could have decided otherwise there.
        failed: Other futures that could not be run, and so tell nothing.
    """

    cuts: int = 0
    futures: int = 0
    records: int = 0
    decisions: int = 0
    decisions_cut: int = 0
    decisions_walked: int = 0
    failed: int = 0


@dataclass
class Verdict:
    """The answer of a check.

    Attributes:
        kind: `leak`, `none found` or `unproven`.
        leaks: Leaks that need no future: each a sentence.
        counterexample: A future that changed the past, if one did.
        doubts: What the check cannot see into, each a sentence; they make it unproven.
        coverage: How hard it has looked.
        seconds: How long it has looked.
    """

    kind: Kind
    leaks: list[str] = field(default_factory=list)
    counterexample: Counterexample | None = None
    doubts: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 nothing found, 1 a leak, 3 could not decide."""
        return {"none found": 0, "leak": 1, "unproven": 3}[self.kind]

    def sentences(self) -> list[str]:
        """Return what was found, a sentence each."""
        found = list(self.leaks)
        if self.counterexample is not None:
            example = self.counterexample
            told = "; ".join(
                f"{name} {real} against {other}" for name, real, other in example.columns
            )
            found.append(
                f"{example.what} changed ({told or 'it is there in one run alone'}), reached by "
                f"{example.record}. Again: {example.replay}"
            )
        return found + self.doubts

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)
