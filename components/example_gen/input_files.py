"""Rows of an input file, whatever its format: CSV, CSV in gzip, or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import fs

from components.example_gen import csv_blocks, parquet_blocks
from components.example_gen.blocks import WHOLE_FILE, Block, Header, Range, UnreadableError
from components.example_gen.csv_records import BLOCK_BYTES
from components.example_gen.filesystem import locate
from components.example_gen.layout import GZIP, PARQUET
from components.example_gen.settings import ReadingSettings

# How the files begin that are often called .csv and are not.
_FIRST_BYTES = {
    b"\x1f\x8b": "is in gzip; let its name end in .csv.gz",
    b"PK\x03\x04": "is an Excel workbook or another zip file; save it as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook; save it as CSV",
    b"PAR1": "is in Parquet; let its name end in .parquet",
    b"\xff\xfe": "is in UTF-16, not a CSV header in UTF-8; save it as CSV in UTF-8",
    b"\xfe\xff": "is in UTF-16, not a CSV header in UTF-8; save it as CSV in UTF-8",
}


def read_header(file: str, settings: ReadingSettings) -> Header:
    """Returns what a file says of its columns.

    Args:
        file: Path or URI.
        settings: How it is read.

    Raises:
        UnreadableError: Its beginning cannot be read.
    """
    with _opened(file) as source:
        if _is_parquet(file):
            return parquet_blocks.read_header(source)
        return csv_blocks.read_header(source, settings)


def read_blocks(
    file: str,
    settings: ReadingSettings,
    required: Sequence[str],
    block_bytes: int = BLOCK_BYTES,
    where: Range = WHOLE_FILE,
) -> Iterator[Block]:
    """Yields the rows of a file, or of a range of it.

    Bad is a row with more or fewer fields than the header, or with a field that is not UTF-8; where
    they are required, also one whose label is not 0 or 1, whose counts or
    weight cannot be, whose text or ad id is empty, or whose
    time is none.

    Args:
        file: Path or URI.
        settings: How rows are read.
        required: Columns whose values must be good.
        block_bytes: About how many bytes of CSV to hold at once.
        where: The range.

    Raises:
        UnreadableError: The file cannot be cut into rows.
    """
    if _is_parquet(file):
        with _opened(file) as source:
            yield from parquet_blocks.read_blocks(source, settings, required, where=where)
        return
    header = read_header(file, settings)
    with _opened(file, where) as source:
        yield from csv_blocks.read_blocks(source, header, settings, required, block_bytes, where)


def _is_parquet(file: str) -> bool:
    return file.lower().endswith(PARQUET)


@contextmanager
def _opened(file: str, where: Range = WHOLE_FILE) -> Iterator[Any]:
    """Opens a range of a file; what Arrow has against its bytes becomes an UnreadableError."""
    try:
        system, path = locate(file)
        if _is_parquet(file):
            opened = system.open_input_file(path)
        elif where == WHOLE_FILE:
            _check_first_bytes(system, path)
            compression = "gzip" if file.lower().endswith(GZIP) else None
            opened = system.open_input_stream(path, compression=compression)
        else:
            whole = system.open_input_file(path)
            end = whole.size() if where.end is None else where.end
            opened = whole.get_stream(where.start, end - where.start)
        with opened as source:
            yield source
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError(f"cannot be read: {error}") from None


def _check_first_bytes(system: fs.FileSystem, path: str) -> None:
    with system.open_input_stream(path, compression=None) as stream:
        first = stream.read(4)
    is_gzip = path.lower().endswith(GZIP)
    for beginning, what in _FIRST_BYTES.items():
        if first.startswith(beginning) and not (is_gzip and beginning == b"\x1f\x8b"):
            raise UnreadableError(what)
