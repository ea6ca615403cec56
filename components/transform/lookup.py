"""Exact lookup of strings in a table that lives in a graph as plain tensors.

A hash table cannot be initialised from what an analysis finds, so the table is sorted by a 64-bit
fingerprint: a query is one binary search, then one comparison of the strings themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_BUCKETS = 2**63 - 1


def fingerprint(strings: tf.Tensor) -> tf.Tensor:
    """Returns a fingerprint [...] int64 of `strings` [...], the same on every machine."""
    return tf.strings.to_hash_bucket_fast(strings, _BUCKETS)


def sort_by_fingerprint(keys: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns (fingerprints [n] int64 ascending, order [n] int64: keys[order] fit them)."""
    fingerprints = fingerprint(tf.constant(keys, tf.string, shape=[len(keys)])).numpy()
    order = np.argsort(fingerprints, kind="stable")
    return fingerprints[order], order.astype(np.int64)


def unique_rows(columns: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the rows that differ from each other, as np.unique does with return_inverse.

    Args:
        columns: [B] string or float32 each; a row is one value of each, and NaN equals NaN.

    Returns:
        first: [n] int32, the row in which each of the n different ones first occurs.
        which: [B] int32, which of the n each row is.
    """
    strings = [each if each.dtype == tf.string else _bits(each) for each in columns]
    # No UTF-8 text holds the byte that joins them.
    keys = tf.strings.join(strings, separator="\xff") if len(strings) > 1 else strings[0]
    found, which = tf.unique(keys)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(keys)), which, tf.size(found))
    return first, which


def _bits(numbers: tf.Tensor) -> tf.Tensor:
    return tf.strings.as_string(tf.bitcast(numbers, tf.int32))


def lookup_rows(queries: tf.Tensor, keys: tf.Tensor, fingerprints: tf.Tensor) -> tf.Tensor:
    """Returns the row [n] int32 of each query in `keys`, or -1 where it is not there.

    Two keys with one fingerprint cannot be confused: the second one is merely never found.

    Args:
        queries: [n] string.
        keys: [m] string, m > 0, in the order of their fingerprints.
        fingerprints: [m] int64, ascending.
    """
    row = tf.searchsorted(fingerprints, fingerprint(queries))
    # Of as many fingerprints: to ask a variable of strings for its size would copy them.
    row = tf.minimum(row, tf.size(fingerprints) - 1)
    return tf.where(tf.gather(keys, row) == queries, row, -1)
