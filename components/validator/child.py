"""A process that dies with the one that started it, however that dies.

Between the two stands a small process of this module, whose standard input is a pipe that the
parent holds open. When the parent dies the kernel closes the pipe, and the child is ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1
_GRACE = 10.0  # seconds


def start_child(command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts a command that ends with this process; what it prints goes to `log`.

    A Ctrl-C in the terminal reaches this process alone.
    """
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def end_child(process: subprocess.Popen[bytes]) -> None:
    """Ends what `start_child` started."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def main(command: Sequence[str]) -> int:
    """Keeps a command running until it ends, or standard input does."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)

    def watch() -> None:
        # Not through sys.stdin: its lock, held here, would crash the interpreter's end.
        while os.read(0, 1024):
            pass
        child.terminate()
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


def _die_with_parent() -> None:
    """Asks the kernel to end this process when the one of this module dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
