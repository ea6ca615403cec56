"""Whole runs that are killed or interrupted in every node."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections import Counter
from pathlib import Path

import tensorflow as tf

from components.features import MODELS, USER_TOWER
from components.serving_root import in_service, newest
from pipeline.runs import find_runs
from tests.e2e.conftest import ROOT, Campaign, command

# A run says each step when it is done: what is killed is the one after.
_STEPS = (
    "check input",
    "load TFX",
    "text encoder",
    "example_gen",
    "statistics",
    "schema_gate",
    "transform",
    "trainer",
    "evaluator",
    "validator",
)
# Models of other seeds may be worse than the one in service: that is not what is looked at.
LENIENT = (
    "evaluator.min_auc=0",
    "evaluator.max_auc_drop=null",
    "evaluator.min_calibration=null",
    "evaluator.max_calibration=null",
)
_STATUSES = {signal.SIGKILL: "killed", signal.SIGINT: "interrupted", signal.SIGTERM: "interrupted"}
MARK = "TWOTOWER_CHAOS"  # in the environment of a run and all that it starts


def kill_runs(undisturbed: Campaign, campaign: Campaign, kills: int, seed: int = 1) -> Counter[str]:
    """Ends runs of `campaign` early, and checks after each; then lets one come to its end.

    Args:
        undisturbed: a campaign like it, with a run that nothing happened to.
        campaign: one without runs.
        kills: how many.
        seed: of what is killed when, and how.

    Returns:
        How many there were, by what they were killed with and where.
    """
    draw, seen = random.Random(seed), Counter[str]()
    runs = campaign.folder / "runs" / "small"
    for number in range(kills):
        how = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        step = _STEPS[number % len(_STEPS)]
        seen[_end_early(campaign, number, step, how, draw.uniform(0, 2))] += 1
        for folder in (f for model in MODELS for f in (campaign.serving / model).glob("*")):
            assert (folder / "saved_model.pb").is_file(), folder
        newest(campaign.serving)
        assert not list(runs.glob(".*.partial"))
    result = campaign.run(*LENIENT)
    assert result.returncode == 0, result.stdout + result.stderr
    whole, continued = _weights(undisturbed), _weights(campaign)
    assert whole == continued, "a run that was killed ended in another model"
    states = Counter(run.status for run in find_runs(runs))
    assert states["running"] == 0
    seen.update({f"listed as {status}": count for status, count in states.items()})
    return seen


def _weights(campaign: Campaign) -> dict[str, bytes]:
    """Returns the weights of the user tower in service."""
    folder = in_service(campaign.serving).folder(USER_TOWER)
    checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = [name for name in checkpoint.get_variable_to_shape_map() if "VARIABLE" in name]
    return {name: checkpoint.get_tensor(name).tobytes() for name in names}


def _end_early(
    campaign: Campaign, number: int, step: str, how: signal.Signals, delay: float
) -> str:
    """Starts a run, ends it some seconds after a step, and checks what it left."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        command(campaign.arguments(f"trainer.seed={number + 2}", *LENIENT)),
        cwd=ROOT,
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if f" {step} " in line:
            break
    time.sleep(delay)
    process.send_signal(how)
    _, said = process.communicate()
    while alive(mark):
        time.sleep(0.1)
    if process.returncode in (0, 1, 2, 3, 4):
        assert process.returncode == 0, said
        return "came to their end before"
    record = _status(campaign)
    if how != signal.SIGKILL:
        assert process.returncode == 128 + how, said
        assert said.count("\n") == 1, said
        assert said.startswith("twotower: "), said
    if record is not None:
        assert record in (_STATUSES[how], "pushed"), record
    return f"{how.name} after {step}"


def _status(campaign: Campaign) -> str | None:
    """Returns the status of the newest run; None where none had begun."""
    runs = find_runs(campaign.folder / "runs" / "small")
    return runs[-1].status if runs else None


def alive(mark: str) -> list[Path]:
    """Returns the processes that a run started and that are still there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append(process)
        except OSError:
            continue
    return found
