"""The newest day as metrics, in a text file that Prometheus' node_exporter reads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from components.output_file import output_file
from serving.monitor.history import Entry
from serving.monitor.settings import OF_ALL_ROWS, OF_ANY_ROWS

_PREFIX = "twotower_monitor"


def write_metrics(entries: Iterable[Entry], file: Path) -> None:
    """Writes what was measured of versions on a day, a gauge a measure; undefined ones are absent.

    Args:
        entries: of the day, one a version.
        file: whose name ends in .prom, where node_exporter looks for such files.

    Raises:
        InputError: the file cannot be written.
    """
    registry = CollectorRegistry()
    labels = ["version", "role"]

    def gauge(name: str, text: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels, registry=registry)

    gauges = {name: gauge(name, text) for name, text in {**OF_ANY_ROWS, **OF_ALL_ROWS}.items()}
    passed = gauge("passed", "Whether no rule failed")
    day = gauge("day_timestamp_seconds", "Beginning of the day, in UTC")
    for entry in entries:
        own = (str(entry.version), entry.role)
        for name, each in gauges.items():
            value = entry.measures.value(name, {})
            if value is not None:
                each.labels(*own).set(value)
        passed.labels(*own).set(entry.verdict.blessed)
        day.labels(*own).set(datetime.combine(entry.day, time(), UTC).timestamp())
    with output_file(file) as partial:
        partial.write_bytes(generate_latest(registry))
