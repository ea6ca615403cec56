"""Transform's analysis without a pass over the rows: what it asks of them is counted already.

example_gen has counted how often each value of each column occurs; in a window, from the counts of
its spans, so that one of which one day is new costs no more than the day's own values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.example_gen.column_counts import ColumnCounts, put_together
from components.example_gen.counts_file import read_counts


class Counted:
    """How often each value of the columns occurs, and what was found of it so far.

    Args:
        counts: Of the rows to analyze.
    """

    def __init__(self, counts: ColumnCounts) -> None:
        self._counts = counts
        self._found: dict[Any, Any] = {}

    def strings(self, column: str) -> Counter[bytes]:
        """Returns how many rows have each value of a string column; "" is missing."""
        values, rows = self._column(column)
        return Counter({value or b"": each for value, each in zip(values, rows, strict=True)})

    def numbers(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the distinct values of a numeric column, NaN where missing, and their rows."""
        values, rows = self._column(column)
        return np.array(values, np.float32).astype(np.float64), np.array(rows, np.int64)

    def find(self, key: Any, find: Callable[[], Any]) -> Any:
        """Returns what `find` finds, which is asked once for each key."""
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]

    def _column(self, name: str) -> tuple[list[Any], list[int]]:
        table = self._counts.columns.get(name)
        if table is None:  # a column of the schema that the data lacks
            return [None], [self._counts.rows]
        return table["value"].to_pylist(), table["rows"].to_pylist()


@lru_cache(maxsize=1)
def counted(examples: str, splits: tuple[str, ...], key: str) -> Counted | None:
    """Returns what is counted of splits of Examples; None where nothing is.

    Transform traces `preprocessing_fn` several times over; within a run the answer is one object.

    Args:
        examples: Folder of the Examples artifact.
        splits: Names of those that are analyzed.
        key: Another one for each run.
    """
    counts = [read_counts(examples, split) for split in splits]
    there = [each for each in counts if each is not None]
    return Counted(put_together(there)) if len(there) == len(counts) else None


def analyze(
    counts: Counted | None,
    inputs: Sequence[tf.Tensor],
    analyzer: Any,
    output_dtypes: Sequence[tf.DType],
    output_shapes: Sequence[Sequence[int | None]],
    name: str,
) -> Sequence[tf.Tensor]:
    """Returns what an analyzer finds in the whole data, within `preprocessing_fn`.

    Args:
        counts: What is counted already; None to go over the rows.
        inputs: Of the analyzer, a row each.
        analyzer: A PTransform for `tft.experimental.ptransform_analyzer`, which finds the same in
            what is counted by `tables_of`.
        output_dtypes: Of what it finds.
        output_shapes: Of that.
        name: Of the analyzer.
    """
    if counts is None:
        found = tft.experimental.ptransform_analyzer(
            inputs=inputs,
            ptransform=analyzer,
            output_dtypes=output_dtypes,
            output_shapes=output_shapes,
            name=name,
        )
        return list(found)
    with tf.init_scope():  # eagerly, not in the graph that is being traced
        tables = counts.find((name, analyzer.columns), lambda: analyzer.tables_of(counts))
    return [tf.constant(table, dtype) for table, dtype in zip(tables, output_dtypes, strict=True)]


def in_rows(values: Mapping[bytes, int]) -> tuple[list[bytes], np.ndarray]:
    """Returns distinct strings and their rows [n] int64."""
    return list(values), np.array(list(values.values()), np.int64)
