"""Pushes, rollbacks and withdrawals that are killed, before a chosen step or at any moment."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from components.errors import InputError
from components.features import MODELS
from components.pusher.publish import publish
from components.pusher.withdraw import rollback, withdraw
from components.serving_root import versions, withdrawn
from tests.chaos.roots import KEEP, check_folders, check_readers, check_tidy, make_models, numbers

_LONGEST = 0.1  # seconds until the kill: a few pushes of small models
_STEPS = 150  # a push has about sixty
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.copyfile")


def kill_pushes(folder: Path, kills: int, seed: int = 1) -> Counter[str]:
    """Kills a process that pushes and withdraws, again and again, and checks after each kill.

    Returns:
        How many kills there were, and what they left.
    """
    draw = random.Random(seed)
    root, seen = folder / "root", Counter[str]()
    trainings = [make_models(folder / f"training-{n}", f"training-{n}") for n in range(4)]
    publish(trainings[0], root, KEEP)
    publish(trainings[1], root, KEEP)
    highest, gone = 2, set[int]()
    for kill in range(kills):
        _run_then_kill(root, trainings, draw)
        seen["kills"] += 1
        check_folders(root)
        now = check_readers(root)
        assert now is not None
        newest = {max(numbers(root, model)) for model in MODELS}
        seen["models with different newest versions"] += len(newest) > 1
        seen["a push to finish"] += any((root / ".push").glob("ready-*"))
        seen["a push to undo"] += (root / ".push" / "staging").exists()
        gone |= set(withdrawn(root))
        assert gone == set(withdrawn(root)), "a withdrawal was forgotten"
        assert now not in gone
        pushed = publish(make_models(folder / "next", f"kill {kill}"), root, KEEP)
        shutil.rmtree(folder / "next")
        assert pushed.new
        assert pushed.version > highest, "a number was given twice"
        assert check_readers(root) == pushed.version
        highest = pushed.version
        check_folders(root)
        check_tidy(root)
    seen["withdrawn versions"] = len(gone)
    return seen


def _run_then_kill(root: Path, trainings: list[Path], draw: random.Random) -> None:
    steps = draw.randrange(_STEPS) if draw.random() < 0.5 else None
    seconds, seed = draw.uniform(0, _LONGEST), draw.random()
    process = os.fork()
    if process == 0:
        with contextlib.suppress(BaseException):
            if steps is not None:
                _end_before_step(steps)
            _work(root, trainings, random.Random(seed))
        os._exit(1)
    if steps is None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"


def _end_before_step(step: int) -> None:
    """Lets this process kill itself before so many changes of the file system."""
    left = itertools.count(step, -1)

    def count(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and "w" in str(arguments[1])
        if (event in _CHANGES or writes) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def _work(root: Path, trainings: list[Path], draw: random.Random) -> None:
    while True:
        with contextlib.suppress(InputError):  # the last version stays
            match draw.randrange(5):
                case 0:
                    rollback(root)
                case 1:
                    withdraw(root, draw.choice(versions(root)).number)
                case _:
                    publish(draw.choice(trainings), root, KEEP)
