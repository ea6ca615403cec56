"""User attributes to one one-hot vector.

The vector has a block of columns per attribute, string attributes first, each group by name:

- a string attribute: one column for values not seen in training, one for missing, then one per
  value, most frequent first, up to a cap;
- a numeric attribute: one column for missing, then one per quantile bucket.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.transform.counting import CountDistinct, most_frequent
from components.transform.lookup import lookup_rows, sort_by_fingerprint

Column: TypeAlias = tf.Tensor | tf.SparseTensor

# Kept apart from any value of an attribute by the first byte: no UTF-8 text starts with it.
_UNSEEN = b"\xff"


def one_hot(attributes: dict[str, Column], *, max_categories: int, buckets: int) -> tf.SparseTensor:
    """Returns the one-hot vectors [B, width] int64 of B users, exactly one 1 an attribute.

    Args:
        attributes: [B, 1] per attribute, string or numeric; "" or no entry means missing.
        max_categories: most values of a string attribute that get a column.
        buckets: quantile buckets of a numeric attribute.
    """
    names = sorted(attributes)
    strings = {name: attributes[name] for name in names if attributes[name].dtype == tf.string}
    numbers = {name: attributes[name] for name in names if attributes[name].dtype != tf.string}
    width: tf.Tensor = tf.constant(0, tf.int64)
    positions = []
    if strings:
        string_positions, width = _string_positions(strings, max_categories)
        positions.append(string_positions)
    for name, values in numbers.items():
        positions.append(width + _bucket(values, name, buckets))
        width += buckets + 1
    return _sparse_ones(tf.concat(positions, axis=1), width)


def missing_as_unseen(values: Column) -> tf.Tensor:
    """Returns a string column [B, 1] in which a missing value is one not seen in training.

    For ids: training has learned what an unseen one is like, and may never have met a missing one.
    """
    dense = _dense(values, "")
    return tf.where(dense == "", _UNSEEN, dense)[:, None]


def _sparse_ones(positions: tf.Tensor, width: tf.Tensor) -> tf.SparseTensor:
    rows = tf.shape(positions, tf.int64)[0]
    row = tf.broadcast_to(tf.range(rows)[:, None], tf.shape(positions))
    indices = tf.reshape(tf.stack([row, positions], axis=-1), [-1, 2])
    return tf.SparseTensor(
        indices, tf.ones(tf.shape(indices)[:1], tf.int64), tf.stack([rows, width])
    )


def _string_positions(
    attributes: dict[str, Column], max_categories: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (positions [B, A] int64, number of columns of all string attributes)."""
    keys = tf.stack(
        [tf.strings.join([name, "=", _dense(values, "")]) for name, values in attributes.items()],
        axis=1,
    )
    categories, fingerprints, columns, unseen = tft.experimental.ptransform_analyzer(
        inputs=[keys],
        ptransform=FindCategories(tuple(attributes), max_categories),
        output_dtypes=[tf.string, tf.int64, tf.int64, tf.int64],
        output_shapes=[[None], [None], [None], [len(attributes)]],
        name="categories",
    )
    row = tf.reshape(lookup_rows(tf.reshape(keys, [-1]), categories, fingerprints), tf.shape(keys))
    positions = tf.where(row >= 0, tf.gather(columns, tf.maximum(row, 0)), unseen)
    return positions, tf.size(columns, tf.int64)


def _bucket(values: tf.SparseTensor, name: str, buckets: int) -> tf.Tensor:
    """Returns 0 for missing, else 1 + the quantile bucket: [B, 1] int64."""
    numbers = tf.cast(values.values, tf.float32)
    boundaries = tft.quantiles(numbers, buckets, epsilon=0.001, name=f"quantiles_{name}")
    bucket = 1 + tft.apply_buckets(numbers, boundaries)
    return _dense(tf.SparseTensor(values.indices, bucket, values.dense_shape), 0)[:, None]


def _dense(values: Column, default: str | int) -> tf.Tensor:
    """Returns [B], `default` where there is no entry."""
    if isinstance(values, tf.Tensor):
        return values[:, 0]
    shape = tf.stack([values.dense_shape[0], 1])
    return tf.sparse.to_dense(
        tf.SparseTensor(values.indices, values.values, shape), default_value=default
    )[:, 0]


class FindCategories(beam.PTransform):
    """Finds the columns of the string attributes from batches of (keys [B, A],).

    A key is `name=value`; `name=` is the missing value. Returns one element in each of four
    collections: the categories in the order of their fingerprints, those fingerprints, the column
    of each category, and each attribute's column for unseen values.
    """

    def __init__(self, attributes: tuple[str, ...], max_categories: int) -> None:
        super().__init__()
        self._attributes = attributes
        self._max_categories = max_categories

    def expand(self, keys: beam.PCollection) -> list[beam.PCollection]:
        tables = keys | beam.CombineGlobally(CountDistinct()) | beam.Map(self._table)
        return [tables | f"Output{i}" >> beam.Map(lambda table, i=i: table[i]) for i in range(4)]

    def _table(self, counts: Counter[bytes]) -> tuple[np.ndarray, ...]:
        columns: list[bytes] = []
        unseen = []
        for name in self._attributes:
            missing = f"{name}=".encode()
            values = Counter(
                {key: n for key, n in counts.items() if key.startswith(missing) and key != missing}
            )
            unseen.append(len(columns))
            columns += [missing + _UNSEEN, missing, *most_frequent(values, self._max_categories)]
        fingerprints, order = sort_by_fingerprint(columns)
        return (
            np.array(columns, dtype=object)[order],
            fingerprints,
            order,
            np.array(unseen, dtype=np.int64),
        )
