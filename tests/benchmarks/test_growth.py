"""Both axes share their runs, and are drawn and listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth import Point
from benchmarks.machine import Usage


def test_each_size_is_run_once_and_both_axes_are_shown(
    folder: Path, printed: Callable[[], dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def run(_folder: Path, rows: int, ads: int) -> Point:
        ran.append((rows, ads))
        usage = Usage(seconds=rows / 100, peak_bytes=2**30)
        return Point(rows, ads, usage, ads, ads / 400, 40.0, 90_000_000, 200_000_000)

    monkeypatch.setattr(growth, "_run", run)
    growth.main(impressions=[1000, 2000], ads=[10, 20])
    assert ran == [(1000, 10), (1000, 20), (2000, 20)]
    assert printed()["2,000"] == ["20", "20.0", "1.00", "20", "0.05", "40.0", "90.0", "200"]
    page = (folder / "growth" / "growth.html").read_text()
    assert "seconds by impressions" in page
    assert "megabytes by ads" in page
