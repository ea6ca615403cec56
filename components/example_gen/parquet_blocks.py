"""From a Parquet file to blocks of columns, as a CSV file with the same values gives them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.example_gen.blocks import (
    WHOLE_FILE,
    BadRow,
    Block,
    Header,
    Range,
    UnreadableError,
    flaws_of_values,
)
from components.example_gen.settings import ReadingSettings

_ROWS = 1 << 15


def read_header(file: Any) -> Header:
    """Returns the names of the columns.

    Raises:
        UnreadableError: The file is not Parquet, or a column holds more than a value a row.
    """
    schema = pq.read_schema(file)
    for field in schema:
        if pa.types.is_nested(field.type):
            raise UnreadableError(f"column {field.name} is {field.type}; expected one value a row")
    return Header.of(schema.names, "")


def ranges(file: Any, size: int) -> Iterator[tuple[Range, int]]:
    """Yields ranges of a Parquet file of about `size` bytes, and the bytes of each."""
    metadata = pq.read_metadata(file)
    start = number = rows = taken = 0
    for group in range(metadata.num_row_groups):
        if taken >= size:
            yield Range(start, group, number=number), taken
            start, number, taken = group, number + rows, 0
            rows = 0
        found = metadata.row_group(group)
        rows, taken = rows + found.num_rows, taken + found.total_byte_size
    yield Range(start, None, number=number), taken


def read_blocks(
    file: Any,
    settings: ReadingSettings,
    required: Sequence[str],
    rows: int = _ROWS,
    where: Range = WHOLE_FILE,
) -> Iterator[Block]:
    """Yields the rows of a range of a Parquet file.

    Args:
        file: With random access.
        settings: How rows are read.
        required: Columns whose values must be good.
        rows: How many to hold at once.
        where: The range.
    """
    names = read_header(file).names
    start = where.number
    opened = pq.ParquetFile(file)
    groups = range(opened.num_row_groups)[where.start : where.end]
    for batch in opened.iter_batches(rows, groups):
        yield _block(_as_csv(batch, names, settings), settings, required, start)
        start += len(batch)


def _as_csv(batch: pa.RecordBatch, names: list[str], settings: ReadingSettings) -> pa.Table:
    columns = [
        _as_fields(values, is_label=name == settings.columns.label)
        for name, values in zip(names, batch.columns, strict=True)
    ]
    return pa.table(dict(zip(names, columns, strict=True)))


def _as_fields(values: pa.Array, *, is_label: bool) -> pa.Array:
    """Returns values as they would stand in the fields of a CSV file, `binary`."""
    if is_label and pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    text = values.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), None, text).cast(pa.binary())


def _block(rows: pa.Table, settings: ReadingSettings, required: Sequence[str], start: int) -> Block:
    flaws = flaws_of_values(rows, settings, required)
    good = np.ones(len(rows), bool)
    good[list(flaws)] = False
    bad = [
        BadRow(start + number + 1, flaws[number], _csv_line(rows.slice(number, 1)))
        for number in sorted(flaws)
    ]
    numbers = start + np.flatnonzero(good)
    return Block(rows.filter(pa.array(good)) if flaws else rows, numbers, bad)


def _csv_line(row: pa.Table) -> bytes:
    line = io.StringIO()
    fields = [(value or b"").decode() for (value,) in row.to_pydict().values()]
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue().encode()
