"""A difference between two futures in words."""

from __future__ import annotations

from backtester.causality.entries import Difference, Entry
from backtester.orders import ReportKind, Side
from backtester.scenario import Scenario
from backtester.trace import EntryKind
from clock.units import format_instant

__all__ = ["changes", "what_changed"]

_LOOP_SHIFT = 40
_ATTEMPT_SHIFT = _LOOP_SHIFT + 16
_STAMPS = ("_at", "_time")


def what_changed(difference: Difference, scenario: Scenario) -> str:
    """Return which decision, row or answer it is that changed, and when it became a fact."""
    entry = difference.entry
    what = _name(entry, scenario)
    if difference.real is None or (difference.entry is not difference.real and _apart(difference)):
        what = f"{what}, which the real run does not have,"
    elif difference.other is None or _apart(difference):
        what = f"{what}, which only the real run has,"
    told = format_instant(entry.instant)
    return what if what.endswith(told) else f"{what} at {told}"


def changes(difference: Difference, scenario: Scenario) -> tuple[tuple[str, str, str], ...]:
    """Return the columns that differ, each with its value in the real run and in the other."""
    real, other = difference.real, difference.other
    if real is None or other is None or _apart(difference):
        return ()
    told = []
    for column in difference.columns:
        if column.startswith("#"):
            place = int(column[1:])
            name = _column(place, scenario)
            told.append((name, f"{real.values[place]!r}", f"{other.values[place]!r}"))
        else:
            told.append((column, _word(column, real), _word(column, other)))
    return tuple(told)


def _apart(difference: Difference) -> bool:
    real, other = difference.real, difference.other
    if real is None or other is None:
        return True
    return (real.instant, real.kind, real.number) != (other.instant, other.kind, other.number)


def _name(entry: Entry, scenario: Scenario) -> str:
    words = entry.words
    match entry.kind:
        case EntryKind.FEATURE_ROW:
            return f"the feature row emitted at {format_instant(words['emitted_at'])}"
        case EntryKind.REQUEST:
            return f"a request of {_loop(entry, scenario)}"
        case EntryKind.OUTCOME:
            return f"an answer of {_loop(entry, scenario)}"
        case EntryKind.ORDER:
            side = Side(words["side"]).name.lower()
            name = scenario.data.instruments[words["instrument"]]
            return f"order {entry.number} ({side} {words['lots']} lots of {name})"
        case EntryKind.REPORT:
            kind = ReportKind(words["kind"]).name.lower()
            return f"the report that order {words['order']} was {kind}"
        case EntryKind.VENUE_LEDGER:
            return f"a fill at the venue ({words['lots']:+d} lots at {words['ticks']} ticks)"
        case EntryKind.BELIEF_LEDGER:
            return f"our books ({words['lots']:+d} lots at {words['ticks']} ticks)"
        case EntryKind.CHANGE:
            return f"the {'cancel' if words['is_cancel'] else 'change'} of order {words['order']}"
        case EntryKind.REFUSAL:
            return f"order {entry.number}, kept back by a limit of ours"
        case EntryKind.ATTEMPT:
            return f"an attempt of {_loop(entry, scenario, _ATTEMPT_SHIFT)}"
        case _:
            return f"a payment of {words['amount']} ledger units"


def _loop(entry: Entry, scenario: Scenario, shift: int = _LOOP_SHIFT) -> str:
    names = list(scenario.inference_config)
    return f"loop `{names[entry.number >> shift]}`"


def _column(place: int, scenario: Scenario) -> str:
    config = scenario.featurizer
    assert config is not None
    names = [feature.name for feature in config.feature_configs]
    return f"feature `{names[place % len(names)]}`"


def _word(column: str, entry: Entry) -> str:
    value = entry.words[column]
    return format_instant(value) if column.endswith(_STAMPS) and value > 0 else f"{value!r}"
