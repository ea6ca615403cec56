"""Errors that a person can act on; the command line prints them without a stack trace."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from components.findings import Finding

FAILED_A_RULE = 5  # exit code of `twotower monitor`: an answer, not an error

_UNREACHABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


class TwotowerError(Exception):
    """What was wrong, what was expected, what to do: in words for the person who meets it."""

    exit_code: ClassVar[int] = 1


class InputError(TwotowerError):
    """The input or the settings cannot be used."""

    exit_code = 2


class NotBlessedError(TwotowerError):
    """The model did not pass the gate."""

    exit_code = 3


class WithdrawnError(TwotowerError):
    """The model was withdrawn from service."""

    exit_code = 3


class AnomalyError(TwotowerError):
    """The data does not fit the curated schema, or fails a check.

    Attributes:
        findings: What was found, as the message says it in words.
    """

    exit_code = 4

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = list(findings)


def reason(error: BaseException | None) -> TwotowerError | None:
    """Finds what a person can act on behind what Beam and TFX made of it; None if there is none."""
    while error is not None:
        if isinstance(error, TwotowerError):
            return error
        if isinstance(error, OSError) and (found := _of_the_machine(error)):
            return found
        error = error.__cause__ or error.__context__
    return None


def last_cause(error: BaseException) -> str:
    """Returns the line that says what was wrong at the bottom of a chain of errors."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    # Beam and TensorFlow put stack traces, indented lines and "[while running …]" around it.
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line[0].isspace() and not line.startswith("[")
    ]
    name = type(error).__name__
    return name if not lines else lines[-1] if name in lines[-1] else f"{name}: {lines[-1]}"


def printable(text: str) -> str:
    """Returns a text with its control characters, newlines aside, written as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _of_the_machine(error: OSError) -> TwotowerError | None:
    """Says in words that a disk is full or a file cannot be reached; None if it is neither."""
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TwotowerError(
            f"{where}no space left on the disk; what was there before is as it was. Make room, "
            "then run the same command again"
        )
    if error.errno in _UNREACHABLE and where:
        return InputError(f"{where}cannot be used ({os.strerror(error.errno)})")
    return None
