"""Every node is measured at every size, and the largest compared with the smallest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.machine import Usage


def test_the_peak_of_each_node_is_shown_by_size(
    printed: Callable[[], dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(_folder: Path, rows: int, ads: int) -> dict[str, Usage]:
        assert ads == 10
        peaks = {node: rows * 2**20 * place for place, node in enumerate(memory.NODES, 1)}
        return {node: Usage(seconds=1, peak_bytes=peak) for node, peak in peaks.items()}

    monkeypatch.setattr(memory, "_measure", measure)
    memory.main(impressions=[1024, 1536], ads=10)
    assert printed()["statistics"] == ["2.00", "3.00", "1.50"]
