"""A process ends as Python has it, only sooner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """\
import atexit, os, sys, threading, time
from pipeline.fast_exit import run_and_exit

class Held:
    def __del__(self):
        os.write(1, b"taken apart ")

held = Held()

def late():
    time.sleep(0.2)
    print("a thread", end=" ")

atexit.register(lambda: print("an early handler", end=" "))

def main():
    atexit.register(lambda: print("a handler", end=" "))
    threading.Thread(target=late).start()
    print("printed", end=" ")
    {end}

run_and_exit(main)
"""
SAID = "printed a thread a handler an early handler "


def run(
    end: str, stdout: object = subprocess.PIPE, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    # Where output is not buffered, none is left to be written at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(end=end)],
        cwd=ROOT,
        env=environment,
        preexec_fn=before,
        stdout=stdout,  # type: ignore[call-overload]
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("return", 0),
        ("return 3", 3),
        ("sys.exit()", 0),
        ("sys.exit(4)", 4),
    ],
)
def test_threads_handlers_and_output_are_waited_for_and_modules_are_not(
    end: str, code: int
) -> None:
    ended = run(end)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, SAID, "")


@pytest.mark.parametrize(
    ("end", "said"), [("sys.exit('why')", "why"), ("raise ValueError('why')", "ValueError: why")]
)
def test_what_python_says_of_an_error_it_says(end: str, said: str) -> None:
    ended = run(end)
    assert (ended.returncode, ended.stdout) == (1, SAID + "taken apart ")
    assert ended.stderr.splitlines()[-1] == said


def test_output_that_cannot_be_written_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        ended = run("return", full)
    assert ended.returncode == 120
    assert "No space left on device" in ended.stderr


def test_a_process_without_standard_output_ends_as_any_other() -> None:
    ended = run("return 3", before=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (3, "")
