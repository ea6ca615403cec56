"""Columns to one vector of ones and zeros.

A string has a position for each of its values, a multi-valued one as many ones as values, a number
a position for each bucket; `layout` says what else there is. Strings come first, then the
multi-valued ones, then numbers, each group by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import tensorflow as tf

from components.transform import buckets, categories
from components.transform.counted import Counted
from components.transform.layout import Part, join

Column: TypeAlias = tf.Tensor | tf.SparseTensor


def encode(
    columns: Mapping[str, Column],
    *,
    max_categories: int,
    most_buckets: int,
    separators: Mapping[str, str],
    notes_folder: str | None = None,
    counts: Counted | None = None,
) -> Part:
    """Returns where the ones of any columns are, within `preprocessing_fn`.

    Args:
        columns: [B, 1] each, string or numeric; "", NaN or no entry means missing.
        max_categories: most values of a string column that get a position.
        most_buckets: buckets of a numeric column, see `buckets`.
        separators: of the values of a row, by multi-valued column.
        notes_folder: gets what is worth knowing of the columns.
        counts: what is counted already; None to go over the rows.
    """
    strings = {name: dense(each, "") for name, each in columns.items() if each.dtype == tf.string}
    numbers = {
        name: dense(_floats(each), float("nan"))
        for name, each in columns.items()
        if each.dtype != tf.string
    }
    parts = []
    if strings:
        several = {name: between for name, between in separators.items() if name in strings}
        parts.append(categories.encode(strings, max_categories, several, notes_folder, counts))
    if numbers:
        parts.append(buckets.encode(numbers, most_buckets, notes_folder, counts))
    return join(parts)


def sparse(part: Part) -> tf.SparseTensor:
    """Returns one-hot vectors by slot, [B, S, width] int64."""
    where = tf.where(part.positions >= 0)
    indices = tf.concat([where, tf.gather_nd(part.positions, where)[:, None]], axis=1)
    shape = tf.concat([tf.shape(part.positions, tf.int64), part.width[None]], axis=0)
    return tf.SparseTensor(indices, tf.ones(tf.shape(indices)[:1], tf.int64), shape)


def dense(values: Column, default: str | float) -> tf.Tensor:
    """Returns a column [B, 1] as [B], `default` where there is no entry."""
    if isinstance(values, tf.Tensor):
        return values[:, 0]
    shape = tf.stack([values.dense_shape[0], 1])
    return tf.sparse.to_dense(
        tf.SparseTensor(values.indices, values.values, shape), default_value=default
    )[:, 0]


def _floats(values: Column) -> Column:
    return tf.cast(values, tf.float32)
