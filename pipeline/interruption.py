"""Ctrl-C and SIGTERM: the work is left at once, in good order, and in one line."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupted(BaseException):
    """A signal asked to stop. No `Exception`, so that nothing takes it for a failure.

    Args:
        number: of the signal.
        message: what is safe, and how to go on.

    Attributes:
        exit_code: as shells report a command that a signal ended: 130 or 143.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.exit_code = 128 + number


_MESSAGE = "interrupted; every file is whole or as it was before, the same command begins anew"

_received: list[int] = []


def raise_on_signals() -> None:
    """Lets SIGINT and SIGTERM raise `Interrupted` in the main thread; a second one ends at once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise)


def ignore_signals() -> None:
    """Lets SIGINT and SIGTERM pass unheard."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def received() -> int | None:
    """Returns the signal that asked to stop, if one did: a library may have caught its error."""
    return _received[0] if _received else None


def _raise(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted(number, _MESSAGE)
