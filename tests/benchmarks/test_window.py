"""The next day is put beside a run from scratch and beside a folder with the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import window


def test_three_runs_on_the_same_days_are_shown(
    folder: Path, printed: Callable[[], dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str | None]] = []

    def run(place: Path, data: str, settings: dict[str, Any]) -> dict[str, float]:
        ran.append((place.name, settings.get("until")))
        if place.name == "whole":
            assert len(list(Path(data, "train").iterdir())) == 2
            assert len(list(Path(data, "eval").iterdir())) == 1
        cost = 1.0 if len(ran) == 2 else 10.0
        return {**dict.fromkeys(window.STEPS, cost), "texts": 5}

    monkeypatch.setattr(window, "_run", run)
    window.main(days=3, rows=200, ads=10)
    places, until = zip(*ran, strict=True)
    assert places == ("kept", "kept", "scratch", "whole")
    assert until[0] is not None
    assert until[1:] == (None, None, None)
    assert printed()["the three nodes, s"] == ["3.0", "30.0", "30.0", "0.10", "0.10"]
