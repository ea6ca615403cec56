"""What a run starts, and what that starts, ends with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import subprocess, sys, tempfile, time
from pipeline.guard import guarded
with guarded():
    tempfile.mkstemp()
    subprocess.run(["mktemp", "-d"], stdout=subprocess.DEVNULL)
    # As Beam starts its workers: by a shell, in the same session. They heed no SIGTERM.
    command = sys.executable + ' -c "import signal, time; signal.signal(15, signal.SIG_IGN); '
    subprocess.Popen(command + 'print(1, flush=True); time.sleep(600)"', shell=True)
    while len(sys.argv) == 1:
        time.sleep(1)
    time.sleep(float(sys.argv[1]))
"""


def descendants(session: int) -> list[int]:
    """Returns the living processes of a session but its leader."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session != int(process.name) and fields[0] != "Z":
            found.append(int(process.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_all_that_a_killed_process_started_ends(number: signal.Signals, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"1\n"
    assert descendants(parent.pid)
    (temporary,) = tmp_path.iterdir()
    assert len(list(temporary.iterdir())) == 2
    parent.send_signal(number)
    parent.wait()
    while descendants(parent.pid) or list(tmp_path.iterdir()):
        time.sleep(0.05)


def test_what_is_left_at_the_end_ends_too(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "1"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.wait() == 0
    assert not descendants(parent.pid)
    assert not list(tmp_path.iterdir())
