"""Buckets of numeric columns: a value that is frequent enough has one to itself.

A compressed histogram, as in Poosala, Ioannidis, Haas and Shekita, "Improved Histograms for
Selectivity Estimation of Range Predicates", SIGMOD 1996: values with more rows than a bucket's
share have a bucket each, the others share buckets of like numbers of rows. Few distinct values thus
have a bucket each, and a column of mostly zeros one for zero and the others for what is beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.transform import notes
from components.transform.counted import Counted, analyze
from components.transform.layout import Part, Reserved, reserve

# Distinct values of a column that are counted exactly; of more, neighbors are counted together.
_MOST_COUNTED = 10_000

_LARGEST = float(np.finfo(np.float32).max)


def encode(
    numbers: dict[str, tf.Tensor],
    buckets: int,
    notes_folder: str | None,
    counts: Counted | None = None,
) -> Part:
    """Returns where the ones of numeric columns are, within `preprocessing_fn`.

    Args:
        numbers: [B] float32 per column; NaN is missing.
        buckets: how many buckets the values that have none of their own share.
        notes_folder: gets what is worth knowing of the columns.
        counts: what is counted already; None to go over the rows.
    """
    values = tf.stack(list(numbers.values()), axis=1)
    values = tf.where(tf.math.is_inf(values), tf.sign(values) * _LARGEST, values)
    bounds, layout, width = analyze(
        counts,
        inputs=[values],
        analyzer=FindBuckets(tuple(numbers), buckets, notes_folder),
        output_dtypes=[tf.float64, tf.int64, tf.int64],
        output_shapes=[[len(numbers), None], [len(numbers), 3], [1]],
        name="buckets",
    )
    unknown, missing, first = tf.unstack(layout, axis=1)
    bucket = tf.searchsorted(bounds, tf.cast(tf.transpose(values), tf.float64), out_type=tf.int64)
    positions = tf.where(tf.math.is_nan(values), missing, first + tf.transpose(bucket))
    kept = tf.where(unknown >= 0)[:, 0]
    positions, unknown = tf.gather(positions, kept, axis=1), tf.gather(unknown, kept)
    return Part(positions, unknown, width[0])


def group(counts: np.ndarray, most: int) -> np.ndarray:
    """Returns the group of each of n values in order, from 0 [n], by their rows `counts` [n].

    A value with more than 1/most of the rows is alone; of the rest each group has a like number.
    """
    alone = np.zeros(len(counts), bool)
    while True:
        rest, left = counts[~alone].sum(), most - np.count_nonzero(alone)
        frequent = ~alone & (counts * left > rest)
        if not frequent.any():
            break
        alone |= frequent
    light = np.where(alone, 0, counts)
    middle = np.cumsum(light) - light / 2
    share = np.floor(middle * left / max(rest, 1))
    starts = alone[1:] | alone[:-1] | (share[1:] != share[:-1])
    return np.concatenate([[0], np.cumsum(starts)]) if len(counts) else np.zeros(0, np.int64)


def bounds_of(values: np.ndarray, counts: np.ndarray, most: int) -> np.ndarray:
    """Returns the upper bounds of all buckets but the last, included in them, ascending.

    Args:
        values: [n] float64, distinct and ascending.
        counts: their rows [n].
        most: see `group`.
    """
    groups = group(counts, most)
    ends = np.flatnonzero(np.diff(groups, append=-1))
    alone = np.bincount(groups)[groups[ends]] == 1 if len(ends) else np.zeros(0, bool)
    last, following = values[ends[:-1]], values[ends[:-1] + 1]
    # A number between two values that are alone is the nearer one's; else a value stays alone.
    middle = np.where(alone[:-1], last / 2 + following / 2, np.nextafter(following, -np.inf))
    return np.where(alone[1:], middle, last)


class Counts:
    """How often each number of a column occurs.

    Of very many distinct numbers, close ones count as one, so that memory stays bounded.

    Attributes:
        missing: values that are NaN.
        values: [n] distinct numbers, ascending.
        counts: [n] int64, how often each occurs.
    """

    def __init__(self) -> None:
        self.missing = 0
        self.values = np.zeros(0)
        self.counts = np.zeros(0, np.int64)

    def add(self, values: np.ndarray, counts: np.ndarray | None = None) -> None:
        """Adds values [n], each as often as `counts` [n] says, or once."""
        counts = np.ones(len(values), np.int64) if counts is None else counts
        there = ~np.isnan(values)
        self.missing += int(counts[~there].sum())
        together = np.concatenate([self.values, values[there]])
        self.values, which = np.unique(together, return_inverse=True)
        both = np.concatenate([self.counts, counts[there]])
        self.counts = np.bincount(which, both, len(self.values)).astype(np.int64)
        if len(self.values) > 2 * _MOST_COUNTED:
            groups = group(self.counts, _MOST_COUNTED)
            self.values = self.values[np.flatnonzero(np.diff(groups, append=-1))]
            self.counts = np.bincount(groups, self.counts).astype(np.int64)

    def merge(self, other: Counts) -> None:
        """Adds what another one has counted."""
        self.missing += other.missing
        self.add(other.values, other.counts)


class CountNumbers(beam.CombineFn):
    """The `Counts` of each of A columns, over batches of (values [B, A],).

    Args:
        columns: A.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns

    def create_accumulator(self) -> list[Counts]:
        return [Counts() for _ in range(self._columns)]

    def add_input(self, counts: list[Counts], batch: tuple[np.ndarray]) -> list[Counts]:
        for each, values in zip(counts, batch[0].T.astype(np.float64), strict=True):
            each.add(values)
        return counts

    def merge_accumulators(self, several: Iterable[list[Counts]]) -> list[Counts]:
        total = self.create_accumulator()
        for counts in several:
            for each, other in zip(total, counts, strict=True):
                each.merge(other)
        return total

    def extract_output(self, counts: list[Counts]) -> list[Counts]:
        return counts


