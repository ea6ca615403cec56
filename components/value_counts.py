"""How often each value of a column occurs, counted in parts that merge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.metrics import Floats, Integers, Weights, quantiles

_MOST_NUMBERS = 1 << 17
VALUE, COUNT = "values", "counts"
LABEL, SUM, SQUARES = "label", "sum", "squares"


class ValueCounts:
    """Counts of the values of a column, of text or of numbers, that may come in any order.

    Of more than 131,072 distinct numbers, close ones count as one, so that memory stays bounded.
    """

    _TYPES: ClassVar = {VALUE: pa.null(), COUNT: pa.int64()}
    _KEYS: ClassVar = [VALUE]

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._rounded = 0  # last bits of a number

    def add(self, column: pa.Array | pa.ChunkedArray) -> None:
        """Counts the values of a column [N]; null is a value."""
        counted = pc.value_counts(column)
        self.add_counted(counted.field(VALUE), counted.field(COUNT))

    def add_counted(self, values: pa.Array, counts: pa.Array) -> None:
        """Adds the counts of values [N]."""
        self._append([pa.table({VALUE: _comparable(values), COUNT: counts.cast(pa.int64())})])

    def merge(self, other: ValueCounts) -> None:
        """Adds the counts of another."""
        self._rounded = max(self._rounded, other._rounded)
        self._append(other._tables)

    def is_text(self) -> bool:
        """Whether the values are text; false where there are none."""
        return pa.types.is_string(self.table()[VALUE].type)

    def values(self) -> pa.Array:
        """Returns the distinct values, those with most rows first."""
        order = [(COUNT, "descending"), (VALUE, "ascending")]
        return self.table().sort_by(order)[VALUE].combine_chunks()

    def quantiles(self, shares: Sequence[float]) -> Floats:
        """Returns the numbers below which are `shares` of the rows that have one."""
        return quantiles_of(self.table(), shares)

    def table(self) -> pa.Table:
        """Returns the distinct values and how many rows have each."""
        if not self._tables:
            return pa.schema(self._TYPES.items()).empty_table()
        table = self._summed(pa.concat_tables(self._tables, promote_options="permissive"))
        while pa.types.is_floating(table[VALUE].type) and len(table) > _MOST_NUMBERS:
            self._rounded += 1
            bits = table[VALUE].to_numpy().view(np.int64) & ~np.int64((1 << self._rounded) - 1)
            mask = pc.is_null(table[VALUE]).to_numpy()
            rounded = pa.array(bits.view(np.float64), mask=mask)
            place = table.column_names.index(VALUE)
            table = self._summed(table.set_column(place, VALUE, rounded))
        self._tables = [table]
        return table

    def _append(self, tables: Sequence[pa.Table]) -> None:
        self._tables = [*self._tables, *tables]
        pending = sum(len(table) for table in self._tables[1:])
        if pending > max(len(self._tables[0]), _MOST_NUMBERS):
            self.table()

    def _summed(self, table: pa.Table) -> pa.Table:
        sums = [name for name in self._TYPES if name not in self._KEYS]
        summed = table.group_by(self._KEYS).aggregate([(name, "sum") for name in sums])
        return summed.rename_columns([*self._KEYS, *sums])


class OutcomeCounts(ValueCounts):
    """Counts by value and label, with what the rows stand for: their SUM and SQUARES of weights."""

    _TYPES: ClassVar = {
        VALUE: pa.null(),
        LABEL: pa.int64(),
        COUNT: pa.int64(),
        SUM: pa.float64(),
        SQUARES: pa.float64(),
    }
    _KEYS: ClassVar = [VALUE, LABEL]

    def add_outcomes(
        self, column: pa.Array | pa.ChunkedArray, labels: Integers, weights: Weights
    ) -> None:
        """Counts the values of a column [N] whose rows have labels [N] and weights."""
        rows = {
            VALUE: _comparable(column),
            LABEL: pa.array(labels, pa.int64()),
            COUNT: np.ones(len(labels), np.int64),
            SUM: weights.sums,
            SQUARES: weights.squares,
        }
        self._append([self._summed(pa.table(rows))])


def quantiles_of(table: pa.Table, shares: Sequence[float]) -> Floats:
    """Returns the numbers of a table of counts below which are `shares` of the rows with one."""
    present = table.filter(pc.is_valid(pc.field(VALUE)))
    counts = present[COUNT].to_numpy().astype(np.float64)
    return quantiles(present[VALUE].to_numpy(), np.asarray(shares), Weights(counts, counts))


def _comparable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns numbers as doubles, so that those of several parts are the same."""
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return column.cast(pa.float64()) if is_number else column
