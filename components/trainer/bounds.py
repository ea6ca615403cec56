"""Upper bounds of the inner products of a user with very many ads, from a quarter of their numbers.

An ad v is kept as its outline: what it is along a few axes, and the length of the rest of it. By
Cauchy and Schwarz u.v is at most the product along the axes plus the product of the two lengths. An
ad whose bound is below what k other ads reach is none of the k best, so nothing else of it is read.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_AXES = 7
_BLOCK = 1 << 16  # Ads.
# Share of a vector's length that is added at a right angle, on both sides: their product, 9e-6 of
# the lengths', is more than what float32 rounds away in a hundred numbers.
_SLACK = 3e-3


def axes_of(users: np.ndarray) -> np.ndarray:
    """Returns orthogonal axes [D, r] float32 along which users [m, D] have most of their length.

    Bounds hold with any axes; they are close for users who have little length beside these.
    """
    # What is no number, after a training that went astray, is for the gate to refuse.
    products = np.nan_to_num((users.T @ users).astype(np.float64))
    _, axes = np.linalg.eigh(products)  # by ascending eigenvalue
    return np.ascontiguousarray(axes[:, ::-1][:, :_AXES], np.float32)


def outlines_of(ads: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Returns the outlines [r + 1, n] float32 of ads [n, D]."""
    outlines = np.empty((axes.shape[1] + 1, len(ads)), np.float32)
    for start in range(0, len(ads), _BLOCK):
        block = ads[start : start + _BLOCK]
        along = block @ axes
        rest = np.linalg.norm(block - along @ axes.T, axis=1)
        outlines[:-1, start : start + _BLOCK] = along.T
        outlines[-1, start : start + _BLOCK] = np.hypot(
            rest, _SLACK * np.linalg.norm(block, axis=1)
        )
    return outlines


def upper_bounds(users: tf.Tensor, axes: tf.Tensor, outlines: tf.Tensor) -> tf.Tensor:
    """Returns numbers [B, n] that the inner products of users [B, D] with the ads do not exceed."""
    along = tf.matmul(users, axes)
    rest = tf.norm(users - tf.matmul(along, axes, transpose_b=True), axis=1, keepdims=True)
    slack = _SLACK * tf.norm(users, axis=1, keepdims=True)
    return tf.matmul(tf.concat([along, tf.sqrt(rest**2 + slack**2)], axis=1), outlines)
