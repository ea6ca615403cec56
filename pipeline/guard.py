"""Nothing that a run starts outlives it, Beam's workers included, however the run ends.

A small process holds the other end of a pipe. When the run is gone the kernel closes the pipe, and
that process ends all that carry the run's mark in their environment: everything that the run
started. Then it removes the folder of temporary files that all of them had.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "TWOTOWER_RUN"
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_GLANCE = 0.05


@contextmanager
def guarded() -> Iterator[None]:
    """Ends what this process started meanwhile once the context ends, or this process does.

    Temporary files of both lie in a folder that goes with them.
    """
    mark = uuid.uuid4().hex
    folder = tempfile.mkdtemp(prefix="twotower-")
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, mark, folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ[_MARK] = mark
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        del os.environ[_MARK], os.environ["TMPDIR"]
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]
        tempfile.tempdir = before[1]
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()


def end_marked(mark: str) -> None:
    """Ends all processes with a run's mark."""
    end = time.monotonic() + _GRACE
    number = signal.SIGTERM
    while left := _marked(mark):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        time.sleep(_GLANCE)
        if time.monotonic() > end:
            number = signal.SIGKILL


def _marked(mark: str) -> list[int]:
    entry = f"{_MARK}={mark}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if entry in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end_marked(sys.argv[1])
    shutil.rmtree(sys.argv[2], ignore_errors=True)
