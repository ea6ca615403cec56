"""Errors that a person can act on; the command line prints them without a stack trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from components.findings import Finding


class TwotowerError(Exception):
    """What was wrong, what was expected, what to do: in words for the person who meets it."""

    exit_code: ClassVar[int] = 1


class InputError(TwotowerError):
    """The input or the settings cannot be used."""

    exit_code = 2


class NotBlessedError(TwotowerError):
    """The model did not pass the gate."""

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
        error = error.__cause__ or error.__context__
    return None
