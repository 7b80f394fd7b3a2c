"""Whole runs with funding, liquidation, limits and several currencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from backtester.errors import ScenarioError
from backtester.orders import OrderRequest, ReportKind, Side
from backtester.result import RunResult, load_result
from backtester.strategy import Strategy
from clock.units import format_instant
from tests.backtester.worlds import (
    ALPHA,
    Funding,
    Quote,
    Recorder,
    at,
    instrument,
    play,
    since,
)

FREE = {"maker": "0", "taker": "0"}
LINEAR = instrument(fees=FREE)
SPOT = instrument("SIM.SPOT", "spot", base="COIN", fees=FREE)
INVERSE = instrument("SIM.INV", "inverse", base="COIN", lot_size="1", fees=FREE)
LEVERED = {"leverage": 5, "execution": {"margin": {"maintenance": "0.1"}}}


class Script(Recorder):
    """Does things at instants, in ms, and notes what it hears and what it holds then."""

    def __init__(self, *acts: tuple[float, Callable[[Any], Any]]) -> None:
        super().__init__()
        self.acts = list(acts)
        self.done: list[Any] = []

    def on_start(self, ctx: Any) -> None:
        for place, (ms, _) in enumerate(self.acts):
            ctx.call_at(at(ms), str(place))

    def on_timer(self, ctx: Any, name: str) -> None:
        self.done.append(self.acts[int(name)][1](ctx))

    def on_order(self, ctx: Any, report: Any) -> None:
        self.note(ctx, "order", report)

    def on_fill(self, ctx: Any, fill: Any) -> None:
        self.note(ctx, "fill", fill)


def buy(quantity: float, name: str = ALPHA, **terms: Any) -> Callable[[Any], Any]:
    """Return an act that buys."""
    return lambda ctx: ctx.buy(name, quantity, **terms)


def sell(quantity: float, name: str = ALPHA, **terms: Any) -> Callable[[Any], Any]:
    """Return an act that sells."""
    return lambda ctx: ctx.sell(name, quantity, **terms)


def rows(result: RunResult, frame: str, *names: str) -> list[tuple[Any, ...]]:
    """Return some columns of a frame as rows, instants in ms."""
    table = getattr(result, frame).select(names)
    stamps = [name for name in names if table[name].dtype == pl.Datetime("ns", "UTC")]
    return [
        tuple(since(value) if name in stamps and value is not None else value
              for name, value in zip(names, row, strict=True))
        for row in table.with_columns(pl.col(stamps).to_physical()).iter_rows()
    ]  # fmt: skip


# --- funding ---------------------------------------


def funded(tmp_path, funding, script=None, config=None, response=0, **settings):
    """Play a script on a market at 100, with records of funding."""
    config = {"kind": "funding"} | (config or {})
    execution = {"entry_latency": 0, "response_latency": response, "funding": config}
    script = script or Script((1, buy(10)))
    quotes = settings.pop("quotes", {ALPHA: [Quote(0), Quote(500, bid=109, ask=111)]})
    terms = settings.pop("instruments", [LINEAR])
    return play(tmp_path, script, quotes, funding=funding, instruments=terms,
                execution=execution, **settings)  # fmt: skip


def test_who_is_long_pays_the_rate_of_the_position_at_the_venues_mid(tmp_path):
    result = funded(tmp_path, {ALPHA: [Funding(400, 0.001), Funding(600, -0.002)]}, response="7ms")
    assert rows(result, "payments", "venue_time", "kind", "instrument", "currency", "amount",
                "visible_at") == [
        (400.0, "funding", ALPHA, "USD", -1.0, 407.0),
        (600.0, "funding", ALPHA, "USD", 2.2, 607.0),
    ]  # fmt: skip
    assert result.summary["funding"] == 1.2
    assert result.summary["profit"] == 10 * (110 - 101) + 1.2


def test_a_quote_of_the_same_instant_counts_and_an_order_arriving_then_does_not(tmp_path):
    script = Script((500, buy(10)))
    result = funded(tmp_path, {ALPHA: [Funding(500)]}, Script((1, buy(10)), (500, sell(10))))
    assert rows(result, "payments", "amount") == [(-1.1,)]
    assert len(result.fills) == 2
    assert rows(funded(tmp_path, {ALPHA: [Funding(500)]}, script), "payments", "amount") == []


def test_funding_may_be_told_before_it_is_due_and_be_revised(tmp_path):
    told = [Funding(100, 0.5, due=700, mark=0), Funding(300, 0.001, due=700, mark=120)]
    with pytest.raises(ScenarioError, match="`mark_price` must be above zero: got 0"):
        funded(tmp_path, {ALPHA: told}, config={"due_time": "due_time", "mark_price": "mark_price"})
    told[0] = Funding(100, 0.5, due=700)
    result = funded(
        tmp_path, {ALPHA: told}, config={"due_time": "due_time", "mark_price": "mark_price"}
    )
    assert rows(result, "payments", "venue_time", "amount") == [(700.0, -1.2)]


def test_funding_that_is_told_after_it_was_due_is_refused(tmp_path):
    late = {ALPHA: [Funding(100, due=50)]}
    with pytest.raises(ScenarioError, match="`due_time` must not be before `event_time`"):
        funded(tmp_path, late, config={"due_time": "due_time"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"rate": "rat"}, "must name columns of `funding`: got `rat`. Known: rate, due_time"),
        ({"due_time": "rate"}, "must be a column of instants: got `rate` of float64"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, config, message):
    with pytest.raises(ScenarioError, match=message):
        funded(tmp_path, {ALPHA: [Funding(100)]}, config=config)


def test_funding_of_nothing_but_spot_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match="needs records of `funding` for a perpetual"):
        funded(
            tmp_path, {"SIM.SPOT": [Funding(100)]}, quotes={"SIM.SPOT": [Quote(0)]},
            instruments=[SPOT],
        )  # fmt: skip


def test_the_strategy_sees_funding_when_the_report_has_reached_it_and_hears_no_order(tmp_path):
    script = Script((1, buy(10)), (406, lambda ctx: ctx.portfolio.funding),
                    (408, lambda ctx: ctx.portfolio.funding))  # fmt: skip
    funded(tmp_path, {ALPHA: [Funding(400)]}, script, response="7ms")
    assert script.done[1:] == [0.0, -1.0]
    kinds = {report.kind for report in script.details("order")}
    assert kinds == {ReportKind.ACCEPTED, ReportKind.FILLED}


@pytest.mark.parametrize("window_rows", [1, 3, 8192])
def test_funding_does_not_depend_on_the_window(tmp_path, window_rows):
    told = [Funding(ms, 0.0001 * ms, due=ms + 130) for ms in range(0, 800, 40)]
    result = funded(
        tmp_path, {ALPHA: told}, config={"due_time": "due_time"}, window_rows=window_rows,
        quotes={ALPHA: [Quote(ms, bid=99 + ms / 100, ask=110) for ms in range(0, 900, 50)]},
    )  # fmt: skip
    assert len(result.payments) == 20
    whole = funded(
        tmp_path, {ALPHA: told}, config={"due_time": "due_time"},
        quotes={ALPHA: [Quote(ms, bid=99 + ms / 100, ask=110) for ms in range(0, 900, 50)]},
    )  # fmt: skip
    assert result.trace_digest == whole.trace_digest


# --- liquidation ---------------------------------------


FALL = [
    Quote(0),
    Quote(100, bid=94, ask=96),
    Quote(300, bid=88.5, ask=90),
    Quote(400, bid=70, ask=72),
]


def test_the_venue_closes_at_the_quote_that_leaves_too_little(tmp_path):
    script = Script((1, buy(10)), (2, sell(1, limit_price=150)))
    # 200 and 10 (m - 101) against m: equal at 90
    result = play(tmp_path, script, FALL, cash=200, instruments=[LINEAR],
                  leverage=5, execution={"response_latency": "5ms",
                                         "margin": {"maintenance": "0.1"}})  # fmt: skip
    assert rows(result, "fills", "order", "venue_time", "side", "quantity", "price") == [
        (1, 1.0, 1, 10.0, 101.0),
        (-1, 300.0, -1, 10.0, 88.5),
    ]
    told = [(since(r.venue_time), r.order, r.kind.name, r.reason.name)
            for r in script.details("order")[3:]]  # fmt: skip
    assert told == [
        (300.0, 2, "CANCELED", "LIQUIDATION"),
        (300.0, -1, "ACCEPTED", "LIQUIDATION"),
        (300.0, -1, "FILLED", "LIQUIDATION"),
    ]
    assert script.times("fill") == [6.0, 305.0]
    assert result.summary["liquidations"] == 1
    assert result.summary["insurance"] == 0
    assert result.summary["profit"] == -125.0


def test_what_is_lost_beyond_everything_is_told_apart(tmp_path):
    gap = [Quote(0), Quote(300, bid=60, ask=62)]
    result = play(tmp_path, Script((1, buy(10))), gap, cash=200, instruments=[LINEAR], **LEVERED)
    assert rows(result, "payments", "venue_time", "kind", "amount") == [(300.0, "insurance", 210.0)]
    assert result.summary["insurance"] == 210.0
    assert result.summary["realised"] == -410.0
    assert result.summary["profit"] == -200.0
    assert result.summary["balances"]["USD"]["closing"] == 0


@pytest.mark.parametrize("window_rows", [1, 2, 5, 8192])
def test_liquidation_does_not_depend_on_the_window(tmp_path, window_rows):
    quotes = [Quote(ms, bid=100 - ms / 20, ask=100.5 - ms / 20, bid_quantity=3.0)
              for ms in range(0, 400, 10)]  # fmt: skip
    quotes = [Quote(q.happened, bid=round(q.bid * 2) / 2, ask=round(q.ask * 2) / 2 + 0.5,
                    bid_quantity=3.0) for q in quotes]  # fmt: skip
    script = Script((1, buy(10)), (2, buy(0.5, limit_price=96)), (5, buy(1, limit_price=98)))
    result = play(tmp_path, script, quotes, cash=210, instruments=[LINEAR],
                  window_rows=window_rows, **LEVERED)  # fmt: skip
    whole = play(tmp_path, Script(*script.acts), quotes, cash=210, instruments=[LINEAR], **LEVERED)
    assert result.trace_digest == whole.trace_digest
    assert result.summary["liquidations"] > 1  # three lots a quote


BUSY = [Quote(ms, bid=100 - ms / 10, ask=101, bid_quantity=3.0) for ms in range(0, 400, 10)]
PAID = {ALPHA: [Funding(ms, 0.0002) for ms in range(5, 400, 30)]}
MONEY = {"margin": {"maintenance": "0.1"}, "funding": {"kind": "funding"}}


def busy(tmp_path, quotes=BUSY, funding=PAID, **settings):
    """Play a market that falls until the venue has closed everything, with funding."""
    script = Script((1, buy(10)), (5, sell(1, limit_price=103)))
    return play(tmp_path, script, quotes, cash=210, leverage=5, execution=MONEY, funding=funding,
                instruments=[LINEAR], **settings)  # fmt: skip


def test_funding_and_liquidation_are_the_same_in_lockstep(tmp_path):
    ahead, lockstep = busy(tmp_path), busy(tmp_path, mode="lockstep")
    assert ahead.summary["liquidations"] > 1
    assert len(ahead.payments) > 3
    assert ahead.trace_digest == lockstep.trace_digest


@pytest.mark.parametrize("cut", [100, 150, 200])
def test_neither_funding_nor_liquidation_knows_what_has_not_happened(tmp_path, cut):
    other_quotes = [q if q.happened <= cut else replace(q, bid=40.0) for q in BUSY]
    paid = PAID[ALPHA]
    other_paid = {ALPHA: [p if p.happened <= cut else replace(p, rate=0.05) for p in paid]}
    one = busy(tmp_path)
    two = busy(tmp_path, other_quotes, other_paid)
    before = [[entry for entry in run.trace if entry[0] <= at(cut)] for run in (one, two)]
    assert before[0] == before[1]
    assert one.trace_digest != two.trace_digest


# --- several currencies ---------------------------------------


def test_a_spot_and_an_inverse_contract_share_the_wallet_of_their_coin(tmp_path):
    script = Script(
        (1, buy(1, "SIM.SPOT")),  # a coin for 101
        (2, buy(50, "SIM.INV")),  # 50 contracts of one dollar at 101
        (600, sell(50, "SIM.INV")),
        (601, lambda ctx: (ctx.portfolio.balance("COIN"), ctx.portfolio.balance("USD"))),
    )
    quotes = {
        "SIM.SPOT": [Quote(0), Quote(500, bid=199, ask=201)],
        "SIM.INV": [Quote(0, bid_quantity=100, ask_quantity=100),
                    Quote(500, bid=199, ask=201, bid_quantity=100, ask_quantity=100)],
    }  # fmt: skip
    result = play(
        tmp_path, script, quotes, instruments=[SPOT, INVERSE],
        portfolio={"quote": "USD", "balances": {"USD": 1000, "COIN": 2}},
    )  # fmt: skip
    gained = round(50 / 101, 8) - round(50 / 199, 8)
    coins, dollars = script.done[-1]
    assert coins == pytest.approx(3 + gained, abs=1e-12)
    assert dollars == 899
    summary = result.summary
    assert summary["balances"]["COIN"]["realised"] == pytest.approx(gained)
    assert summary["balances"]["COIN"]["rate"] == 200
    # two coins were worth 200 when their price was first known
    assert summary["profit"] == pytest.approx(899 + 200 * (3 + gained) - 1000 - 200)
    assert result.equity["equity"][-1] == pytest.approx(899 + 200 * (3 + gained))
    assert summary["realised"] == pytest.approx(200 * gained)
    assert summary["turnover"] == pytest.approx(101 + 50 + 50)
    assert result.equity.columns[:4] == ["time", "equity", "cash", "cash:COIN"]


def test_equity_is_unknown_until_the_prices_that_it_needs_are(tmp_path):
    result = play(
        tmp_path, Script((1, lambda ctx: ctx.portfolio.equity)), {"SIM.SPOT": [Quote(200)]},
        instruments=[SPOT], report={"sampling": "100ms"},
        portfolio={"quote": "USD", "balances": {"USD": 1000, "COIN": 2}},
    )  # fmt: skip
    values = result.equity["equity"]
    assert values.is_nan().to_list() == [True, True] + [False] * 9
    assert result.summary["profit"] == 0
    assert result.summary["max_drawdown"] == 0


def test_a_fixed_rate_and_a_chain_of_instruments_lead_to_the_reports_currency(tmp_path):
    euro = instrument("SIM.EURO", "spot", base="EUR", quote="USD", fees=FREE)
    coin = instrument("SIM.COIN", "spot", base="COIN", quote="EUR", fees=FREE)
    result = play(
        tmp_path, Script(), {"SIM.EURO": [Quote(0, bid=1, ask=1.5)], "SIM.COIN": [Quote(0)]},
        instruments=[euro, coin],
        portfolio={"quote": "USD", "balances": {"COIN": 2, "GOLD": 3}, "rates": {"GOLD": 10}},
    )  # fmt: skip
    assert result.equity["equity"][-1] == 2 * 100 * 1.25 + 3 * 10


# --- what the result says ---------------------------------------


def test_a_closing_fill_is_a_hit_if_it_earns_its_fee_and_that_of_its_entry(tmp_path):
    quotes = [Quote(0), Quote(100, bid=101.5, ask=102), Quote(200, bid=104, ask=105)]
    script = Script((1, buy(2)), (101, sell(1)), (201, sell(1)))
    dear = instrument(fees={"maker": "0", "taker": "0.004"})
    result = play(tmp_path, script, quotes, instruments=[dear])
    net = result.fills["net"].to_list()
    # 0.5 earned, 0.406 and 0.404 paid; then 3 earned, 0.416 and 0.404 paid
    assert net[1:] == pytest.approx([0.5 - 0.406 - 0.404, 3 - 0.416 - 0.404])
    assert net[0] != net[0]
    assert result.summary["hit_rate"] == 0.5


def test_fills_tell_who_rested_and_the_summary_how_much(tmp_path):
    quotes = [Quote(0), Quote(100, bid=95, ask=97)]
    maker = instrument(fees={"maker": "-0.001", "taker": "0.002"})
    script = Script((1, buy(1)), (2, buy(1, limit_price=98)))
    result = play(tmp_path, script, quotes, instruments=[maker])
    assert rows(result, "fills", "liquidity", "currency", "fee") == [
        ("taker", "USD", 0.202),
        ("maker", "USD", -0.098),
    ]
    summary = result.summary
    assert (summary["maker_fills"], summary["taker_fills"]) == (1, 1)
    assert summary["maker_share"] == pytest.approx(98 / 199)
    assert (summary["maker_fees"], summary["taker_fees"]) == (-0.098, 0.202)
    assert summary["fees"] == pytest.approx(0.104)


def test_payments_are_saved_and_read_again(tmp_path):
    result = funded(tmp_path, {ALPHA: [Funding(400)]})
    again = load_result(result.save(tmp_path / "saved", picture=False))
    assert again.payments.equals(result.payments)
    assert again.summary == result.summary


# --- limits of our own ---------------------------------------


def limited(tmp_path, script, quotes=None, **risk):
    """Play a script under limits."""
    return play(
        tmp_path, script, quotes or [Quote(0)], instruments=[LINEAR], execution={"risk": risk}
    )


def statuses(result):
    """Return status and reason of each order."""
    return rows(result, "orders", "order", "status", "reason")


def test_an_order_that_breaks_a_limit_never_leaves_and_is_told_at_once(tmp_path):
    script = Script((1, buy(2)), (2, buy(3)))
    result = limited(tmp_path, script, max_order_quantity=2)
    assert statuses(result) == [(1, "filled", ""), (2, "refused", "risk_order_quantity")]
    assert rows(result, "orders", "arrived_at") == [(1.0,), (None,)]
    last = script.heard[-1]
    assert (last[0], last[2].number, last[2].order, last[2].reason.name) == (
        2.0, 0, 2, "RISK_ORDER_QUANTITY")  # fmt: skip
    assert result.summary["in_flight"] == {"orders": 0, "changes": 0, "reports": 0}


def test_the_position_counts_what_is_open_and_on_its_way(tmp_path):
    script = Script(
        (1, lambda ctx: (ctx.buy(ALPHA, 1, 90), ctx.buy(ALPHA, 1, 90), ctx.buy(ALPHA, 1, 90))),
        (2, lambda ctx: (ctx.sell(ALPHA, 2, 120), ctx.sell(ALPHA, 0.5, 120))),
        (3, lambda ctx: ctx.modify(2, quantity=1.5)),
        (4, lambda ctx: ctx.cancel(1)),
        (5, lambda ctx: ctx.modify(2, quantity=2)),
        (6, lambda ctx: ctx.buy(ALPHA, 0.1, 90)),
    )
    result = limited(tmp_path, script, max_position=2)
    assert [status for _, status, _ in statuses(result)] == [
        "canceled", "open", "refused", "open", "refused", "refused"]  # fmt: skip
    refused = [(r.order, r.kind.name) for _, _, r in script.heard if r.reason.name.startswith("RI")]
    assert refused == [(3, "REJECTED"), (5, "REJECTED"), (2, "MODIFY_REJECTED"), (6, "REJECTED")]


def test_what_makes_a_position_smaller_may_leave_whatever_it_breaks(tmp_path):
    script = Script((1, buy(2)), (2, buy(2)), (3, sell(3)))
    result = limited(tmp_path, script, max_order_quantity=2, max_position=4)
    assert [status for _, status, _ in statuses(result)] == ["filled"] * 3


def test_the_notional_goes_by_the_limit_or_by_our_mid(tmp_path):
    script = Script((1, buy(1, limit_price=80)), (2, buy(1)), (3, buy(1, stop_price=130)))
    result = limited(tmp_path, script, max_order_notional=90)
    assert [reason for *_, reason in statuses(result)] == [
        "", "risk_order_notional", "risk_order_notional"]  # fmt: skip
    unknown = limited(tmp_path, Script((1, buy(1))), [Quote(50)], max_order_notional=1000)
    assert statuses(unknown) == [(1, "refused", "risk_order_notional")]


def test_the_rate_counts_orders_and_changes_but_no_cancels(tmp_path):
    script = Script(
        (1, buy(1, limit_price=90)),
        (2, lambda ctx: ctx.modify(1, limit_price=91)),
        (3, lambda ctx: ctx.modify(1, limit_price=92)),
        (4, lambda ctx: ctx.cancel(1)),
        (10, buy(1, limit_price=90)),
        (11, buy(1, limit_price=90)),
    )
    result = limited(tmp_path, script, rate={"orders": 2, "per": "10ms"})
    assert [status for _, status, _ in statuses(result)] == ["canceled", "refused", "open"]
    assert result.orders["limit_price"].to_list() == [90.0] * 3


def test_the_loss_stop_strikes_once_and_for_all(tmp_path):
    fall = [Quote(0), Quote(100, bid=89, ask=91), Quote(200, bid=109, ask=111)]
    script = Script((1, buy(2)), (101, buy(1)), (201, buy(1)), (202, sell(2)))
    result = limited(tmp_path, script, fall, max_loss=20)
    assert [reason for *_, reason in statuses(result)] == ["", "risk_loss", "risk_loss", ""]
    calm = limited(tmp_path, Script(*script.acts), fall, max_loss=23)
    assert [reason for *_, reason in statuses(calm)] == [""] * 4


def test_nothing_leaves_while_the_loss_is_unknown(tmp_path):
    script = Script(
        (1, buy(1, "SIM.SPOT", limit_price=50)), (60, buy(1, "SIM.SPOT", limit_price=50))
    )
    result = play(
        tmp_path, script, {"SIM.SPOT": [Quote(0, received=50)]}, instruments=[SPOT],
        portfolio={"quote": "USD", "balances": {"USD": 1000, "COIN": 2}},
        execution={"risk": {"max_loss": 10}},
    )  # fmt: skip
    assert [reason for *_, reason in statuses(result)] == ["risk_loss", ""]


def test_a_group_is_refused_as_a_whole(tmp_path):
    entry = OrderRequest(ALPHA, Side.BUY, 3)
    script = Script((1, lambda ctx: ctx.bracket(entry, take_profit=120, stop_loss=80)))
    result = limited(tmp_path, script, max_order_quantity=2)
    assert [status for _, status, _ in statuses(result)] == ["refused"] * 3


@pytest.mark.parametrize(
    ("risk", "message"),
    [
        ({}, "`risk` must hold a limit: got none"),
        ({"max_position": {"SIM.ALPHB": 1}}, r"got `SIM.ALPHB`. Did you mean 'SIM.ALPHA'\?"),
        ({"max_position": 0}, "greater than 0"),
        ({"rate": {"orders": 1, "per": 0}}, "`per` must be above zero"),
    ],
)
def test_limits_that_make_no_sense_are_refused(tmp_path, risk, message):
    with pytest.raises(ValueError, match=message):
        limited(tmp_path, Strategy(), **risk)


def test_limits_are_part_of_the_trace(tmp_path):
    one = limited(tmp_path, Script((1, buy(3))), max_order_quantity=2)
    two = limited(tmp_path, Script((1, buy(3))), max_position=2)
    assert format_instant(at(1)) == one.orders["decided_at"].dt.strftime(
        "%Y-%m-%dT%H:%M:%S.%3fZ")[0]  # fmt: skip
    assert one.trace_digest != two.trace_digest
