"""Values of options: checked, and the option named where they are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

__all__ = ["days_between", "duration", "instant", "one_again", "one_of", "signed_duration"]


def duration(option: str, text: str) -> int:
    """Return a duration in ns.

    Raises:
        ScenarioError: If it is none.
    """
    from backtester.errors import ScenarioError
    from clock.errors import UnitError
    from clock.units import parse_duration

    try:
        return parse_duration(text)
    except UnitError as error:
        raise ScenarioError(f"`{option}`: {error}") from error


def signed_duration(option: str, text: str) -> int:
    """Return a duration in ns, which may be negative; see `duration`."""
    size = duration(option, text.removeprefix("-"))
    return -size if text.startswith("-") else size


def instant(option: str, text: str | None) -> int | None:
    """Return an instant in ns, or None where there is none.

    Raises:
        ScenarioError: If it is no instant.
    """
    from backtester.errors import ScenarioError
    from clock.errors import UnitError
    from clock.units import parse_instant

    if text is None:
        return None
    try:
        return parse_instant(text)
    except UnitError as error:
        raise ScenarioError(f"`{option}`: {error}") from error


def one_of(option: str, text: str, known: Sequence[str]) -> None:
    """Refuse a word that is not known.

    Raises:
        ScenarioError: With the nearest one.
    """
    from backtester.errors import ScenarioError
    from clock.nearest import did_you_mean

    if text in known:
        return
    raise ScenarioError(
        f"`{option}` must be one of {', '.join(known)}: got {text!r}."
        f"{did_you_mean(text, known)} Correct it."
    )


def one_again(text: str) -> tuple[Path | None, int]:
    """Return what `--again` of a swarm names: a folder that was kept, or else a seed.

    Raises:
        ScenarioError: If it is neither.
    """
    from backtester.errors import ScenarioError

    if text.isdecimal():
        return None, int(text)
    folder = Path(text)
    if not (folder / "scenario.yaml").is_file():
        raise ScenarioError(
            f"`--again` must be a seed, or a folder that a swarm kept: got {text!r}, which is no "
            "number and holds no scenario.yaml. Copy what the swarm printed."
        )
    return folder, -1


def days_between(start: str, until: str | None) -> list[str]:
    """Return the days of [start, until); the first one alone without `until`.

    Raises:
        ScenarioError: If one is no day, or there is none between them.
    """
    from backtester.errors import ScenarioError

    first = _day("--start", start)
    last = first + timedelta(days=1) if until is None else _day("--until", until)
    if last <= first:
        raise ScenarioError(
            f"`--until` must be after `--start`: got {until}, not after {start}. It is the first "
            f"day that is left out."
        )
    return [str(first + timedelta(days=n)) for n in range((last - first).days)]


def _day(option: str, text: str) -> date:
    from backtester.errors import ScenarioError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ScenarioError(
            f"`{option}` must be a day: got {text!r}. Write it as 2024-08-08."
        ) from None