class _Tables(NamedTuple):
    """What the graph needs of A columns.

    Attributes:
        bounds: of their buckets [A, M], the shorter ones filled up with infinity.
        layout: their `Reserved` positions [A, 3], -1 where a column is left out.
        width: how many positions there are [1].
    """

    bounds: np.ndarray
    layout: np.ndarray
    width: np.ndarray


class FindBuckets(beam.PTransform):
    """Finds the buckets of numeric columns from batches of (values [B, A],): see `_Tables`.

    Args:
        columns: their names.
        buckets: see `group`.
        notes_folder: gets which columns are constant.
    """

    def __init__(self, columns: tuple[str, ...], buckets: int, notes_folder: str | None) -> None:
        super().__init__()
        self.columns = columns
        self._buckets = buckets
        self._notes_folder = notes_folder

    def expand(self, values: beam.PCollection) -> list[beam.PCollection]:
        tables = (
            values | beam.CombineGlobally(CountNumbers(len(self.columns))) | beam.Map(self._tables)
        )
        return [tables | f"Output{i}" >> beam.Map(lambda table, i=i: table[i]) for i in range(3)]

    def tables_of(self, counts: Counted) -> _Tables:
        """Returns the tables of what is counted already."""
        found = [Counts() for _ in self.columns]
        for each, name in zip(found, self.columns, strict=True):
            each.add(*counts.numbers(name))
        return self._tables(found)

    def _tables(self, counts: list[Counts]) -> _Tables:
        bounds = [bounds_of(each.values, each.counts, self._buckets) for each in counts]
        layout = np.full((len(counts), len(Reserved._fields)), -1)
        width = 0
        constants = []
        for number, (name, each) in enumerate(zip(self.columns, counts, strict=True)):
            if len(each.values) + bool(each.missing) == 1:
                value = f"{each.values[0]:g}" if len(each.values) else ""
                constants.append(notes.constant(name, value))
                continue
            layout[number] = place = reserve(width, each.missing)
            width = place.first + len(bounds[number]) + 1
        notes.write(self._notes_folder, constants)
        padded = np.full((len(counts), max(1, *map(len, bounds))), np.inf)
        for row, some in zip(padded, bounds, strict=True):
            row[: len(some)] = some
        return _Tables(padded, layout, np.array([width]))
