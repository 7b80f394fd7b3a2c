"""A counterexample as a person reads it, and as a command replays it."""

from __future__ import annotations

from pathlib import Path

from backtester.causality.catalogs import later_rows
from backtester.causality.entries import Difference
from backtester.causality.futures import ACTIONS, Future, Part
from backtester.causality.probe import Subject
from backtester.causality.verdict import Counterexample
from backtester.causality.words import changes, what_changed
from backtester.errors import ScenarioError
from backtester.scenario import Scenario
from clock.errors import UnitError
from clock.units import format_duration, format_instant, parse_instant
from featurizer.catalog import Catalog

__all__ = ["check_part", "counterexample", "future_of", "in_words", "name_of"]

_LAWS = {"event_time": "2a", "receipt_time": "2b"}
_DONE = {
    "values": "changed",
    "deletion": "deleted",
    "times": "delayed",
    "insertion": "repeated",
    "order": "reordered",
}


def counterexample(future: Future, difference: Difference, subject: Subject) -> Counterexample:
    """Return what a future that changed the past shows."""
    return Counterexample(
        law=_LAWS[future.stamp],
        cut=format_instant(future.cut),
        what=what_changed(difference, subject.scenario),
        instant=format_instant(difference.entry.instant),
        columns=changes(difference, subject.scenario),
        record=_record(future, difference, subject),
        replay=f"lightcone check {subject.scenario_file} --replay {name_of(future)}",
    )


def in_words(difference: Difference, scenario: Scenario) -> str:
    """Return a difference in one line."""
    told = "; ".join(
        f"{name} {one} against {two}" for name, one, two in changes(difference, scenario)
    )
    what = what_changed(difference, scenario)
    return f"{what} ({told})" if told else what


def name_of(future: Future) -> str:
    """Return a future as one word of a command line; see `future_of`."""
    words = [format_instant(future.cut), future.stamp, future.action, str(future.seed)]
    if future.only is not None:
        stream, first, last = future.only
        words += [*stream, str(first), str(last)]
    return ",".join(words)


def future_of(text: str) -> Future:
    """Return the future that a word of a command line names.

    Raises:
        ScenarioError: If it names none.
    """
    words = text.split(",")
    try:
        if len(words) not in (4, 8):
            raise ValueError(f"{len(words)} words")
        cut, stamp, action, seed = parse_instant(words[0]), words[1], words[2], int(words[3])
        only = None
        if len(words) > 4:
            only = Part((words[4], words[5]), int(words[6]), int(words[7]))
        if stamp not in _LAWS or action not in ACTIONS:
            raise ValueError(f"{stamp},{action}")
    except (ValueError, UnitError) as error:
        raise ScenarioError(
            f"`--replay` must be what a check printed, INSTANT,STAMP,ACTION,SEED and maybe "
            f"INSTRUMENT,KIND,FIRST,LAST: got {text!r} ({error}). Copy it whole."
        ) from error
    return Future(cut, stamp, action, seed, only)  # type: ignore[arg-type]  # checked above


def check_part(future: Future, catalog: Catalog) -> None:
    """Refuse a future of records that the catalog does not hold after the cut.

    Raises:
        ScenarioError: If the stream, or the records of it, are not there.
    """
    if future.only is None:
        return
    stream, first, last = future.only
    name = f"{stream[1]} of {stream[0]}"
    if stream not in catalog.streams():
        known = ", ".join(f"{kind} of {of}" for of, kind in catalog.streams())
        raise ScenarioError(
            f"`--replay` must name records of the catalog: got {name}. It holds {known}. Copy "
            "what the check printed whole."
        )
    held = len(later_rows(catalog, stream, future)["event_time"])
    if not 0 <= first < last <= held:
        raise ScenarioError(
            f"`--replay` must name records after the cut: got {first} to {last} of {name}, of "
            f"which there are {held}. Copy what the check printed whole."
        )


def _record(future: Future, difference: Difference, subject: Subject) -> str:
    """Return which record after the cut is enough to change the past."""
    done = _DONE[future.action]
    if future.only is None:
        return f"records of all streams after the cut, {done}"
    stream, first, last = future.only
    catalog = Catalog(Path(subject.folder) / subject.scenario.data.catalog)
    rows = later_rows(catalog, stream, future)
    event, receipt = (int(rows[name][first]) for name in ("event_time", "receipt_time"))
    later = format_duration(receipt - difference.entry.instant)
    name = f"{stream[1]} of {stream[0]}"
    if last - first > 1:
        return (
            f"{last - first} records of {name} from {format_instant(event)} on, {done}; "
            "no fewer were found to be enough"
        )
    return (
        f"one record of {name}, {done}: it happens at {format_instant(event)} and reaches us at "
        f"{format_instant(receipt)}, {later} after what it changed"
    )
