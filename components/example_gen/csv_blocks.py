"""From a CSV file to blocks of columns, with the rows that are bad by themselves set apart."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import fs

from components.example_gen import times
from components.example_gen.csv_records import (
    BLOCK_BYTES,
    Array,
    MalformedCsvError,
    Records,
    read_records,
)
from components.example_gen.settings import ReadingSettings
from components.example_gen.times import parse_times

_SHOWN_CHARACTERS = 40


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
        line: Line of the file on which the row begins; the header is line 1.
        flaws: What is wrong, at least one.
        raw: The row's bytes as they stand in the file.
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


def read_header(file: str) -> list[str]:
    """Returns the names in the first row of a CSV file; [] where there is none.

    Raises:
        MalformedCsvError: The beginning of the file is not CSV in UTF-8.
    """
    with _open(file) as stream:
        return _header(next(read_records(stream), None))


def read_blocks(
    file: str,
    settings: ReadingSettings,
    required: Sequence[str],
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Block]:
    """Yields the rows of a CSV file.

    Bad is a row with more or fewer fields than the header, or with a field that is not UTF-8; where
    they are required, also one whose label is not 0 or 1, whose text or ad id is empty, or whose
    time is none.

    Args:
        file: Path or URI.
        settings: How rows are read.
        required: Columns whose values must be good.
        block_bytes: About how many bytes to hold at once.

    Raises:
        MalformedCsvError: The file cannot be cut into rows.
    """
    with _open(file) as stream:
        blocks = read_records(stream, block_bytes)
        first = next(blocks, None)
        names = _header(first)
        if first is None or not names:
            return
        start = 0
        for records in chain([first.after_first()], blocks):
            block = _block(records, names, settings, required, start)
            start += len(block.good) + len(block.bad)
            yield block


def _open(file: str) -> Any:
    system, path = fs.FileSystem.from_uri(file) if "://" in file else (fs.LocalFileSystem(), file)
    return system.open_input_stream(path)


def _header(first: Records | None) -> list[str]:
    if first is None or not len(first):
        return []
    try:
        return next(csv.reader([first.raw(0).decode()]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedCsvError(1, f"not a CSV header in UTF-8 ({error})") from None


def _block(
    records: Records,
    names: list[str],
    settings: ReadingSettings,
    required: Sequence[str],
    start: int,
) -> Block:
    # Flaws and `numbers` are by number of the record; the parser counts what it is given.
    flaws = _not_utf8(records, names)
    rows, malformed = _parse(records.without(flaws), names)
    numbers = np.delete(np.arange(len(flaws) + len(rows) + len(malformed)), list(flaws))
    flaws |= {numbers[index]: found for index, found in malformed.items()}
    numbers = np.delete(numbers, list(malformed))
    good = np.ones(len(rows), bool)
    for name, expected, is_good in _checks(rows, settings, required):
        for index in np.flatnonzero(~is_good):
            flaw = Flaw(name, expected, _show(rows[name][index].as_py()))
            flaws.setdefault(numbers[index], []).append(flaw)
        good &= is_good
    if not flaws:
        return Block(rows, start + numbers, [])
    lines = records.lines(sorted(flaws))
    bad = [
        BadRow(line, flaws[number], records.raw(number))
        for number, line in zip(sorted(flaws), lines, strict=True)
    ]
    return Block(rows.filter(pa.array(good)), start + numbers[good], bad)


def _not_utf8(records: Records, names: list[str]) -> dict[int, list[Flaw]]:
    """Returns the flaws of the records that are not UTF-8, by number."""
    if _utf8_flaw(records.data, names) is None:
        return {}
    found = {number: _utf8_flaw(records.raw(number), names) for number in range(len(records))}
    return {number: [flaw] for number, flaw in found.items() if flaw}


def _utf8_flaw(data: bytes, names: list[str]) -> Flaw | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        outside_quotes = data[: error.start].split(b'"')[::2]
        column = sum(part.count(b",") for part in outside_quotes)
        name = names[column] if column < len(names) else ""
        return Flaw(name, "text in UTF-8", f"byte {data[error.start]:#04x}")
    return None


def _parse(data: bytes, names: list[str]) -> tuple[pa.Table, dict[int, list[Flaw]]]:
    """Returns the rows with as many fields as names, and the flaws of the others by number."""
    flaws: dict[int, list[Flaw]] = {}

    def skip(row: arrow_csv.InvalidRow) -> str:
        expected = f"{row.expected_columns} fields, as in the header"
        flaws[row.number - 1] = [Flaw("", expected, str(row.actual_columns))]
        return "skip"

    if not data:
        return pa.table({name: pa.array([], pa.binary()) for name in names}), flaws
    rows = arrow_csv.read_csv(
        pa.BufferReader(data),
        arrow_csv.ReadOptions(
            column_names=names,
            block_size=len(data) + 1,
            use_threads=False,  # else rows have no number
        ),
        arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    return rows.combine_chunks(), flaws


def _checks(
    rows: pa.Table, settings: ReadingSettings, required: Sequence[str]
) -> Iterator[tuple[str, str, Array]]:
    """Yields column, what is expected there, and whether each row has it [rows]."""
    columns, time = settings.columns, settings.split.time
    if columns.label in required:
        is_label = pc.is_in(rows[columns.label], pa.array([b"0", b"1"]))
        yield columns.label, "0 or 1", is_label.to_numpy()
    for name in (columns.text, columns.ad_id):
        if name in required:
            has_text = pc.match_substring_regex(rows[name], r"\S").fill_null(False)
            yield name, "a text that is not empty", has_text.to_numpy()
    if time is not None and time in required:
        is_time = parse_times(rows[time].combine_chunks()).is_valid()
        yield time, times.EXPECTED, is_time.to_numpy(zero_copy_only=False)


def _show(value: bytes | None) -> str:
    text = (value or b"").decode()
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")
