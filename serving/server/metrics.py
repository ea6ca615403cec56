"""Prometheus metrics under TF Serving's names, so that its dashboards and alerts fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving.server.status import Code, ServingError

PATH = "/monitoring/prometheus/metrics"

# TF Serving's buckets, in microseconds: 10 times 1.8 to the power of 0 to 32.
_BUCKETS = [10 * 1.8**power for power in range(33)]


class Metrics:
    """Counts and latencies of requests by model, as TF Serving counts them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            ":tensorflow:serving:request_count",
            "The total number of requests.",
            ["model_name", "status"],
            registry=self._registry,
        )
        self._latency = Histogram(
            ":tensorflow:serving:request_latency",
            "Distribution of wall time (in microseconds) of requests that succeeded.",
            ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    @contextmanager
    def measured(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts one request by its outcome; times it if it succeeds."""
        start = time.perf_counter()
        status = "UNKNOWN"
        try:
            yield
            status = Code.OK.name
            microseconds = (time.perf_counter() - start) * 1e6
            self._latency.labels(model, api, entrypoint).observe(microseconds)
        except ServingError as error:
            status = error.code.name
            raise
        finally:
            self._requests.labels(model, status).inc()

    def page(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        # The library appends _total to a counter's name; TF Serving's has none.
        return generate_latest(self._registry).replace(b"request_count_total", b"request_count")
