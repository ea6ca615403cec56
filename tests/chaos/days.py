"""A watch that is killed in every node, day after day."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from datetime import date, timedelta
from itertools import groupby

from components.serving_root import versions
from pipeline.runs import find_runs
from pipeline.samples.campaign import write_campaign
from tests.chaos.runs import LENIENT, MARK, alive
from tests.e2e.conftest import ROOT, Campaign, command

# A node is in the run's record when it is done: what is killed is the one after.
_START = "the start"
_DONE = (
    _START,
    "example_gen",
    "statistics",
    "schema_gate",
    "transform",
    "trainer",
    "evaluator",
    "refit",
    "validator",
)
_FIRST = date(2026, 11, 1)


def kill_days(campaign: Campaign, kills: int, seed: int = 1) -> Counter[str]:
    """Kills a watch after one node on each day, the nodes in turn; then lets one come to its end.

    The next watch finishes the day that was under way, and is killed on the one after it.

    Args:
        campaign: one without runs; it gets a log of days.
        kills: how many.
        seed: of how long after the end of a node.

    Returns:
        How many kills there were after each node, and how the days ended.
    """
    draw, seen = random.Random(seed), Counter[str]()
    days = [str(_FIRST + timedelta(days=number)) for number in range(kills + 1)]
    _write_log(campaign, days)
    arguments = ["watch", "--once", "--config", str(campaign.folder / "config.yaml")]
    arguments += ["--since", days[1]]
    for setting in LENIENT:
        arguments += ["--set", setting]
    for number, day in enumerate(days[1:]):
        node = _DONE[number % len(_DONE)]
        killed = _kill_after(campaign, arguments, day, node, draw.uniform(0, 2))
        seen[f"killed after {node}" if killed else "ended before the kill"] += 1
    result = campaign.twotower(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    runs = find_runs(campaign.folder / "runs" / "small")
    for day, of_day in groupby(runs, lambda run: run.config["data"]["until"]):
        *ended_early, last = (run.status for run in of_day)
        assert set(ended_early) <= {"killed", "interrupted"}, (day, ended_early)
        assert last == "pushed", (day, last)
    assert [day for day, _ in groupby(run.config["data"]["until"] for run in runs)] == days[1:]
    pushed = [run.version for run in runs if run.status == "pushed"]
    assert pushed == sorted(set(pushed))
    assert versions(campaign.serving)[-1].number == pushed[-1]
    seen["days pushed once"] = kills
    return seen


def _write_log(campaign: Campaign, days: list[str]) -> None:
    for number, day in enumerate(days):
        folder = campaign.folder / f"logs/day={day}"
        write_campaign(folder, rows=1500, ads=30, seed=number)
    file = campaign.folder / "config.yaml"
    logs = f"{campaign.folder}/logs/day={{YYYY}}-{{MM}}-{{DD}}/*.csv\n  window: 3"
    settings = file.read_text().replace(f"{campaign.folder}/data", logs)
    settings = settings.replace("trainer:\n", "trainer:\n  refit: true\n")
    file.write_text(f"{settings}watch:\n  settled_minutes: 0\n")


def _kill_after(
    campaign: Campaign, arguments: list[str], day: str, node: str, delay: float
) -> bool:
    """Starts a watch, and kills it and its run when the run of a day has done a node.

    Returns:
        Whether it was still there; after the last nodes a run is over in no time.
    """
    mark = uuid.uuid4().hex
    with (campaign.folder / "watch.log").open("a") as log:
        watch = subprocess.Popen(
            command(arguments), cwd=ROOT, env={**os.environ, MARK: mark}, stdout=log, stderr=log
        )
    while watch.poll() is None and not _has_done(campaign, day, node):
        time.sleep(0.05)
    time.sleep(delay)
    was_there = watch.poll() is None
    watch.send_signal(signal.SIGKILL)
    watch.wait()
    while alive(mark):
        time.sleep(0.1)
    assert was_there or watch.returncode == 0, (campaign.folder / "watch.log").read_text()
    return was_there


def _has_done(campaign: Campaign, day: str, node: str) -> bool:
    runs = [
        run
        for run in find_runs(campaign.folder / "runs" / "small")
        if run.config["data"]["until"] == day
    ]
    return bool(runs) and node in (_START, *(record.id for record in runs[-1].nodes))
