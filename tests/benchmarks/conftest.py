"""Benchmarks at a tiny size, in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import machine


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the benchmarks work, instead of in the results of real ones."""
    monkeypatch.setattr(machine, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Callable[[], dict[str, list[str]]]:
    """Returns the cells of the table that was printed, by the first cell of their row."""

    def rows() -> dict[str, list[str]]:
        lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("│")]
        cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
        return {first: others for first, *others in cells}

    return rows
