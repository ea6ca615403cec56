"""Blocks of rows as every reader yields them, those that are bad by themselves set apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen import outcomes, times
from components.example_gen.settings import ReadingSettings

Array = np.ndarray[Any, Any]

_VISIBLE = r"[^\pZ\pC]"  # a character that is no kind of space, control or mark of direction
_SHOWN_CHARACTERS = 40


class UnreadableError(ValueError):
    """A file, or what comes after some line of it, cannot be read.

    Attributes:
        line: The line; None for the whole file.
        reason: What is wrong.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class Flaw(NamedTuple):
    """What is wrong with a row: in which column ("" for the whole row), and in what way."""

    column: str
    expected: str
    actual: str

    def __str__(self) -> str:
        where = f"column {self.column}: " if self.column else ""
        return f"{where}expected {self.expected}, got {self.actual}"


@dataclass(frozen=True)
class BadRow:
    """A row that is bad by itself.

    Attributes:
        line: Line of the file on which the row begins, where the header is line 1; of a file
            without lines, the row's number from 1.
        flaws: What is wrong, at least one.
        raw: The row's bytes as they stand in the file, or as they would in a CSV file.
    """

    line: int
    flaws: list[Flaw]
    raw: bytes


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a file.

    Attributes:
        good: Rows that can be used; all columns `binary` in UTF-8, null where the field is empty.
        numbers: Number of each of them in the file, from 0, [good rows]; bad rows count, too.
        bad: Rows that cannot, in the order of the file.
    """

    good: pa.Table
    numbers: Array
    bad: list[BadRow]


class Range(NamedTuple):
    """Some consecutive records of a file.

    Attributes:
        start: Its first byte; in Parquet, its first row group.
        end: What it ends before; None for the end of the file.
        line: Line of the file on which it begins.
        number: Rows of the file that come before it.
    """

    start: int = 0
    end: int | None = None
    line: int = 1
    number: int = 0


WHOLE_FILE = Range()


class Header(NamedTuple):
    """What a file says of its columns.

    Attributes:
        names: Of the columns, without the spaces around them.
        separator: Between the fields of a row; "" where there is none.
        spaced: The names that stand in the file with spaces around them.
    """

    names: list[str]
    separator: str
    spaced: list[str]

    @staticmethod
    def of(names: Sequence[str], separator: str) -> Header:
        """Returns the header of the names as they stand in a file."""
        stripped = [name.strip() for name in names]
        spaced = [name for name in names if name != name.strip()]
        return Header(stripped, separator, spaced)


def column_of(rows: pa.Table, name: str) -> pa.Array:
    """Returns a column of `Block.good`; without a value in any row where the file has it not."""
    if name not in rows.column_names:
        return pa.nulls(len(rows), pa.binary())
    return rows[name].combine_chunks()


def flaws_of_values(
    rows: pa.Table, settings: ReadingSettings, required: Sequence[str]
) -> dict[int, list[Flaw]]:
    """Returns what is wrong with the values of rows, by the row's number among them."""
    flaws: dict[int, list[Flaw]] = {}
    for name, expected, is_good in _checks(rows, settings, required):
        for index in np.flatnonzero(~is_good):
            flaw = Flaw(name, expected, _show(rows[name][index].as_py()))
            flaws.setdefault(int(index), []).append(flaw)
    return flaws


def _checks(
    rows: pa.Table, settings: ReadingSettings, required: Sequence[str]
) -> Iterator[tuple[str, str, Array]]:
    """Yields column, what is expected there, and whether each row has it [rows]."""
    columns, time = settings.columns, settings.split.time
    yield from outcomes.checks(rows, columns, required)
    for name in (*columns.ad_texts, columns.ad_id):
        if name in required:
            text = rows[name].cast(pa.string())
            has_text = pc.match_substring_regex(text, _VISIBLE).fill_null(False)
            yield name, "a text that is not empty", has_text.to_numpy()
    if time is not None and time in required:
        is_time = times.parse_times(rows[time].combine_chunks()).is_valid()
        yield time, times.EXPECTED, is_time.to_numpy(zero_copy_only=False)


def _show(value: bytes | None) -> str:
    text = (value or b"").decode()
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
