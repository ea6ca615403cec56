"""A child that dies with its parent, however that dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import sys, time
from components.validator.child import start_child
child = start_child([sys.executable, "-c", "import os, time; print(os.getpid(), flush=True)\\n"
                     "while True: time.sleep(1)"], open(sys.argv[1], "wb"))
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def family(tmp_path: Path) -> tuple[subprocess.Popen[bytes], int, int]:
    """A parent, the process between, and the child."""
    log = tmp_path / "log"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    between = int(parent.stdout.readline())
    parent.stdout.close()
    wait_for(lambda: bool(log.exists() and log.read_text().endswith("\n")))
    return parent, between, int(log.read_text())


def wait_for(condition: object) -> None:
    assert callable(condition)
    while not condition():
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        state = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_with_its_parent(
    family: tuple[subprocess.Popen[bytes], int, int], number: signal.Signals
) -> None:
    parent, between, child = family
    assert is_running(child)
    parent.send_signal(number)
    parent.wait()
    wait_for(lambda: not is_running(child) and not is_running(between))


def test_the_child_ends_with_the_process_between(
    family: tuple[subprocess.Popen[bytes], int, int],
) -> None:
    parent, between, child = family
    subprocess.run(["kill", "-KILL", str(between)], check=True)
    wait_for(lambda: not is_running(child))
    parent.kill()
    parent.wait()
