"""Generated markets and order flows for the venue: small numbers, so that things coincide.

Prices are whole ticks around 100, quantities a few lots, instants whole steps: queues run empty,
orders meet each other, and fills, cancels and changes race each other all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.laws.markets import START, STEP
from tests.reference.exchange_orders import Ask, Bracket, Cancel, Message, Modify, Pair
from tests.reference.exchange_run import Depth, Latencies, Quote, Row, Sent, Trade, asks_of

NAMES = ("SIM.ALPHA", "SIM.BETA")
CENTRE, REACH = 100, 4
STEPS = 80
UNTIL = START + STEPS * STEP
MODELS: tuple[Any, ...] = (
    "back",
    "front",
    "log",
    {"kind": "power", "exponent": 2.0},
    {"kind": "power", "exponent": 0.5},
)
SELF_TRADE = ("cancel_resting", "cancel_incoming", "cancel_both")


@dataclass(frozen=True)
class Flow:
    """One example: a market, what is sent into it, and how the venue is set up."""

    book: str
    records: dict[str, list[Row]]
    script: list[Sent]
    queue: Any
    self_trade: str
    latencies: Latencies

    @property
    def names(self) -> list[str]:
        """The instruments, in the scenario's order."""
        return list(self.records)


def at(step: int) -> int:
    """Return the instant of a step."""
    return START + step * STEP


def _near(ticks: int) -> int:
    return min(max(ticks, CENTRE - REACH), CENTRE + REACH)


# -- markets ---------------------------------------------------------------------------------------

gaps = st.sampled_from((0, 0, 1, 1, 2, 4))
moves = st.sampled_from((-2, -1, 0, 0, 0, 0, 1, 2))
sizes = st.integers(1, 8)


@st.composite
def quotes(draw: st.DrawFn) -> list[Row]:
    """Draw quotes: the bid wanders, the spread is one to three ticks."""
    rows: list[Row] = []
    step, bid = 0, CENTRE
    drawn = draw(
        st.lists(st.tuples(gaps, moves, st.integers(1, 3), sizes, sizes), min_size=8, max_size=30)
    )
    for number, (gap, move, spread, bid_lots, ask_lots) in enumerate(drawn):
        step, bid = step + gap, _near(bid + move)
        rows.append(Quote(at(step), number, bid, bid_lots, bid + spread, ask_lots))
    return rows


@st.composite
def depth(draw: st.DrawFn) -> list[Row]:
    """Draw changes of levels, and now and then a snapshot; the book is never crossed."""
    rows: list[Row] = []
    levels: dict[int, dict[int, int]] = {1: {}, -1: {}}
    step = 0

    def put(side: int, ticks: int, lots: int, *, snapshot: bool = False) -> None:
        for other in [p for p in levels[-side] if (ticks - p) * side >= 0 and lots]:
            put(-side, other, 0)
        rows.append(Depth(at(step), len(rows), side, ticks, lots, snapshot))
        levels[side][ticks] = lots
        if not lots:
            del levels[side][ticks]

    snapshots = st.tuples(st.integers(0, 3), sizes, sizes, sizes)
    change = st.tuples(st.sampled_from((1, -1)), st.integers(-REACH, REACH), st.integers(0, 8))
    for side, ticks in ((1, 99), (1, 98), (-1, 101), (-1, 102)):
        put(side, ticks, draw(sizes), snapshot=True)
    one = st.tuples(gaps, st.integers(0, 9), change, snapshots)
    for gap, kind, (side, offset, lots), (shift, *total) in draw(
        st.lists(one, min_size=10, max_size=40)
    ):
        step += gap
        if kind == 0:
            levels[1].clear()
            levels[-1].clear()
            base = CENTRE - 1 + shift
            for number, (s, ticks) in enumerate(((1, base), (1, base - 2), (-1, base + 1))):
                put(s, ticks, total[number], snapshot=True)
        else:
            put(side, CENTRE + offset, lots)
    return rows


@st.composite
def trades(draw: st.DrawFn) -> list[Row]:
    """Draw trades of either side anywhere near the best prices."""
    rows: list[Row] = []
    step = 0
    one = st.tuples(gaps, st.integers(-REACH, REACH), st.integers(1, 12), st.sampled_from((1, -1)))
    for number, (gap, offset, lots, aggressor) in enumerate(
        draw(st.lists(one, min_size=10, max_size=30))
    ):
        step += gap
        rows.append(Trade(at(step), number, CENTRE + offset, lots, aggressor))
    return rows


# -- orders ----------------------------------------------------------------------------------------

KINDS = (
    ("limit",) * 8
    + ("market",) * 2
    + ("ioc", "fok", "fok_market", "post_only", "post_only", "gtd", "gtd", "stop", "stop_limit")
)


