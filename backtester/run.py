"""From a scenario to a result: the only place that builds the planes and joins them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backtester.admission import Admission
from backtester.callbacks import check_names, check_planes
from backtester.engine import Engine
from backtester.equity import EquitySampler, sampling_period
from backtester.errors import ScenarioError
from backtester.feed import MarketFeed
from backtester.loading import load_predictor, load_strategy, open_catalog, scenario_instruments
from backtester.look_ahead import look_ahead
from backtester.measured_times import MeasuredTimes, check_unmeasured
from backtester.money import Money
from backtester.on_replicas import on_replicas
from backtester.outlook import Outlook, label_features
from backtester.planes import Begun, ExogenousPlanes, Planned
from backtester.result import RunResult, build_result
from backtester.scenario import Scenario
from backtester.sources import ItemSource, LiveSource, PredictionSource, RowSource
from backtester.strategy import Strategy
from backtester.streams import merged_requests
from backtester.timeline import Subscription, Timeline
from backtester.trace import Trace, TraceEntry
from backtester.venue.book import QUOTE_COLUMNS
from backtester.venue.records import book_kinds, venue_requests
from backtester.venue.venue import Venue, VenueRules
from clock.simulated import SimulatedClock
from featurizer.market import QUOTES, Records, StreamKey, StreamRequest, Window

if TYPE_CHECKING:
    from backtester.lineage.recorder import Lineage
    from backtester.lockstep import LockstepPlanes
    from featurizer.catalog import Catalog
    from featurizer.graph import FeatureGraph
    from inference.background import Background
    from inference.loop import InferenceLoop
    from inference.predictors.base import Predictor
    from inference.ray_serve.cluster import RayCluster

__all__ = ["Mode", "Run", "run_scenario"]

Mode = Literal["ahead", "lockstep"]
Progress = Callable[[int, int], None]

WINDOW_ROWS = 32_768
"""Rows of the densest stream in a window, by default. More make fewer calls of a model, whose first
row costs as much as a hundred others; fewer make less memory. The result is the same."""

_COMPLETED = 0


def run_scenario(
    scenario: Scenario,
    *,
    mode: Mode | None = None,
    window_rows: int = WINDOW_ROWS,
    keep_trace: bool = False,
    lineage: bool = False,
    progress: Progress | None = None,
    scenario_file: str = "SCENARIO.yaml",
    cluster: RayCluster | None = None,
) -> RunResult:
    """Run a scenario and return everything that happened.

    Args:
        scenario: What to run.
        mode: `ahead` runs features and inference window by window before the trading plane,
            `lockstep` every plane event by event; the result is the same. By default ahead, unless
            the strategy submits requests of its own, or a policy of a deployment reads values.
        window_rows: Rows of the densest stream in a window; changes speed and memory only.
        keep_trace: Keep the trace's entries in the result, for checks.
        lineage: Keep what was behind each order, and assert law 1 at every read and delivery.
        progress: Called with the simulated ns done and the total.
        scenario_file: Named in messages that tell a command to run.
        cluster: Where loops with `backend: ray_serve` are deployed for the run; by default a Ray of
            our own on this machine, which ends with the run.

    Raises:
        InputError: If the scenario cannot be run: message for the user.
        StrategyError: If a callback of the strategy raised.
    """
    strategy = load_strategy(scenario.strategy.class_path, scenario.strategy.params)
    catalog = open_catalog(scenario)
    predictors = {
        name: load_predictor(scenario, name, scenario_file) for name in scenario.inference_config
    }
    with on_replicas(scenario, predictors, cluster) as asked:
        run = Run(
            scenario,
            strategy,
            catalog,
            asked,
            mode=mode,
            keep_trace=keep_trace,
            lineage=lineage,
        )
        return run.execute(window_rows, progress)


class Run:
    """One run: the planes of a scenario, wired together.

    Args:
        scenario: What to run.
        strategy: The strategy; used up by the run.
        catalog: Where the records come from.
        predictors: The model of each inference loop, or of each of its variants.
        mode: As in `run_scenario`.
        keep_trace: As in `run_scenario`.
        lineage: As in `run_scenario`.
    """

    _in_chunks = False
    """Whether lockstep pushes the records of a grid's period together."""

    def __init__(
        self,
        scenario: Scenario,
        strategy: Strategy,
        catalog: Catalog,
        predictors: Mapping[str, Predictor | Mapping[str, Predictor]],
        *,
        mode: Mode | None = None,
        keep_trace: bool = False,
        lineage: bool = False,
    ) -> None:
        self.scenario = scenario
        self.catalog = catalog
        self.predictors = dict(predictors)
        self.start, self.until = scenario.data.start, scenario.data.until
        self.names = scenario.data.instruments
        self.trace = Trace(keep=keep_trace)
        self.events = 0
        self.lineage: Lineage | None = None
        if lineage:
            from backtester.lineage.recorder import Lineage

            self.lineage = Lineage()
        self.why_lockstep = self._why_lockstep(strategy)
        self.mode: Mode = mode or ("lockstep" if self.why_lockstep else "ahead")
        if self.mode == "ahead" and self.why_lockstep:
            raise ScenarioError(f"`--mode` must be lockstep for {self.why_lockstep}: got ahead.")
        check_unmeasured(strategy, scenario)
        check_names(strategy)
        check_planes(
            strategy,
            has_rows=scenario.featurizer is not None,
            loops=scenario.inference_config.keys(),
        )
        self._make_trading_plane(strategy)
        if strategy.submits_requests and not self.engine.desk.is_instant:
            raise ScenarioError(
                "`execution.decision_latency` must be 0 for a strategy that submits its own "
                "requests: they are numbered when they leave. Put it into the loop's `network.out`."
            )
        self._make_exogenous_planes()
        self._make_sources(strategy)

    def execute(
        self, window_rows: int = WINDOW_ROWS, progress: Progress | None = None
    ) -> RunResult:
        """Run all windows and return the result."""
        for reached in self.advance(window_rows):
            if progress is not None:
                progress(reached - self.start, self.until - self.start)
        return self._finish()

    def complete(self, window_rows: int = WINDOW_ROWS) -> list[TraceEntry]:
        """Run all windows and return the trace alone, where it is kept: frames take longer."""
        for _ in self.advance(window_rows):
            pass
        self._close()
        return self.trace.entries

    def advance(self, window_rows: int = WINDOW_ROWS) -> Iterator[int]:
        """Run window by window and yield the end of each: all before it is in the trace."""
        windows = self.catalog.windows(self.requests, self.start, self.until, rows=window_rows)
        engine = self.engine
        engine.start()
        for window, begun in look_ahead(windows, self.planes, self._background):
            self.events += sum(len(records) for records in window.ours.values())
            self.admission.open_window(self._venue_quotes(window))
            self.venue.open_window(window.venue)
            engine.open_window()
            self.money.open_window(window.venue)
            if self.lineage is not None:
                self.lineage.open_window(window.ours)
            if self._lockstep is None:
                outcomes = self._trade_ahead(window, begun)
            else:
                outcomes = self._trade_in_lockstep(window, self._lockstep)
            if self.lineage is not None:
                self.lineage.close_window()
            self._keep(outcomes)
            reached = min(window.until, self.until)  # a paper run may have been stopped in it
            if self.outlook is not None:
                asked = [o.visible_at[o.outcome == _COMPLETED] for o in outcomes]
                self.outlook.read(window.ours, asked, window.until)
            self.equity.sample(
                {name: self.venue.mid_series(name) for name in self.names},
                engine.ledger.booked_in_window,
                reached,
            )
            engine.ledger.close_window(self.trace)
            self.trace.flush()
            yield reached

    def _why_lockstep(self, strategy: Strategy) -> str:
        """Return what keeps the exogenous planes from running ahead, an empty text if nothing."""
        if strategy.submits_requests:
            return "a strategy that submits its own requests"
        for name, config in self.scenario.inference_config.items():
            if config.reads_values:
                return f"the circuit breaker of inference '{name}', which counts NaN answers"
        return ""

    # --- wiring --------------------------------------------------------------------------------

    def _make_trading_plane(self, strategy: Strategy) -> None:
        from backtester.latencies import action_samplers

        scenario = self.scenario
        self.instruments = scenario_instruments(scenario, self.catalog)
        self.money = money = Money(scenario, self.instruments)
        units, account = money.units, money.account
        execution, seed = scenario.execution, scenario.seed
        clock = SimulatedClock(self.start)
        held = set(self.catalog.streams())
        quoteless = [name for name in self.names if (name, QUOTES.name) not in held]
        self.admission = Admission(execution, seed, quoteless)
        self.books = book_kinds(execution.book, self.names, self.catalog)
        rules = VenueRules(self.books, execution.queue_model, execution.self_trade)
        self.venue = Venue(self.names, money.clearing, clock, rules)
        make = Engine if self.lineage is None else self.lineage.engine
        self.engine = make(
            clock,
            strategy,
            self.names,
            units,
            self.venue,
            money,
            action_samplers(execution, seed),
            self.admission,
            np.random.Generator(np.random.Philox(seed)),
        )
        money.open_venue(self.venue, clock, self.catalog)
        if money.liquidator is not None:
            self.venue.after = money.liquidator.after
        self.period_ns = scenario.report.sampling or sampling_period(self.until - self.start)
        self.equity = EquitySampler(money.valuation, account, self.start, self.period_ns)

    def _make_exogenous_planes(self) -> None:
        scenario = self.scenario
        self.service_times = MeasuredTimes(self.names)
        graph: FeatureGraph | None = None
        self.outlook: Outlook | None = None
        loops: list[InferenceLoop] = []
        if scenario.featurizer is not None:
            from featurizer.emission import Emission
            from featurizer.graph import FeatureGraph

            config = scenario.featurizer
            kinds = self.catalog.kinds
            make = FeatureGraph if self.lineage is None else self.lineage.graph
            graph = make(config, self.names, start=self.start, kinds=kinds)
            loops = self._make_loops(graph.names)
            if loops and config.label_feature is not None and config.label_lookahead:
                label = label_features(config)
                emission = Emission.scheduled()
                probe = FeatureGraph(label, self.names, emission, self.start, kinds=kinds)
                column = probe.names.index(config.label_feature)
                lookahead, each = config.label_lookahead, config.per_instrument
                self.outlook = Outlook(probe, column, lookahead, each=each)
        self.planes = ExogenousPlanes(graph, loops, self.trace)
        self.replicas = {loop.name: count for loop in loops if (count := _replicas(loop))}
        self.outcomes: list[list[Any]] = [[] for _ in loops]

    def _make_loops(self, columns: tuple[str, ...]) -> list[InferenceLoop]:
        if not self.scenario.inference_config:
            return []
        from backtester.train import stacked_columns
        from inference.loop import InferenceLoop

        return [
            InferenceLoop(
                stacked_columns(config, self.scenario.featurizer),
                self.predictors[name],
                name=name,
                index=index,
                seed=self.scenario.seed,
                start=self.start,
                column_names=columns,
                instruments=len(self.names),
                instrument_names=self.names,
                **self._real(name),
                times=self.service_times.source(name, config, self.predictors[name]),
            )
            for index, (name, config) in enumerate(self.scenario.inference_config.items())
        ]

    def _real(self, loop: str) -> dict[str, Any]:
        """Return what makes a loop ask a real deployment; here nothing does."""
        return {}

    def _make_sources(self, strategy: Strategy) -> None:
        graph = self.planes.graph
        names = graph.names if graph is not None else ()
        self.feed = MarketFeed(
            strategy, self.catalog, self.names, self.engine.timed, self.money.units
        )
        self.engine.quotes = self.feed.quotes
        self.engine.depth = self.feed.depth
        self.engine.data = self.feed.data
        self._row_source = RowSource(names, self.names)
        self._answer_sources = [
            PredictionSource((loop.name, index), self.names)
            for index, loop in enumerate(self.planes.loops)
        ]
        self._lockstep: LockstepPlanes | None = None
        rows: RowSource | LiveSource = self._row_source
        answers: Sequence[ItemSource] = self._answer_sources
        if self.mode == "lockstep":
            self._lockstep = self._make_lockstep(names)
            rows, answers = self._lockstep.row_source, self._lockstep.answer_sources
        self.engine.decides_later = not self.planes.loops
        self.engine.rows = rows if graph is not None else None
        self.engine.predictions = {
            loop.name: source for loop, source in zip(self.planes.loops, answers, strict=True)
        }
        if self.lineage is None:  # which takes down what the venue in Python does
            self.engine.take_express()

    def _make_lockstep(self, names: tuple[str, ...]) -> LockstepPlanes:
        from backtester.lockstep import LockstepPlanes

        config = self.scenario.featurizer
        grid_ns = config.sampling if config is not None and isinstance(config.sampling, int) else 0
        wanted = self.feed.wanted
        planes = LockstepPlanes(
            self.planes,
            self.engine,
            names,
            (self.start, self.until),
            grid_ns,
            (wanted["on_features"], wanted["on_prediction"]),
            in_chunks=self._in_chunks,
        )
        self.engine.submit = planes.submit
        if self.planes.graph is not None:
            self.feed.add_unheard(self.planes.graph.requests)
        return planes

    @cached_property
    def requests(self) -> list[StreamRequest]:
        """Every stream and column that any part of the run reads."""
        requests = venue_requests(self.books, self.catalog)
        requests += self.money.requests
        requests += self.feed.requests()
        requests += [StreamRequest(*key, QUOTE_COLUMNS) for key in self._quote_streams]
        for graph in (self.planes.graph, self.outlook.graph if self.outlook else None):
            if graph is not None:
                requests += graph.requests
        return merged_requests(requests, self.catalog)

    # --- one window ----------------------------------------------------------------------------

    @cached_property
    def _background(self) -> Background | None:
        """Who predicts while a window trades: nobody, unless replicas elsewhere have time to."""
        if self.mode == "lockstep" or self.lineage is not None or not self.replicas:
            return None
        if self.service_times.measured:
            return None  # what is measured is measured alone
        from inference.background import Background

        return Background(name="predictions")

    def _trade_ahead(self, window: Window, begun: Begun | None) -> list[Any]:
        if begun is None:
            begun = self.planes.begin(window.ours, window.until)
        planned = self.planes.complete(begun)
        subscriptions = self.feed.open_window(window.ours)
        subscriptions += self._open_planned(planned)
        self.engine.run_window(Timeline(subscriptions), window.until)
        for source in (self._row_source, *self._answer_sources):
            source.close_window()
        self.feed.close_window()
        return planned.outcomes

    def _trade_in_lockstep(self, window: Window, planes: LockstepPlanes) -> list[Any]:
        planes.open_window(window.ours)
        self.feed.open_window(window.ours)
        subscriptions = [planes.subscription(source, call) for source, call in self.feed.streams]
        self._run_lockstep(subscriptions, window.until)
        self.feed.close_window()
        return planes.close_window()

    def _run_lockstep(self, subscriptions: Sequence[Subscription], until: int) -> None:
        self.engine.run_window(Timeline(subscriptions), until)

    def _open_planned(self, planned: Planned) -> list[Subscription]:
        subscriptions = []
        if planned.rows is not None:
            self._row_source.open_window(planned.rows, planned.first_row)
            call = self.feed.wanted["on_features"]
            if call is not None:
                subscriptions.append(Subscription(self._row_source, "on_features", call))
        for source, outcomes in zip(self._answer_sources, planned.outcomes, strict=False):
            news = np.flatnonzero((outcomes.outcome == _COMPLETED) & (outcomes.superseded == 0))
            source.open_window(outcomes, news)
            call = self.feed.wanted["on_prediction"]
            if call is not None:
                subscriptions.append(Subscription(source, "on_prediction", call))
        return subscriptions

    @cached_property
    def _quote_streams(self) -> list[StreamKey]:
        held = set(self.catalog.streams())
        keys = [(name, QUOTES.name) for name in self.names]
        return [key for key in keys if key in held]

    def _venue_quotes(self, window: Window) -> dict[str, Records]:
        return {key[0]: window.venue[key] for key in self._quote_streams}

    def _keep(self, outcomes: Sequence[Any]) -> None:
        for kept, ended in zip(self.outcomes, outcomes, strict=True):
            if len(ended.number):
                kept.append(ended)

    def _finish(self) -> RunResult:
        self._close()
        return build_result(self)

    def _stop(self) -> None:
        self.engine.stop()

    def _close(self) -> None:
        self._stop()
        self.venue.mids(self.until)  # what is held is marked at the venue's last quote
        for kept, rest in zip(self.outcomes, self.planes.finish(self.until), strict=True):
            kept.append(rest)
        self.engine.ledger.close_window(self.trace)
        self.trace.flush()
        self.money.check(is_settled=not self.engine.gateway.in_flight["reports"])
        self.equity.check(self.money.account)


def _replicas(loop: InferenceLoop) -> int:
    """Return how many real replicas predict for a loop; 0 where this process does."""
    return sum(getattr(model, "replicas", 0) for model in loop.predictors.values())
