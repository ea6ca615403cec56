"""What a run shows: one line a step, live on a terminal, plain where there is none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

_NAME_WIDTH = 18


@dataclass
class Step:
    """A step under way.

    Attributes:
        note: shown beside its name when it is done.
    """

    note: str = ""


class Display:
    """Writes to a copy of standard output, so that a run may send that elsewhere meanwhile.

    Attributes:
        console: where it writes.
    """

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        self.console = Console(
            file=os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8"),
            force_terminal=terminal,
            highlight=False,
            soft_wrap=True,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Shows a step from its start to its end."""
        step = Step()
        start = time.monotonic()
        mark = Text("✗", "red")
        status = self.console.status(name) if self.console.is_terminal else None
        if status:
            status.start()
        try:
            yield step
            mark = Text("✓", "green")
        finally:
            if status:
                status.stop()
            seconds = f"{time.monotonic() - start:6.1f} s"
            self.console.print(mark, f"{name:{_NAME_WIDTH}}", seconds, Text(step.note, "dim"))
