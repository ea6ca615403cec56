"""Compact impressions on disk: a few bytes each, equal ones folded into one row where that pays.

A row is int32: the model's inputs, such as the positions of its user's ones, the number of its ad,
then what came of it: the label, or the weights of the clicks and of the rest as bits of float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import tensorflow as tf

from components.trainer.two_tower import AD_OF, USER_ID

_BLOCK = 4096  # Rows in a stored record.
_SHUFFLED_TOGETHER = 64  # Blocks whose rows are mixed with each other.
_FOLDED_TOGETHER = 1 << 20  # Rows, at most about.
TEACHER_USER_ID = "teacher_user_id"  # an input for a teacher alone, see distillation
_MOST_LEFT = 0.9  # Share of the rows that folding may leave; above, it would buy nothing.

# Lets a dataset trace a function as it is: AutoGraph would look for Python loops and conditions on
# tensors in all that it calls, a sixth of the time that Trainer takes on small data.
as_written = tf.autograph.experimental.do_not_convert


@dataclass(frozen=True)
class Impressions:
    """Compact impressions in a file.

    Attributes:
        file: blocks of rows.
        inputs: the model's inputs in a row, with how many numbers each has.
        is_counted: whether a row has the weights of its clicks and of the rest, or one label.
        rows: how many there are.
        weight: the sum of their weights; that of a row with a label is 1.
        kept_negatives: share of the impressions without a click that were kept; all with one were.
    """

    file: Path
    inputs: Mapping[str, int]
    is_counted: bool = False
    rows: int = 0
    weight: float = 0.0
    kept_negatives: float = 1.0

    @property
    def columns(self) -> int:
        """Numbers in a row."""
        return sum(self.inputs.values()) + (3 if self.is_counted else 2)

    @property
    def bytes_on_disk(self) -> int:
        """Size of the file."""
        return self.file.stat().st_size


class ImpressionsWriter:
    """Writes the file of `impressions`; also a context manager.

    Attributes:
        written: the impressions that were written so far.
    """

    def __init__(self, impressions: Impressions) -> None:
        self.written = replace(impressions, rows=0, weight=0.0)
        self._writer = tf.io.TFRecordWriter(str(impressions.file))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, keys: np.ndarray, clicks: np.ndarray, others: np.ndarray) -> None:
        """Adds rows.

        Args:
            keys: the inputs and the number of the ad [N, K] int32.
            clicks: weight of the clicks [N]; without counts 1 or 0.
            others: weight of the impressions without a click [N]; without counts 0 or 1.
        """
        outcome = [clicks, others] if self.written.is_counted else [clicks]
        kind = np.float32 if self.written.is_counted else np.int32
        bits = [np.asarray(values, kind).view(np.int32) for values in outcome]
        rows = np.column_stack([keys, *bits])
        for start in range(0, len(rows), _BLOCK):
            self._writer.write(rows[start : start + _BLOCK].tobytes())
        self.written = replace(
            self.written,
            rows=self.written.rows + len(rows),
            weight=self.written.weight + float(clicks.sum() + others.sum()),
        )


def fold(impressions: Impressions) -> Impressions:
    """Folds equal rows into one with counts, where that leaves fewer.

    The loss over all rows stays the same, but for rounding: it is linear in the weights. Memory
    does not grow with the impressions: a part of them at a time is sorted, equal rows in one part.
    """
    if not impressions.rows:
        return impressions
    parts = -(-impressions.rows // _FOLDED_TOGETHER)
    target = replace(
        impressions, file=impressions.file.with_suffix(".folded.tfrecord"), is_counted=True
    )
    with ImpressionsWriter(target) as writer:
        for part in range(parts):
            rows = np.concatenate(
                [
                    block[_hash(_keys(block, impressions)) % np.uint64(parts) == part]
                    for block in _blocks(impressions)
                ]
            )
            keys, clicks, others = _folded(_keys(rows, impressions), *_outcome(rows, impressions))
            if len(keys) > _MOST_LEFT * len(rows):
                break
            writer.write(keys, clicks, others)
        else:
            impressions.file.unlink()
            return writer.written
    target.file.unlink()
    return impressions


def relabel(
    impressions: Impressions, probabilities: np.ndarray | None, share: float
) -> Impressions:
    """Moves labels towards probabilities, and leaves TEACHER_USER_ID out; folds what is equal then.

    Args:
        impressions: the rows; their file is replaced.
        probabilities: of a click [N], in the order on disk; None to leave the labels as they are.
        share: how far labels are moved.
    """
    places = np.cumsum([0, *impressions.inputs.values()])
    left_out = [
        place
        for place, name in zip(places.tolist(), impressions.inputs, strict=False)
        if name == TEACHER_USER_ID
    ]
    target = replace(
        impressions,
        file=impressions.file.with_suffix(".relabelled.tfrecord"),
        inputs={name: n for name, n in impressions.inputs.items() if name != TEACHER_USER_ID},
        is_counted=impressions.is_counted or probabilities is not None,
    )
    done = 0
    with ImpressionsWriter(target) as writer:
        for block in _blocks(impressions):
            clicks, others = _outcome(block, impressions)
            if probabilities is not None:
                expected = (clicks + others) * probabilities[done : done + len(block)]
                moved = share * (expected - clicks)
                clicks, others = clicks + moved, others - moved
            done += len(block)
            writer.write(np.delete(_keys(block, impressions), left_out, axis=1), clicks, others)
    impressions.file.unlink()
    return fold(writer.written)


def batches(
    impressions: Impressions,
    ads: Mapping[str, np.ndarray],
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
) -> tf.data.Dataset:
    """Yields (inputs of TwoTower, labels [B] float32) without Python in the loop.

    Where rows are counted, labels are shares of clicks, and the weights [B] float32 of the rows
    come with them, as multiples of the mean weight.

    Memory does not grow with the impressions: blocks are drawn from a buffer, and the rows of
    several blocks are mixed. Each pass has an order of its own.

    Args:
        impressions: the rows.
        ads: the model's inputs for the ads, by their number.
        batch_size: B.
        shuffle_seed: of the order of the rows; as they are on disk where None.
    """
    blocks = tf.data.TFRecordDataset(str(impressions.file))
    if shuffle_seed is not None:
        blocks = blocks.shuffle(4 * _SHUFFLED_TOGETHER, seed=shuffle_seed)
    rows = blocks.batch(_SHUFFLED_TOGETHER).map(
        as_written(
            lambda some: tf.reshape(
                tf.io.decode_raw(tf.strings.reduce_join(some), tf.int32), [-1, impressions.columns]
            )
        )
    )
    if shuffle_seed is not None:
        seeds = tf.data.Dataset.random(shuffle_seed, rerandomize_each_iteration=True).batch(2)
        rows = tf.data.Dataset.zip(rows, seeds).map(
            as_written(lambda some, seed: tf.random.experimental.stateless_shuffle(some, seed))
        )
    tables = {name: tf.constant(values) for name, values in ads.items()}
    return (
        rows.rebatch(batch_size)
        .map(as_written(lambda some: _batch(some, tables, impressions)), tf.data.AUTOTUNE)
        .apply(tf.data.experimental.assert_cardinality(-(-impressions.rows // batch_size)))
        .prefetch(tf.data.AUTOTUNE)
    )


def outcomes(impressions: Impressions) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of the clicks and of the rest of each row [N], in the order on disk."""
    found = [np.stack(_outcome(block, impressions)) for block in _blocks(impressions)]
    clicks, others = np.concatenate(found or [np.zeros([2, 0])], axis=1)
    return clicks, others


