"""A drawn scenario as a person reads it, and as the commands run it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from backtester.causality.strategies.markets import Market
from backtester.causality.strategies.stamps import START, Row
from backtester.scenario import Scenario
from clock.errors import InputError
from clock.units import format_duration

__all__ = ["Example", "possible"]

KEPT_IN = "counterexamples"
"""Folder, below the working one, in which examples that broke a law are kept."""

_MOST_SHOWN = 60


class Example:
    """A whole scenario as plain data: `repr` is its YAML and a table of its records.

    Attributes:
        market: Instruments and records.
        mapping: The scenario file's content; its paths start in the folder it is written to.
        models: The content of each model's JSON file, by the file's name.
    """

    # no dataclass: Hypothesis prints those field by field, whatever their `repr` is

    def __init__(
        self, market: Market, mapping: Mapping[str, Any], models: Mapping[str, Any] | None = None
    ) -> None:
        self.market, self.mapping, self.models = market, mapping, dict(models or {})

    def write(self, folder: Path) -> Path:
        """Write scenario, catalog and models into a folder; return the scenario's file."""
        folder.mkdir(parents=True, exist_ok=True)
        self.market.write(folder / "catalog")
        for name, content in self.models.items():
            (folder / name).write_text(json.dumps(content) + "\n")
        file = folder / "scenario.yaml"
        file.write_text(self.yaml())
        return file

    @contextlib.contextmanager
    def written(self, keep: Path | str = KEPT_IN, *, kept: bool = True) -> Iterator[Path]:
        """Work in a folder that holds the scenario, and keep it where the block fails.

        What fails in the block carries a note: the scenario, its records, and the command that
        shows the failure again.

        Args:
            keep: Where to keep the folder then, below the working folder.
            kept: False where nothing is to be kept, and nothing noted.
        """
        home = Path.cwd()
        with tempfile.TemporaryDirectory(prefix="lightcone-example-") as scratch:
            file = self.write(Path(scratch))
            with contextlib.chdir(scratch):
                try:
                    yield file.relative_to(scratch)
                except InputError:
                    raise  # a scenario that its own rules refuse breaks no law
                except Exception as error:
                    if kept:
                        error.add_note(self.told(self._keep(home / keep, file.parent)))
                    raise

    def kept_in(self, root: Path) -> Path:
        """Return where this example is kept below a root."""
        return root / self.digest()[:12]

    def _keep(self, root: Path, folder: Path) -> Path:
        kept = self.kept_in(root)
        if not kept.exists():
            new = kept.with_name(f".{kept.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(folder, new)
            new.rename(kept)
        return kept

    def digest(self) -> str:
        """Return a digest of its content."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def told(self, kept: Path) -> str:
        """Return the example in words, with the command that asserts the laws on it again."""
        return f"{self!r}\nAgain: lightcone swarm --again {kept}"

    def yaml(self) -> str:
        """Return the scenario as YAML."""
        return yaml.safe_dump(json.loads(json.dumps(self.mapping)), sort_keys=False, width=100)

    def table(self) -> str:
        """Return the records as a table, in the order in which they happen."""
        told = [
            (row["event_time"], name, kind, row)
            for (name, kind), rows in self.market.streams.items()
            for row in rows
        ]
        told.sort(key=lambda item: item[0])
        lines = [f"{'happens':>9} {'reaches us':>10}  record"]
        lines += [_line(name, kind, row) for _, name, kind, row in told[:_MOST_SHOWN]]
        if len(told) > _MOST_SHOWN:
            lines.append(f"… and {len(told) - _MOST_SHOWN} more")
        return "\n".join(lines)

    def __repr__(self) -> str:
        terms = "".join(f"#   {json.dumps(one)}\n" for one in self.market.terms)
        models = "".join(f"# {name}: {json.dumps(one)}\n" for name, one in self.models.items())
        records = "".join(f"# {line}\n" for line in self.table().splitlines())
        return f"{self.yaml()}# instruments:\n{terms}{models}{records}"


def possible(example: Example) -> bool:
    """Whether the scenario's own rules accept it."""
    try:
        Scenario.model_validate(dict(example.mapping))
    except (ValidationError, InputError):
        return False
    return True


def _line(name: str, kind: str, row: Row) -> str:
    happens, reaches = (_since(row[stamp]) for stamp in ("event_time", "receipt_time"))
    shown = [f"{column} {_short(column, row[column])}" for column in _own(row)]
    return f"{happens:>9} {reaches:>10}  {kind} of {name}: {', '.join(shown)}"


def _own(row: Row) -> Sequence[str]:
    return [name for name in row if name not in ("event_time", "receipt_time", "sequence")]


def _short(column: str, value: Any) -> str:
    return _since(value) if column.endswith("_time") else f"{value:g}"


def _since(instant: int) -> str:
    after = instant - START
    return f"-{format_duration(-after)}" if after < 0 else format_duration(after)
