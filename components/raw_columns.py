"""Columns of raw values as a signature of an exported model takes them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf


def to_tensor(column: pa.ChunkedArray, dtype: tf.DType) -> tf.Tensor:
    """Returns a column as an input [N]: a missing string is "", a missing number NaN."""
    if dtype != tf.string:
        return tf.constant(pc.fill_null(column.cast(pa.float32()), np.nan).to_numpy(), dtype)
    # Each distinct string becomes a tensor's string once.
    encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    distinct = tf.constant(encoded.dictionary.to_pylist(), tf.string)
    return tf.gather(distinct, encoded.indices.to_numpy())
