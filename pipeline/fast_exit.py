"""The end of a process that has TensorFlow and TFX loaded."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress


def run_and_exit(main: Callable[[], int | None]) -> None:
    """Runs a program and ends the process, but leaves out the last that Python does at its end.

    That is to take apart every module and what it holds: two seconds for TensorFlow and TFX, after
    all work is done. Threads are waited for, exit handlers are called and what was printed is
    written, as ever. An error that nobody caught, and output that cannot be written, end as Python
    has it.

    Args:
        main: returns the exit code or raises SystemExit with it; None is 0.
    """
    try:
        code = main() or 0
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    # What Python itself calls first, in this order; it has no public names for them.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError):
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where a descriptor is closed
            stream.flush()
        os._exit(code)
    sys.exit(code)
