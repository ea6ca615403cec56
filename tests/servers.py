"""Servers that tests start and wait for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Runs a server until the context ends, and waits until it listens."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, env={**os.environ, "PATH": path}, stdout=out, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            wait_for(port, process, log)
            yield
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    pytest.fail(f"{process.args!r} does not listen:\n{log.read_text()[-3000:]}")
