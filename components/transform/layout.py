"""How the one-hot vector of several columns is laid out.

Each column has a position for what training does not know of, one for missing values where training
has enough of them to learn from, then one per value or bucket. A column that is the same in every
row has none at all.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# Rows without a value from which on "missing" is learned as a value of its own.
_LEAST_MISSING = 20


class Part(NamedTuple):
    """Some columns of a one-hot vector.

    Attributes:
        positions: of the ones [B, S] int64, by slot: a column's value fills one, the values of a
            multi-valued column one each; -1 in a slot that stays empty.
        unknown: what takes the place of a slot [S] int64 where its column's value is not known: the
            position for that in the first slot of a column, -1 in its further ones.
        width: how many positions there are, [] int64.
    """

    positions: tf.Tensor
    unknown: tf.Tensor
    width: tf.Tensor


def join(parts: list[Part]) -> Part:
    """Returns several parts as one, side by side."""
    positions, unknown = [], []
    width = tf.constant(0, tf.int64)
    for part in parts:
        positions.append(_moved(part.positions, width))
        unknown.append(_moved(part.unknown, width))
        width += part.width
    return Part(tf.concat(positions, axis=1), tf.concat(unknown, axis=0), width)


def _moved(positions: tf.Tensor, by: tf.Tensor) -> tf.Tensor:
    return tf.where(positions < 0, positions, positions + by)


class Reserved(NamedTuple):
    """The positions of a column in the one-hot vector.

    Attributes:
        unknown: of a value that training has not seen.
        missing: of no value; the same as `unknown` where there were too few to learn from.
        first: of the first value or bucket; the others follow.
    """

    unknown: int
    missing: int
    first: int


def reserve(start: int, missing_rows: int) -> Reserved:
    """Returns the positions of a column from `start` on, by its rows without a value.

    Where these are too few to learn from, a missing value is an unknown one.
    """
    missing = start + (missing_rows >= _LEAST_MISSING)
    return Reserved(start, missing, missing + 1)
