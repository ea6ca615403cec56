"""Errors that a person can act on; the command line prints them without a stack trace."""

from __future__ import annotations

from typing import ClassVar


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
    """The data does not fit the curated schema."""

    exit_code = 4
