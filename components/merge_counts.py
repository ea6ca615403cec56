"""Counts of values as Beam combines them."""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam
import pyarrow as pa

from components.value_counts import ValueCounts


class MergeCounts(beam.CombineFn):
    """Adds counts up, as a table.

    Args:
        kind: of the counts.
    """

    def __init__(self, kind: type[ValueCounts] = ValueCounts) -> None:
        self._kind = kind

    def create_accumulator(self) -> ValueCounts:
        return self._kind()

    def add_input(self, counts: ValueCounts, part: ValueCounts) -> ValueCounts:
        counts.merge(part)
        return counts

    def merge_accumulators(self, parts: Iterable[ValueCounts]) -> ValueCounts:
        merged = self._kind()
        for part in parts:
            merged.merge(part)
        return merged

    def extract_output(self, counts: ValueCounts) -> pa.Table:
        return counts.table()
