"""Keeps what libraries print out of the terminal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from components.errors import printable


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Sends what any code of this process prints, C++ included, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


def show_warnings() -> None:
    """Lets what our own code warns of reach the terminal, whatever is quiet."""
    handler = _Warnings(os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8"))
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    for name in ("components.serving_root", "components.pusher", "pipeline"):
        logging.getLogger(name).addHandler(handler)


class _Warnings(logging.StreamHandler[TextIO]):
    """Prints control characters as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
