"""How often each value of each column occurs: all that statistics and Transform ask of some rows.

The counts of several days are put together exactly, in whatever order the days come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.csv_types import MARKS, MISSING, TEXT, Types, convert

_VALUE, _ROWS = "value", "rows"
_OF_FILE = b"rows"  # in a file's metadata
_COMPACT = 64  # tables of a column that are put together at a time


@dataclass(frozen=True)
class ColumnCounts:
    """How often each value of each column occurs.

    Attributes:
        rows: Number of rows.
        columns: By name, distinct values in ascending order, null last where there is one, and
            their rows: `value`, `rows`.
    """

    rows: int
    columns: Mapping[str, pa.Table]

    def to_bytes(self) -> bytes:
        """Returns the counts as an Arrow file with one row, a list of (value, rows) a column."""
        lists = {name: _as_list(table) for name, table in self.columns.items()}
        batch = pa.RecordBatch.from_arrays(list(lists.values()), list(lists))
        batch = batch.replace_schema_metadata({_OF_FILE: str(self.rows).encode()})
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]

    @staticmethod
    def from_bytes(content: bytes) -> ColumnCounts:
        """Reads what `to_bytes` gave."""
        with pa.ipc.open_file(pa.BufferReader(content)) as reader:
            batch = reader.get_batch(0)
            rows = int(reader.schema.metadata[_OF_FILE])
        names = batch.schema.names
        columns = {name: _as_table(batch.column(place)) for place, name in enumerate(names)}
        return ColumnCounts(rows, columns)

    def converted(self, types: Types, marks: Sequence[str] = MARKS) -> ColumnCounts:
        """Returns the counts of the values as tf.Examples hold them, for counts of raw values.

        Args:
            types: Type of each column, as `check_input` found it.
            marks: What stands for a missing value in columns of numbers.
        """
        columns = {}
        for name, data_type in types.items():
            table = self.columns.get(name, _counts(pa.nulls(0, pa.binary()), pa.array([], "int64")))
            values = convert(table[_VALUE].combine_chunks(), data_type, marks)
            values = values.cast(pa.binary()) if data_type == TEXT else values
            columns[name] = _whole(_counts(values, table[_ROWS]), self.rows)
        return ColumnCounts(self.rows, columns)


class ColumnCounter:
    """Counts the raw values of the columns of rows, block by block."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, list[pa.Table]] = defaultdict(list)

    def add(self, rows: pa.Table) -> None:
        """Counts rows: columns of `binary` values, null allowed."""
        self._rows += len(rows)
        for name in rows.column_names:
            values, counts = pc.value_counts(rows[name].combine_chunks()).flatten()
            self._add(name, [_counts(values, counts)])

    def merge(self, other: ColumnCounter) -> None:
        """Adds what another has counted."""
        self._rows += other._rows
        for name, tables in other._columns.items():
            self._add(name, tables)

    def counts(self) -> ColumnCounts:
        """Returns what was counted."""
        columns = self._columns.items()
        return ColumnCounts(
            self._rows, {name: _whole(_together(some), self._rows) for name, some in columns}
        )

    def _add(self, name: str, tables: Sequence[pa.Table]) -> None:
        self._columns[name] += tables
        if len(self._columns[name]) >= _COMPACT:
            self._columns[name] = [_together(self._columns[name])]


def put_together(several: Iterable[ColumnCounts]) -> ColumnCounts:
    """Returns the counts of all rows together, of counts of raw values."""
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    rows = 0
    for counts in several:
        rows += counts.rows
        for name, table in counts.columns.items():
            tables[name].append(table)
    return ColumnCounts(
        rows, {name: _whole(_together(some), rows) for name, some in tables.items()}
    )


def _counts(values: pa.Array, rows: pa.Array | pa.ChunkedArray) -> pa.Table:
    return pa.table({_VALUE: values, _ROWS: rows})


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """Returns tables of (value, rows) as one, each value once."""
    table = pa.concat_tables(tables)
    if table[_VALUE].type == MISSING:
        return _counts(pa.nulls(1), pa.array([pc.sum(table[_ROWS]).as_py() or 0]))
    summed = table.group_by(_VALUE).aggregate([(_ROWS, "sum")])
    return _counts(summed[_VALUE].combine_chunks(), summed[f"{_ROWS}_sum"])


def _whole(table: pa.Table, rows: int) -> pa.Table:
    """Returns counts in order, a row that has no value counted as null."""
    absent = rows - (pc.sum(table[_ROWS]).as_py() or 0)
    if absent:
        nothing = pa.nulls(1, table[_VALUE].type)
        table = pa.concat_tables([table, _counts(nothing, pa.array([absent], pa.int64()))])
    table = _together([table])
    return table if table[_VALUE].type == MISSING else table.sort_by(_VALUE)


def _as_list(table: pa.Table) -> pa.Array:
    columns = [table[name].combine_chunks() for name in (_VALUE, _ROWS)]
    pairs = pa.StructArray.from_arrays(columns, [_VALUE, _ROWS])
    return pa.LargeListArray.from_arrays(pa.array([0, len(pairs)], pa.int64()), pairs)


def _as_table(lists: pa.Array) -> pa.Table:
    values, rows = lists.flatten().flatten()
    return _counts(values, rows)
