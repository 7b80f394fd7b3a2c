"""Requests of the simulated serving stack in a second of host time.

    python benchmarks/serving.py [--requests 1000000] [--json]

`plain`: round robin, nothing else. `all policies`: two variants behind a latency budget, power of
two choices, Ray's batches, timeouts, retries with a budget, a cache, a circuit breaker, an
autoscaler and faults. The loop alone, no market; the model answers with a column of its rows, so
that the time is the stack's. Kernels are compiled before the clock starts; it counts the
processor's time, and the best of three runs is told.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from typing import Any

import numpy as np

from inference.config import InferenceConfig
from inference.loop import InferenceLoop
from inference.rows import Rows

WINDOW = 32_768
GAP_NS = 1_000_000

PLAIN: dict[str, Any] = {
    "model_uri": "benchmark",
    "num_replicas": 4,
    "polling": "on_feature",
    "max_in_flight": 64,
    "network": {"out": "200us", "back": "200us"},
    "service_time": {"kind": "lognormal", "median": "2ms", "p99": "6ms"},
}
_SERVED: dict[str, Any] = {
    "router": {"kind": "power_of_two", "hop_latency": "100us"},
    "batching": {"kind": "ray", "max_batch_size": 8, "batch_wait_timeout": "2ms"},
    "warm_up": {"requests": 5, "factor": 2.0},
    "cold_start": "500ms",
    "circuit_breaker": {"failure_rate": 0.5, "open_for": "200ms", "fallback": "last_value"},
    "autoscaling_config": {
        "min_replicas": 2,
        "max_replicas": 6,
        "upscale_delay": "2s",
        "downscale_delay": "5s",
        "look_back_period": "5s",
        "metrics_interval": "1s",
    },
    "faults": [
        {"kind": "crash", "every": "20s", "restart": "1s"},
        {"kind": "slow", "every": "15s", "for": "1s", "factor": 4},
        {"kind": "error_rate", "every": "10s", "for": "1s", "probability": 0.3},
        {"kind": "lost_reply", "every": "30s", "for": "500ms", "probability": 0.1},
        {"kind": "network_pause", "every": "30s", "for": "20ms"},
    ],
}
ALL: dict[str, Any] = {
    "polling": "on_feature",
    "max_in_flight": 256,
    "network": {"out": "200us", "back": "200us"},
    "timeout": {"after": "100ms", "cancel": True},
    "retry": {"attempt_timeout": "40ms", "jitter": 0.5, "budget": {}},
    "cache": {"step": 0.5, "ttl": "50ms", "max_entries": 1000},
    "routing": {"kind": "latency_budget", "budget": "20ms", "explore_every": 50},
    "variants": {
        "big": {
            "model_uri": "benchmark",
            "service_time": {"kind": "affine", "base": "2ms", "per_item": "300us"},
            "accuracy": 0.6,
            "expected_latency": "8ms",
            **_SERVED,
        },
        "small": {
            "model_uri": "benchmark",
            "service_time": "500us",
            "accuracy": 0.5,
            "expected_latency": "2ms",
            **_SERVED,
        },
    },
}


class FirstColumn:
    """A model that costs nothing."""

    accepts_nan = False
    batch_invariant = True
    digest = "benchmark"
    version = "1"
    training = None
    feature_names = ("x",)

    def predict(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0].copy()


def rows_of(requests: int) -> Rows:
    gaps = np.random.default_rng(7).exponential(GAP_NS, requests).astype(np.int64) + 1
    instants = np.cumsum(gaps)
    zeros = np.zeros(requests, np.int64)
    values = np.random.default_rng(8).normal(0, 100, (requests, 1))
    rows = Rows(instants, instants, instants, zeros, zeros, values)
    for column in rows:
        column.flags.writeable = False
    return rows


def drive(config: InferenceConfig, rows: Rows) -> tuple[float, InferenceLoop]:
    """Return the seconds of the host's processor that a loop takes for all rows, by windows."""
    models = {name: FirstColumn() for name in config.variants} or FirstColumn()
    loop = InferenceLoop(config, models, start=0, column_names=("x",))
    begin = time.process_time()
    for first in range(0, len(rows.visible_at), WINDOW):
        part = Rows(*(column[first : first + WINDOW] for column in rows))
        loop.push(part, int(part.visible_at[-1]))
    return time.process_time() - begin, loop


def measure(given: dict[str, Any], rows: Rows) -> dict[str, Any]:
    config = InferenceConfig.model_validate(given)
    drive(config, Rows(*(column[:2000] for column in rows)))
    timed = [drive(config, rows) for _ in range(3)]
    seconds, loop = min(timed, key=lambda pair: pair[0])
    counts = {name: count for name, count in loop.counts.items() if count}
    return {
        "requests_per_second": round(len(rows.visible_at) / seconds),
        "seconds": [round(each, 3) for each, _ in timed],
        "counts": counts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
    asked = parser.parse_args()
    rows = rows_of(asked.requests)
    found: dict[str, Any] = {
        "requests": asked.requests,
        "plain": measure(PLAIN, rows),
        "all_policies": measure(ALL, rows),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    if asked.json:
        json.dump(found, sys.stdout, indent=2)
        print()
        return
    for name in ("plain", "all_policies"):
        rate = found[name]["requests_per_second"]
        print(f"{name:14}{rate:>12,} requests/s  {found[name]['counts']}")


if __name__ == "__main__":
    main()