PLAIN_KINDS = ("limit",) * 6 + ("market",) * 2 + ("ioc", "ioc", "post_only", "post_only")
"""What goes by the express lane."""

aggression = st.sampled_from((-4, -3, -2, -2, -1, -1, -1, 0, 0, 1, 2, 4))
"""How far beyond the centre a limit goes, in ticks: mostly it waits on its own side."""


@st.composite
def asks(draw: st.DrawFn, number: int, name: str, sent_at: int, *, plain: bool = False) -> Ask:
    """Draw an order of any kind that an order entry lets through."""
    kind = draw(st.sampled_from(PLAIN_KINDS if plain else KINDS))
    side, lots = draw(st.sampled_from((1, -1))), draw(st.integers(1, 9))
    limit: int | None = CENTRE + side * draw(aggression)
    options: dict[str, Any] = {"reduce_only": not plain and draw(st.integers(0, 11)) == 0}
    if kind in ("market", "fok_market", "stop"):
        limit = None
        options["force"] = "fok" if kind == "fok_market" else "ioc"
    if kind in ("ioc", "fok"):
        options["force"] = kind
    if kind == "post_only":
        options["post_only"] = True
    if kind in ("stop", "stop_limit"):
        options["stop"] = CENTRE + draw(st.integers(-REACH, REACH))
    if kind == "gtd":
        expires_at = sent_at + draw(st.integers(0, 30)) * STEP
        options |= {"force": "gtd", "expires_at": max(expires_at, START + STEP)}
    return Ask(number, name, side, lots, limit, **options)


@st.composite
def brackets(draw: st.DrawFn, number: int, name: str, sent_at: int) -> Bracket:
    """Draw an entry with a take-profit and a stop-loss on the other side."""
    entry = draw(asks(number, name, sent_at).filter(lambda ask: not ask.reduce_only))
    centre, side = entry.limit or CENTRE, entry.side
    above, below = centre + side * draw(st.integers(0, 4)), centre - side * draw(st.integers(1, 4))
    profit = Ask(number + 1, name, -side, entry.lots, above)
    loss = Ask(number + 2, name, -side, entry.lots, None, stop=below, force="ioc")
    return Bracket(entry, profit, loss)


@st.composite
def pairs(draw: st.DrawFn, number: int, name: str, sent_at: int) -> Pair:
    """Draw two orders that cancel each other."""
    return Pair(draw(asks(number, name, sent_at)), draw(asks(number + 1, name, sent_at)))


MESSAGES = (
    ("new",) * 12 + ("cancel",) * 3 + ("modify",) * 5 + ("cancel_all", "pair", "bracket", "bracket")
)


PLAIN_MESSAGES = (*MESSAGES[:-4], "cancel_all")


@st.composite
def scripts(
    draw: st.DrawFn, names: Sequence[str], *, groups: bool, plain: bool = False
) -> list[Sent]:
    """Draw what is sent, in the order of sending; cancels and changes name any order before."""
    script: list[Sent] = []
    sent: list[Ask] = []
    step = draw(st.integers(0, 3))
    for _ in range(draw(st.integers(6, 16))):
        step += draw(gaps)
        messages = MESSAGES if groups else MESSAGES[:-3]
        kind = draw(st.sampled_from(PLAIN_MESSAGES if plain else messages))
        name, number = draw(st.sampled_from(names)), len(sent) + 1
        message: Message
        if kind == "cancel_all":
            message = Cancel(0, draw(st.sampled_from(["", *names])))
        elif kind in ("cancel", "modify") and sent:
            message = _about(draw, kind, draw(st.sampled_from(sent[-5:])))
        elif kind == "pair":
            message = draw(pairs(number, name, at(step)))
        elif kind == "bracket":
            message = draw(brackets(number, name, at(step)))
        else:
            message = draw(asks(number, name, at(step), plain=plain))
        sent += asks_of(message)
        script.append(Sent(at(step), message))
    return script


def _about(draw: st.DrawFn, kind: str, ask: Ask) -> Message:
    if kind == "cancel":
        return Cancel(ask.number)
    lots = draw(st.integers(1, 9))
    if ask.limit is None:
        return Modify(ask.number, lots)
    limit = CENTRE + ask.side * draw(aggression)
    return Modify(ask.number, *draw(st.sampled_from(((lots, 0), (0, limit), (lots, limit)))))


# -- the whole -------------------------------------------------------------------------------------

