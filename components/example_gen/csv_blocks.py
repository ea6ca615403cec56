"""From a CSV file to blocks of columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from components.example_gen.blocks import (
    WHOLE_FILE,
    BadRow,
    Block,
    Flaw,
    Header,
    Range,
    UnreadableError,
    flaws_of_values,
)
from components.example_gen.csv_records import BLOCK_BYTES, Records, read_records
from components.example_gen.settings import ReadingSettings

SEPARATORS = (",", ";", "\t", "|")

_FIRST_BYTES = 1 << 16


def read_header(stream: Any, settings: ReadingSettings) -> Header:
    """Returns the header of a CSV file; one without names where there is none.

    Raises:
        UnreadableError: The beginning of the file is not CSV in UTF-8.
    """
    beginning = _Beginning(stream)
    separator = settings.separator or _separator(beginning.line, settings)
    first = next(read_records(beginning, _FIRST_BYTES, separator), None)
    return _header(first, separator)


def read_blocks(
    stream: Any,
    header: Header,
    settings: ReadingSettings,
    required: Sequence[str],
    block_bytes: int = BLOCK_BYTES,
    where: Range = WHOLE_FILE,
) -> Iterator[Block]:
    """Yields the rows of a range of a CSV file.

    Args:
        stream: Of the range's bytes, without compression.
        header: Of the file.
        settings: How rows are read.
        required: Columns whose values must be good.
        block_bytes: About how many bytes to hold at once.
        where: The range.

    Raises:
        UnreadableError: The bytes cannot be cut into rows.
    """
    if not header.names:
        return
    start = where.number
    has_header = where.start == 0
    for records in read_records(stream, block_bytes, header.separator, where.line):
        if has_header and len(records):
            records, has_header = records.after_first(), False
        block = _block(records, header, settings, required, start)
        start += len(block.good) + len(block.bad)
        yield block


class _Beginning:
    """A stream whose first line is known before it is read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._first = stream.read(_FIRST_BYTES)
        self.line: bytes = self._first.partition(b"\n")[0]

    def read(self, size: int) -> bytes:
        first, self._first = self._first[:size], self._first[size:]
        return first if len(first) == size else first + self._stream.read(size - len(first))


def _separator(line: bytes, settings: ReadingSettings) -> str:
    """Returns what separates the names in a header: what finds most known columns in it."""

    def known(separator: str) -> tuple[int, int]:
        names = _names(line.decode(errors="replace"), separator)
        wanted = set(settings.required()) & set(names)
        return len(wanted) + len(settings.columns.attributes(names)), len(names)

    return max(SEPARATORS, key=known)


def _header(first: Records | None, separator: str) -> Header:
    if first is None or not len(first):
        return Header([], separator, [])
    try:
        return Header.of(_names(first.raw(0).decode(), separator), separator)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not a CSV header in UTF-8 ({error})", 1) from None


def _names(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error as error:
        raise UnreadableError(f"not a CSV header in UTF-8 ({error})", 1) from None


def _block(
    records: Records,
    header: Header,
    settings: ReadingSettings,
    required: Sequence[str],
    start: int,
) -> Block:
    # Flaws and `numbers` are by number of the record; the parser counts what it is given.
    flaws = _not_utf8(records, header)
    rows, malformed = _parse(records.without(flaws), header)
    numbers = np.delete(np.arange(len(flaws) + len(rows) + len(malformed)), list(flaws))
    flaws |= {numbers[index]: found for index, found in malformed.items()}
    numbers = np.delete(numbers, list(malformed))
    of_values = flaws_of_values(rows, settings, required)
    flaws |= {numbers[index]: found for index, found in of_values.items()}
    if not flaws:
        return Block(rows, start + numbers, [])
    good = np.ones(len(rows), bool)
    good[list(of_values)] = False
    lines = records.lines(sorted(flaws))
    bad = [
        BadRow(line, flaws[number], records.raw(number))
        for number, line in zip(sorted(flaws), lines, strict=True)
    ]
    return Block(rows.filter(pa.array(good)), start + numbers[good], bad)


def _not_utf8(records: Records, header: Header) -> dict[int, list[Flaw]]:
    """Returns the flaws of the records that are not UTF-8, by number."""
    if _utf8_flaw(records.data, header) is None:
        return {}
    found = {number: _utf8_flaw(records.raw(number), header) for number in range(len(records))}
    return {number: [flaw] for number, flaw in found.items() if flaw}


def _utf8_flaw(data: bytes, header: Header) -> Flaw | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        outside_quotes = data[: error.start].split(b'"')[::2]
        column = sum(part.count(header.separator.encode()) for part in outside_quotes)
        name = header.names[column] if column < len(header.names) else ""
        return Flaw(name, "text in UTF-8", f"byte {data[error.start]:#04x}")
    return None


def _parse(data: bytes, header: Header) -> tuple[pa.Table, dict[int, list[Flaw]]]:
    """Returns the rows with as many fields as names, and the flaws of the others by number."""
    names = header.names
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
        arrow_csv.ParseOptions(
            delimiter=header.separator, newlines_in_values=True, invalid_row_handler=skip
        ),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    return rows.combine_chunks(), flaws
