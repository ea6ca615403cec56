"""The `twotower` command, also as `python -m pipeline`.

Exit codes: 0 done (a run: pushed), 2 bad input or settings, 3 not blessed or withdrawn, 4 data
anomalies, 5 a model that fails `monitor.rules`, 130 and 143 stopped by Ctrl-C and SIGTERM, 1
anything else.
"""

from __future__ import annotations

import os
import sys

from components.errors import TwotowerError, printable, reason
from pipeline.fast_exit import run_and_exit
from pipeline.interruption import Interrupted, ignore_signals, raise_on_signals
from pipeline.startup import look_for_less_garbage


def command() -> None:
    """What the `twotower` command calls: `main` in a process of its own."""
    run_and_exit(main)


def main() -> None:
    """Runs the command; errors that a person can act on end it in one line and an exit code."""
    # What TensorFlow's C++ prints before a log is open.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    look_for_less_garbage()
    raise_on_signals()
    try:
        _run_command()
    except TwotowerError as error:
        sys.exit(_tell(str(error), error.exit_code))
    except Interrupted as interrupted:
        _tell(str(interrupted), interrupted.exit_code)
        os._exit(interrupted.exit_code)  # threads of libraries would be waited for
    except BrokenPipeError:  # whoever read what is printed has enough
        os._exit(0)
    except OSError as error:
        known = reason(error)
        if known is None:
            raise
        sys.exit(_tell(str(known), known.exit_code))
    finally:
        ignore_signals()  # all is done, and Python's own end takes a moment


def _run_command() -> None:
    # Here, as they take a moment, too, in which a signal may come.
    from pipeline.cli import app
    from pipeline.quiet import show_warnings

    show_warnings()
    app(prog_name="twotower")


def _tell(message: str, exit_code: int) -> int:
    print(printable(f"twotower: {message}"), file=sys.stderr, flush=True)
    return exit_code


if __name__ == "__main__":
    command()
