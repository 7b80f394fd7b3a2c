"""What the service counts: for Prometheus under the names of Ray Serve, and as JSON."""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from clock.wall import host_ns
from inference.http.models import DeploymentMetrics
from inference.http.served import Served

__all__ = ["Recorder"]

_BUCKETS_MS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500, 1000, 2000, 5000, 10_000, 60_000)
"""Those of Ray Serve, and one below for models in this process."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAMPLE = 2048
_MILLION = 1e6


class _Seen:
    """What became of the requests to one deployment."""

    def __init__(self) -> None:
        self.requests = self.rows = 0
        self.errors: Tally[str] = Tally()
        self.latencies: deque[float] = deque(maxlen=_SAMPLE)


class Recorder:
    """The counters of one application, in a registry of its own."""

    def __init__(self, deployments: Mapping[str, Served]) -> None:
        """Start at zero."""
        self._deployments, self._started_at = deployments, host_ns()
        self._seen = {name: _Seen() for name in deployments}
        self.registry = registry = CollectorRegistry()
        self._http = Counter(
            "serve_num_http_requests",
            "HTTP requests, by what became of them.",
            ("route", "method", "status_code"),
            registry=registry,
        )
        self._http_errors = Counter(
            "serve_num_http_error_requests",
            "HTTP requests answered with an error.",
            ("route", "method", "error_code"),
            registry=registry,
        )
        self._http_latency = Histogram(
            "serve_http_request_latency_ms",
            "From the head of a request to the end of its answer.",
            ("route", "method", "status_code"),
            buckets=_BUCKETS_MS,
            registry=registry,
        )
        self._requests = Counter(
            "serve_deployment_request_counter",
            "Requests that a deployment was asked to answer.",
            ("deployment",),
            registry=registry,
        )
        self._errors = Counter(
            "serve_deployment_error_counter",
            "Requests that a deployment did not answer.",
            ("deployment", "exception_type"),
            registry=registry,
        )
        self._latency = Histogram(
            "serve_deployment_processing_latency_ms",
            "From asking a deployment to its answer.",
            ("deployment",),
            buckets=_BUCKETS_MS,
            registry=registry,
        )
        self._rows = Counter(
            "lightcone_predicted_rows", "Rows answered.", ("deployment",), registry=registry
        )
        registry.register(_Loads(deployments))

    def http(self, route: str, method: str, status: int, took_ns: int) -> None:
        """Count a request of any kind; *route* is a template, so that there are few of them."""
        method = method if method in _METHODS else "OTHER"
        self._http.labels(route, method, str(status)).inc()
        self._http_latency.labels(route, method, str(status)).observe(took_ns / _MILLION)
        if status >= 400:
            self._http_errors.labels(route, method, str(status)).inc()

    def answered(self, deployment: str, rows: int, took_ns: int) -> None:
        """Count a request that was answered."""
        seen = self._seen[deployment]
        seen.requests += 1
        seen.rows += rows
        seen.latencies.append(took_ns / _MILLION)
        self._requests.labels(deployment).inc()
        self._rows.labels(deployment).inc(rows)
        self._latency.labels(deployment).observe(took_ns / _MILLION)

    def failed(self, deployment: str, code: str) -> None:
        """Count a request that was not."""
        seen = self._seen[deployment]
        seen.requests += 1
        seen.errors[code] += 1
        self._requests.labels(deployment).inc()
        self._errors.labels(deployment, code).inc()

    def of(self, deployment: str) -> DeploymentMetrics:
        """Return what is known of one deployment."""
        seen, load = self._seen[deployment], self._deployments[deployment].load
        return DeploymentMetrics(
            deployment=deployment,
            requests=seen.requests,
            rows=seen.rows,
            errors=dict(seen.errors),
            processing=load.processing,
            queued=None if load.queued < 0 else load.queued,
            latency_ms=_quantiles(seen.latencies),
            sample=len(seen.latencies),
            uptime_s=round((host_ns() - self._started_at) / 1e9, 3),
        )

    def exposition(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self.registry)


class _Loads:
    """Gauges that are read from the deployments with every scrape."""

    def __init__(self, deployments: Mapping[str, Served]) -> None:
        self._deployments = deployments

    def collect(self) -> Iterable[Any]:
        queued = GaugeMetricFamily(
            "serve_deployment_queued_queries",
            "Requests that no replica works on yet.",
            labels=("deployment",),
        )
        processing = GaugeMetricFamily(
            "serve_replica_processing_queries",
            "Requests that replicas work on.",
            labels=("deployment",),
        )
        for name, deployment in self._deployments.items():
            load = deployment.load
            if load.queued >= 0:
                queued.add_metric((name,), load.queued)
            processing.add_metric((name,), load.processing)
        return (queued, processing)


def _quantiles(latencies: Iterable[float]) -> dict[str, float]:
    found = np.array(list(latencies))
    if not len(found):
        return {}
    levels = np.quantile(found, (0.5, 0.95, 0.99))
    named = {"p50": levels[0], "p95": levels[1], "p99": levels[2], "max": found.max()}
    return {name: round(float(value), 3) for name, value in named.items()}
