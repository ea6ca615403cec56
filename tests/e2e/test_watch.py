"""A watch that is killed in a run leaves a day that the next one finishes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.folder_lock import hold
from components.serving_root import versions
from pipeline.runs import find_runs
from pipeline.samples.campaign import write_campaign
from tests.e2e.conftest import ROOT, Campaign, command

pytestmark = pytest.mark.e2e

NODE = "statistics"


@pytest.fixture
def days(new_campaign: Callable[[], Campaign]) -> Campaign:
    campaign = new_campaign()
    for day in (1, 2):
        write_campaign(campaign.folder / f"logs/day=2026-11-{day:02d}", rows=2000, ads=30, seed=day)
    settings = (campaign.folder / "config.yaml").read_text()
    logs = f"{campaign.folder}/logs/day={{YYYY}}-{{MM}}-{{DD}}/*.csv"
    settings = settings.replace(f"{campaign.folder}/data", logs)
    (campaign.folder / "config.yaml").write_text(f"{settings}watch:\n  settled_minutes: 0\n")
    return campaign


def test_a_killed_day_is_finished_by_the_next_call(days: Campaign) -> None:
    runs = days.folder / "runs" / "small"
    arguments = ["watch", "--once", "--config", str(days.folder / "config.yaml")]
    watch = subprocess.Popen(command(arguments), cwd=ROOT)
    _wait(lambda: any(node.id == NODE for run in find_runs(runs) for node in run.nodes))
    watch.send_signal(signal.SIGKILL)
    watch.wait()
    _wait(lambda: _is_free(runs))  # the run under way ends with it
    assert [run.status for run in find_runs(runs)] != ["pushed"]

    result = days.twotower(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith("2026-11-02: pushed as version 1, 4,000 rows, AUC ")
    killed, finished = find_runs(runs)
    assert killed.config["data"]["until"] == finished.config["data"]["until"] == "2026-11-02"
    states = {node.id: node.state for node in finished.nodes}
    assert states["example_gen"] == "cached"
    assert states["trainer"] == "done"

    assert "nothing to do" in days.twotower(*arguments).stdout
    assert len(find_runs(runs)) == 2
    assert [version.number for version in versions(days.serving)] == [1]


def _is_free(runs: Path) -> bool:
    with hold(runs) as nobody_runs:
        return nobody_runs


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
