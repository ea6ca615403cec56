"""Two runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.report.comparison import NONE, Pair, side_by_side
from pipeline.report.run_artifacts import read_artifacts

if TYPE_CHECKING:
    from conftest import Runs
else:
    Runs = Any


def test_facts_of_both_stand_in_one_line(new_runs: Callable[[], Runs]) -> None:
    runs = new_runs()
    blessed = read_artifacts(runs.make("pushed", version=3, min_auc=0.6))
    stopped = read_artifacts(runs.make("stopped by data", min_auc=0.7))
    pairs = {(pair.group, pair.name): pair for pair in side_by_side(blessed, stopped)}

    assert blessed.metrics is not None
    area = f"{blessed.metrics.overall.auc.value:.4f}"
    assert pairs["result", "status"] == Pair("result", "status", "pushed", "stopped by data")
    assert pairs["result", "version"] == Pair("result", "version", "3", NONE)
    assert pairs["eval split", "AUC of clicks"] == Pair("eval split", "AUC of clicks", area, NONE)
    assert pairs["settings", "evaluator.min_auc"].differs
    assert not pairs["settings", "evaluator.max_ece"].differs
    assert pairs["data", "rows"].first == "15,000"
    assert not pairs["seconds", "trainer"].known


def test_what_only_the_second_run_has_is_there_too(new_runs: Callable[[], Runs]) -> None:
    runs = new_runs()
    stopped = read_artifacts(runs.make("stopped by data"))
    blessed = read_artifacts(runs.make("pushed", version=1))
    there = {(pair.group, pair.name) for pair in side_by_side(blessed, stopped)}
    assert {(pair.group, pair.name) for pair in side_by_side(stopped, blessed)} == there
