"""How often each value of each column occurs, and is clicked.

It is all that statistics, the schema gate and Transform ask of some rows.

The counts of several days are put together exactly, in whatever order the days come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.example_gen.csv_types import MARKS, MISSING, TEXT, Types, convert

VALUE, ROWS, CLICKS = "value", "rows", "clicks"
_COMPACT = 64  # tables of a column that are put together at a time


@dataclass(frozen=True)
class ColumnCounts:
    """How often each value of each column occurs.

    Attributes:
        rows: Number of rows.
        clicks: Number of those with a click; 0 where rows have no label.
        columns: By name, distinct values in ascending order, null last where there is one, their
            rows, and how many of these have a click: `value`, `rows`, `clicks`.
    """

    rows: int
    clicks: int
    columns: Mapping[str, pa.Table]

    def to_bytes(self) -> bytes:
        """Returns the counts as an Arrow file with one row, a list of value and counts a column."""
        lists = {name: _as_list(table) for name, table in self.columns.items()}
        batch = pa.RecordBatch.from_arrays(list(lists.values()), list(lists))
        batch = batch.replace_schema_metadata({ROWS: str(self.rows), CLICKS: str(self.clicks)})
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
            rows, clicks = (int(reader.schema.metadata[key.encode()]) for key in (ROWS, CLICKS))
        names = batch.schema.names
        columns = {name: _as_table(batch.column(place)) for place, name in enumerate(names)}
        return ColumnCounts(rows, clicks, columns)

    def converted(self, types: Types, marks: Sequence[str] = MARKS) -> ColumnCounts:
        """Returns the counts of the values as tf.Examples hold them, for counts of raw values.

        Args:
            types: Type of each column, as `check_input` found it.
            marks: What stands for a missing value in columns of numbers.
        """
        columns = {}
        for name, data_type in types.items():
            table = self.columns.get(name, _counts(pa.nulls(0, pa.binary()), [], []))
            values = convert(table[VALUE].combine_chunks(), data_type, marks)
            values = values.cast(pa.binary()) if data_type == TEXT else values
            of_values = _counts(values, table[ROWS], table[CLICKS])
            columns[name] = _whole(of_values, self.rows, self.clicks)
        return ColumnCounts(self.rows, self.clicks, columns)


class ColumnCounter:
    """Counts the raw values of the columns of rows, block by block.

    Args:
        most: Distinct values of a column, beyond which nothing is counted; None for any number.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._is_over = False
        self._rows = self._clicks = 0
        self._columns: dict[str, list[pa.Table]] = defaultdict(list)

    def add(self, rows: pa.Table, is_clicked: np.ndarray | None = None) -> None:
        """Counts rows.

        Args:
            rows: Columns of `binary` values, null allowed.
            is_clicked: Which of them have a click [rows] bool; None where they have no label.
        """
        clicked = rows.slice(0, 0) if is_clicked is None else rows.filter(pa.array(is_clicked))
        self._rows += len(rows)
        self._clicks += len(clicked)
        for name in rows.column_names:
            values, counts = pc.value_counts(rows[name].combine_chunks()).flatten()
            of_clicked, clicks = pc.value_counts(clicked[name].combine_chunks()).flatten()
            all_rows = _counts(values, counts, np.zeros_like(counts))
            clicks_alone = _counts(of_clicked, np.zeros_like(clicks), clicks)
            self._add(name, [all_rows, clicks_alone])

    def merge(self, other: ColumnCounter) -> None:
        """Adds what another has counted."""
        self._rows += other._rows
        self._clicks += other._clicks
        self._is_over |= other._is_over
        for name, tables in other._columns.items():
            self._add(name, tables)

    def counts(self) -> ColumnCounts | None:
        """Returns what was counted; None where a column has too many distinct values."""
        for name in list(self._columns):
            self._compact(name)
        if self._is_over:
            return None
        columns = {
            name: _whole(table, self._rows, self._clicks)
            for name, (table,) in self._columns.items()
        }
        return ColumnCounts(self._rows, self._clicks, columns)

    def _add(self, name: str, tables: Sequence[pa.Table]) -> None:
        self._columns[name] += tables
        if len(self._columns[name]) >= _COMPACT:
            self._compact(name)

    def _compact(self, name: str) -> None:
        table = _together(self._columns[name])
        self._is_over |= self._most is not None and len(table) > self._most
        self._columns[name] = [table.slice(0, 0) if self._is_over else table]


def put_together(several: Iterable[ColumnCounts]) -> ColumnCounts:
    """Returns the counts of all rows together, of counts of raw values."""
    tables: dict[str, list[pa.Table]] = defaultdict(list)
    rows = clicks = 0
    for counts in several:
        rows += counts.rows
        clicks += counts.clicks
        for name, table in counts.columns.items():
            tables[name].append(table)
    columns = {name: _whole(_together(some), rows, clicks) for name, some in tables.items()}
    return ColumnCounts(rows, clicks, columns)


def _counts(values: pa.Array, rows: Any, clicks: Any) -> pa.Table:
    types = {VALUE: values.type, ROWS: pa.int64(), CLICKS: pa.int64()}
    return pa.table({VALUE: values, ROWS: rows, CLICKS: clicks}, pa.schema(types.items()))


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """Returns tables of counts as one, each value once."""
    table = pa.concat_tables(tables)
    if table[VALUE].type == MISSING:
        return _counts(pa.nulls(1), [_sum(table[ROWS])], [_sum(table[CLICKS])])
    summed = table.group_by(VALUE).aggregate([(ROWS, "sum"), (CLICKS, "sum")])
    values = summed[VALUE].combine_chunks()
    return _counts(values, summed[f"{ROWS}_sum"], summed[f"{CLICKS}_sum"])


def _whole(table: pa.Table, rows: int, clicks: int) -> pa.Table:
    """Returns counts in order, a row that has no value counted as null."""
    absent, clicks = rows - _sum(table[ROWS]), clicks - _sum(table[CLICKS])
    if absent:
        nothing = pa.nulls(1, table[VALUE].type)
        table = pa.concat_tables([table, _counts(nothing, [absent], [clicks])])
    table = _together([table])
    return table if table[VALUE].type == MISSING else table.sort_by(VALUE)


def _sum(counts: pa.ChunkedArray) -> int:
    return pc.sum(counts).as_py() or 0


def _as_list(table: pa.Table) -> pa.Array:
    columns = [table[name].combine_chunks() for name in table.column_names]
    structs = pa.StructArray.from_arrays(columns, table.column_names)
    return pa.LargeListArray.from_arrays(pa.array([0, len(structs)], pa.int64()), structs)


def _as_table(lists: pa.Array) -> pa.Table:
    return _counts(*lists.flatten().flatten())