def values_of(impressions: Impressions, name: str) -> np.ndarray:
    """Returns an input of each row [N, M] int32, in the order on disk."""
    names = list(impressions.inputs)
    start = sum(impressions.inputs[each] for each in names[: names.index(name)])
    stop = start + impressions.inputs[name]
    parts = [block[:, start:stop] for block in _blocks(impressions)]
    return np.concatenate([np.zeros([0, stop - start], np.int32), *parts])


def _batch(
    rows: tf.Tensor, ads: Mapping[str, tf.Tensor], impressions: Impressions
) -> tuple[tf.Tensor | dict[str, tf.Tensor], ...]:
    widths = [*impressions.inputs.values(), 1, impressions.columns]
    *parts, ad, outcome = tf.split(rows, [*widths[:-1], -1], axis=1)
    inputs = dict(zip(impressions.inputs, parts, strict=True))
    if USER_ID in inputs:
        inputs[USER_ID] = inputs[USER_ID][:, 0]
    shown, which = tf.unique(ad[:, 0])
    inputs |= {name: tf.gather(values, shown) for name, values in ads.items()}
    inputs[AD_OF] = which
    if not impressions.is_counted:
        return inputs, tf.cast(outcome[:, 0], tf.float32)
    clicks, others = tf.unstack(tf.bitcast(outcome, tf.float32), 2, axis=1)
    weights = clicks + others
    return inputs, clicks / weights, weights * (impressions.rows / impressions.weight)


def _blocks(impressions: Impressions) -> Iterator[np.ndarray]:
    for block in tf.data.TFRecordDataset(str(impressions.file)).as_numpy_iterator():
        yield np.frombuffer(block, np.int32).reshape(-1, impressions.columns)


def _keys(rows: np.ndarray, impressions: Impressions) -> np.ndarray:
    return rows[:, : sum(impressions.inputs.values()) + 1]


def _outcome(rows: np.ndarray, impressions: Impressions) -> tuple[np.ndarray, np.ndarray]:
    if not impressions.is_counted:
        return rows[:, -1].astype(np.float32), 1 - rows[:, -1].astype(np.float32)
    clicks, others = np.ascontiguousarray(rows[:, -2:]).view(np.float32).T
    return clicks, others


def _folded(
    keys: np.ndarray, clicks: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns distinct keys, in an order as good as random, and the sums of what they came to."""
    order = np.argsort(_hash(keys), kind="stable")
    keys = keys[order]
    # Keys that share a hash by chance may stay apart: nothing is lost but a little time.
    starts = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]).any(axis=1)))
    clicks, others = (
        np.add.reduceat(part[order].astype(np.float64), starts) for part in (clicks, others)
    )
    return keys[starts], clicks, others


def _hash(keys: np.ndarray) -> np.ndarray:
    """Returns a number for each row of keys [N, K]: uint64 [N]."""
    hashed = np.full(len(keys), 0x9E3779B97F4A7C15, np.uint64)
    for column in keys.T:
        hashed = (hashed ^ column.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        hashed ^= hashed >> np.uint64(31)
    return hashed
