"""The loop and its deployment as a heap of events and plain lists: slow, and obviously right.

Written from the published order of one instant. It shares nothing with the compiled deployment but
the latency draws.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

from clock.sampler import Sampler
from inference.config import InferenceConfig
from inference.rows import MISSING, Rows

DEPLOYMENT, FEATURE_ROW, PREDICTION, TIMER = 4, 5, 6, 8


class NaiveLoop:
    def __init__(
        self,
        config: InferenceConfig,
        predict: Callable[[list[float]], float],
        *,
        start: int,
        columns: list[int],
        name: str = "main",
        index: int = 0,
        seed: int = 0,
    ) -> None:
        self.config, self.predict, self.columns, self.index = config, predict, columns, index

        def sampler(model: Any, leg: str) -> Sampler:
            return Sampler(model, seed, f"inference/{name}/{leg}")

        self.out = sampler(config.network.out, "network_out")
        self.service = sampler(config.service_time, "service_time")
        self.back = sampler(config.network.back, "network_back")
        self.latency = sampler(config.latency, "latency")
        self.heap: list[tuple[int, int, tuple[int, ...], int, Callable[[], None]]] = []
        self.ticket = 0
        self.now = start
        self.turns: set[int] = set()
        self.last_turn = None
        self.requests: list[dict[str, Any]] = []
        self.ended: list[dict[str, Any]] = []
        self.newest: dict[str, Any] | None = None
        self.rows_seen = 0
        self.skipped = 0
        self.waiting: list[dict[str, Any]] = []
        self.in_flight: list[int] = []
        self.queues: list[list[dict[str, Any]]] = [[] for _ in range(config.num_replicas)]
        self.serving: list[dict[str, Any] | None] = [None] * config.num_replicas
        self.arrivals = 0
        self.last_arrival = self.last_visible = MISSING
        self.newest_answered = -1
        self.own_asked: dict[int, int] = {}
        if config.polling.kind == "every":
            self.schedule(start, TIMER, (0, index), lambda: self.turn(True))

    def schedule(
        self, instant: int, rank: int, key: tuple[int, ...], action: Callable[[], None]
    ) -> None:
        assert instant >= self.now
        self.ticket += 1
        heapq.heappush(self.heap, (instant, rank, key, self.ticket, action))

    def add_rows(self, rows: Rows) -> None:
        for i, instant in enumerate(rows.visible_at.tolist()):
            row = {
                "instrument": int(rows.instrument[i]),
                "emitted_at": int(rows.emitted_at[i]),
                "tie": int(rows.tie[i]),
                "event_time": int(rows.event_time[i]),
                "values": [float(rows.values[i, column]) for column in self.columns],
                "order": i,
                "asked": 0,
            }
            self.schedule(instant, FEATURE_ROW, (i,), lambda row=row: self.see(row))

    def run(self, until: int, rank: int = 0) -> None:
        while self.heap and self.heap[0][:2] < (until, rank):
            self.now, self.rank, _, _, action = heapq.heappop(self.heap)
            action()

    def see(self, row: dict[str, Any]) -> None:
        self.rows_seen += 1
        if any(math.isnan(value) for value in row["values"]):
            self.skipped += 1
            return
        self.newest = row
        kind = self.config.polling.kind
        free = len(self.in_flight) < self.config.in_flight_limit
        if kind == "on_feature" or (kind == "continuous" and free):
            self.ask()

    def turn(self, every: bool) -> None:
        self.turns.discard(self.now)
        self.last_turn = self.now
        while self.waiting and len(self.in_flight) < self.config.in_flight_limit:
            self.send(self.waiting.pop(0))
        if every:
            period = self.config.polling.period
            assert period is not None
            self.schedule(self.now + period, TIMER, (0, self.index), lambda: self.turn(True))
            # one turn does both: whoever waits was served just now
            if self.newest is not None:
                self.ask()
        if self.config.polling.kind == "continuous":
            free = len(self.in_flight) < self.config.in_flight_limit
            if free and self.newest is not None and not self.newest["asked"]:
                self.ask()

    def new_request(self, row: dict[str, Any], own: bool) -> dict[str, Any]:
        request = {
            "number": len(self.requests),
            "loop": self.index,
            **{key: row[key] for key in ("instrument", "emitted_at", "tie", "event_time")},
            "submitted_at": self.now,
            **dict.fromkeys(
                ("sent_at", "arrived_at", "started_at", "completed_at", "visible_at"), MISSING
            ),
            "replica": -1,
            "attempts": 0,
            "superseded": 0,
            "own": int(own),
            "values": row["values"],
            "value": math.nan,
        }
        self.requests.append(request)
        return request

    def ask(self) -> None:
        row = self.newest
        assert row is not None
        request = self.new_request(row, own=False)
        request["order"] = row["order"]
        request["identity"] = (
            row["instrument"],
            row["emitted_at"],
            row["tie"],
            row["asked"] << 16,
        )
        row["asked"] += 1
        if len(self.in_flight) < self.config.in_flight_limit:
            self.send(request)
            return
        if self.config.on_new == "replace" and self.waiting:
            old = self.waiting.pop(0)
            old.update(visible_at=self.now, rank=self.rank, outcome=4)
            self.ended.append(old)
        self.waiting.append(request)

    def submit(self, row: dict[str, Any]) -> int:
        request = self.new_request(row, own=True)
        ordinal = self.own_asked.get(self.now, 0)
        self.own_asked[self.now] = ordinal + 1
        request["identity"] = (row["instrument"], self.now, ordinal, 1 << 32)
        self.send(request)
        return request["number"]

    def send(self, request: dict[str, Any]) -> None:
        if not request["own"]:
            self.in_flight.append(request["number"])
        request["sent_at"] = self.now
        request["attempts"] = 1
        draw = self.out.draw(self.now, *request["identity"])
        self.last_arrival = max(self.now + draw, self.last_arrival)
        self.schedule(
            self.last_arrival, DEPLOYMENT, (1, request["number"]), lambda: self.arrive(request)
        )

    def arrive(self, request: dict[str, Any]) -> None:
        request["arrived_at"] = self.now
        replica = self.arrivals % self.config.num_replicas
        self.arrivals += 1
        request["replica"] = replica
        self.queues[replica].append(request)
        if self.serving[replica] is None:
            self.begin(replica)

    def begin(self, replica: int) -> None:
        request = self.queues[replica].pop(0)
        self.serving[replica] = request
        request["started_at"] = self.now
        service = self.service.draw(self.now, *request["identity"])
        self.schedule(
            self.now + service, DEPLOYMENT, (0, request["number"]), lambda: self.complete(request)
        )

    def complete(self, request: dict[str, Any]) -> None:
        request["completed_at"] = self.now
        replica = request["replica"]
        self.serving[replica] = None
        back = self.now + self.back.draw(self.now, *request["identity"])
        visible = back + self.latency.draw(back, *request["identity"])
        self.last_visible = max(visible, self.last_visible)
        self.schedule(
            self.last_visible, PREDICTION, (request["number"],), lambda: self.answer(request)
        )
        if self.queues[replica]:
            self.begin(replica)

    def answer(self, request: dict[str, Any]) -> None:
        request["visible_at"] = self.now
        request["rank"] = TIMER if self.last_turn == self.now else PREDICTION
        request["outcome"] = 0
        request["value"] = self.predict(request["values"])
        if not request["own"]:
            request["superseded"] = int(request["order"] < self.newest_answered)
            self.newest_answered = max(self.newest_answered, request["order"])
            self.in_flight.remove(request["number"])
            due = any(entry[:2] == (self.now, TIMER) for entry in self.heap)
            if not due:
                self.schedule(self.now, TIMER, (0, self.index), lambda: self.turn(False))
        self.ended.append(request)

    def finish(self) -> list[dict[str, Any]]:
        ended = {request["number"] for request in self.ended}
        left = [request for request in self.requests if request["number"] not in ended]
        for request in left:
            request.update(outcome=5, rank=0)
        return left
