"""Measures the versions in service by the labelled log of a day, and keeps what it found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

from components.errors import InputError
from components.example_gen.settings import ReadingSettings
from components.folder_lock import hold
from components.serving_root import (
    CANARY,
    STABLE,
    Version,
    in_service,
    labels,
    pushed_at,
    versions,
)
from serving.monitor.ads import FirstDays
from serving.monitor.history import Entry, Role, record
from serving.monitor.measure import measure
from serving.monitor.rules import judge
from serving.monitor.settings import MonitorSettings

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def monitor(
    models: Path,
    log: Path,
    folder: Path,
    *,
    day: date | None = None,
    stable: int | None = None,
    canary: int | None = None,
    reading: ReadingSettings | None = None,
    settings: MonitorSettings | None = None,
) -> tuple[list[Entry], list[Entry]]:
    """Measures the version in service, and a canary beside it, by a labelled log.

    Args:
        models: the folder that a run pushed to.
        log: a CSV or Parquet file, or a folder of them.
        folder: of the history; it gets the day.
        day: that the log is of; else the last date in its path.
        stable: the version that answers; else the one with this label, else the newest that is
            not the canary.
        canary: a version that some clients try; else the one with this label, if there is one.
        reading: how the log is read.
        settings: by what a day is judged.

    Returns:
        What the day says, one entry a version; and the whole history.

    Raises:
        InputError: there is no such version, or the log or the history cannot be used.
    """
    reading, settings = reading or ReadingSettings(), settings or MonitorSettings()
    day = day or _day_of(log)
    measured = list(_versions(models, stable, canary))
    with _alone(folder):
        first_days = FirstDays(folder)
        entries = []
        for role, version in measured:
            measures = measure(version, log, day, first_days, reading, settings)
            entries.append(
                Entry(
                    day=day,
                    version=version.number,
                    role=role,
                    pushed=pushed_at(models, version.number),
                    log=str(log),
                    measured=datetime.now(UTC).replace(microsecond=0),
                    measures=measures,
                    verdict=judge(measures, settings.rules),
                )
            )
        first_days.write()
        return entries, record(folder, entries)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other monitor is at work in a folder: what it adds would be lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    with hold(folder, wait=True):
        yield


def _day_of(log: Path) -> date:
    for found in reversed(_DATE.findall(str(log))):
        with suppress(ValueError):
            return date.fromisoformat(found)
    raise InputError(f"{log}: no date in its path, as in day=2026-11-24; give it with --day")


def _versions(
    models: Path, stable: int | None, canary: int | None
) -> Iterator[tuple[Role, Version]]:
    """Yields the version in service and the canary: as given, else as `twotower release` says."""
    newest = in_service(models)  # or an error that says why nothing is
    there = {version.number: version for version in versions(models)}
    labeled = {label: each.version for label, each in labels(models).items()}
    canary = canary or labeled.get(CANARY)
    others = [number for number in there if number != canary]
    stable = stable or labeled.get(STABLE) or max(others, default=newest.number)
    wanted: list[tuple[Role, int | None]] = [(STABLE, stable), (CANARY, canary)]
    for role, number in wanted:
        if number is not None and number not in there:
            found = ", ".join(map(str, there))
            raise InputError(f"{models}: no version {number} to measure; there are {found}")
        if number is not None and (role == STABLE or number != stable):
            yield role, there[number]