latencies = st.builds(
    Latencies, *(st.sampled_from((0, 0, STEP, 3 * STEP, STEP // 2)) for _ in range(3))
)


@st.composite
def flows(
    draw: st.DrawFn,
    *,
    book: str | None = None,
    most_instruments: int = 2,
    groups: bool = True,
    plain: bool = False,
) -> Flow:
    """Draw a whole example.

    Args:
        draw: Hypothesis.
        book: "quotes" or "depth"; drawn when not given.
        most_instruments: One or two.
        groups: Whether brackets and partners are among the orders.
        plain: Whether all orders are such as go by the express lane.
    """
    book = book or draw(st.sampled_from(("quotes", "depth")))
    names = NAMES[: draw(st.integers(1, most_instruments))]
    market = quotes() if book == "quotes" else depth()
    records = {name: [*draw(market), *draw(trades())] for name in names}
    return Flow(
        book=book,
        records=records,
        script=draw(scripts(names, groups=groups, plain=plain)),
        queue=draw(st.sampled_from(MODELS)),
        self_trade=draw(st.sampled_from(SELF_TRADE)),
        latencies=draw(latencies),
    )


# -- waiting in a queue ----------------------------------------------------------------------------

BIDS_AT, ASKS_AT = (99, 98), (101, 102)
queues = st.integers(1, 14)


@st.composite
def still_quotes(draw: st.DrawFn) -> list[Row]:
    """Draw quotes whose prices hardly move: queues grow and shrink."""
    rows: list[Row] = []
    step = 0
    one = st.tuples(gaps, st.integers(0, 11), queues, queues)
    for number, (gap, behind, bid_lots, ask_lots) in enumerate(
        draw(st.lists(one, min_size=12, max_size=30))
    ):
        step += gap
        bid, ask = BIDS_AT[behind == 0], ASKS_AT[behind == 1]
        rows.append(Quote(at(step), number, bid, bid_lots, ask, ask_lots))
    return rows


@st.composite
def still_depth(draw: st.DrawFn) -> list[Row]:
    """Draw changes of two levels a side, of which the first is never empty."""
    rows: list[Row] = []
    step = 0
    for side, ticks in ((1, 99), (1, 98), (-1, 101), (-1, 102)):
        rows.append(Depth(at(0), len(rows), side, ticks, draw(queues)))
    one = st.tuples(gaps, st.sampled_from((1, -1)), st.sampled_from((0, 0, 0, 1)), queues)
    for gap, side, level, lots in draw(st.lists(one, min_size=16, max_size=40)):
        step += gap
        ticks = (BIDS_AT if side > 0 else ASKS_AT)[level]
        rows.append(Depth(at(step), len(rows), side, ticks, lots))
    return rows


@st.composite
def small_trades(draw: st.DrawFn) -> list[Row]:
    """Draw small trades at the best price, rarely at the next."""
    rows: list[Row] = []
    step = 0
    one = st.tuples(gaps, st.sampled_from((1, -1)), st.integers(0, 9), st.integers(1, 5))
    for number, (gap, aggressor, beyond, lots) in enumerate(
        draw(st.lists(one, min_size=12, max_size=30))
    ):
        step += gap
        ticks = (ASKS_AT if aggressor > 0 else BIDS_AT)[beyond == 0]
        rows.append(Trade(at(step), number, ticks, lots, aggressor))
    return rows


@st.composite
def waiting(draw: st.DrawFn, name: str) -> list[Sent]:
    """Draw limit orders that wait, and changes of them, most of them to less."""
    script: list[Sent] = []
    sent: list[Ask] = []
    step = 0
    kinds = ("new",) * 4 + ("less", "less", "other", "cancel")
    for _ in range(draw(st.integers(3, 9))):
        step += draw(gaps)
        kind = draw(st.sampled_from(kinds))
        message: Message
        if kind == "new" or not sent:
            side, level = draw(st.sampled_from((1, -1))), draw(st.sampled_from((0, 0, 0, 1)))
            limit = (BIDS_AT if side > 0 else ASKS_AT)[level]
            message = Ask(len(sent) + 1, name, side, draw(st.integers(2, 8)), limit)
            sent.append(message)
        else:
            ask = draw(st.sampled_from(sent[-3:]))
            if kind == "cancel":
                message = Cancel(ask.number)
            else:
                most = max(ask.lots - 1, 1) if kind == "less" else 9
                message = Modify(ask.number, draw(st.integers(1, most)))
        script.append(Sent(at(step), message))
    return script


@st.composite
def queue_flows(draw: st.DrawFn, *, book: str | None = None) -> Flow:
    """Draw an example in which the place in the queue decides."""
    book = book or draw(st.sampled_from(("quotes", "depth")))
    market = still_quotes() if book == "quotes" else still_depth()
    return Flow(
        book=book,
        records={NAMES[0]: [*draw(market), *draw(small_trades())]},
        script=draw(waiting(NAMES[0])),
        queue=draw(st.sampled_from(MODELS)),
        self_trade="cancel_resting",
        latencies=draw(latencies),
    )


def plain_flows(*, book: str | None = None) -> st.SearchStrategy[Flow]:
    """Draw an example whose orders go by the express lane, where the book is made of quotes."""
    return flows(book=book, plain=True)


__all__ = ["Flow", "flows", "plain_flows", "queue_flows"]
