"""Raw tf.Examples to what the towers train on: a few bytes an impression, an embedding an ad.

An impression becomes one row of int32: the positions of its user's ones, the user's id where the
model uses it, the number of its ad, its label. The ads themselves are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.features import Columns
from components.trainer.transform_graph import TransformGraph, flat
from components.trainer.two_tower import AD_OF, USER, USER_ID
from components.transform.lookup import distinct

_BLOCK = 4096  # Impressions in a stored record.
_SHUFFLED_TOGETHER = 64  # Blocks whose impressions are mixed with each other.
_EMBEDDED_TOGETHER = 1024  # Ads.


class Ads:
    """The distinct (id, text) pairs of the impressions, numbered as they come."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._numbers: dict[tuple[bytes, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, ad_ids: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Returns the numbers [n] int32 of n ads; those not seen before get one."""
        known = self._numbers
        pairs = zip(ad_ids.tolist(), texts.tolist(), strict=True)
        return np.array([known.setdefault(pair, len(known)) for pair in pairs], np.int32)

    def catalogue(self) -> dict[bytes, bytes]:
        """Returns the text of each id, the latest where an id has had several."""
        return dict(iter(self._numbers))

    def inputs(self, transform: TransformGraph) -> dict[str, np.ndarray]:
        """Returns the model's inputs for the ads, by their number; see TransformGraph.ads."""
        ads = list(self._numbers)
        # Like lengths together, should BERT have to run.
        by_length = sorted(range(len(ads)), key=lambda number: len(ads[number][1]))
        parts = []
        for start in range(0, len(ads), _EMBEDDED_TOGETHER):
            some = [ads[number] for number in by_length[start : start + _EMBEDDED_TOGETHER]]
            ad_ids, texts = (tf.constant(values) for values in zip(*some, strict=True))
            raw = {self._columns.ad_id: ad_ids, self._columns.text: texts}
            parts.append(transform.ads(transform.from_request(raw)))
        back = np.argsort(by_length)
        return {name: tf.concat([p[name] for p in parts], 0).numpy()[back] for name in parts[0]}


@dataclass(frozen=True)
class Impressions:
    """Compact impressions in a file of blocks, each some rows of `columns` int32."""

    file: Path
    rows: int
    columns: int
    has_user_id: bool

    @property
    def bytes_on_disk(self) -> int:
        """Size of the file."""
        return self.file.stat().st_size


def write_compact(
    examples: Sequence[str],
    folder: Path,
    transform: TransformGraph,
    columns: Columns,
    *,
    validation_share: float,
    seed: int,
) -> tuple[Impressions, Impressions, Ads]:
    """Derives compact impressions from raw examples through the transform graph.

    Args:
        examples: gzipped TFRecord files of raw tf.Examples.
        folder: where the two files go.
        transform: the transform graph.
        columns: what the columns are for.
        validation_share: share of the impressions that are drawn for validation.
        seed: of that draw.

    Returns:
        Impressions to train on, impressions for validation, and the ads of both.
    """
    raw = (
        tf.data.TFRecordDataset(examples, "GZIP")
        .batch(_BLOCK)
        .map(lambda batch: _compact(batch, transform, columns), tf.data.AUTOTUNE)
        .prefetch(4)
    )
    draw = np.random.default_rng(seed)
    ads = Ads(columns)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "train.tfrecord", folder / "validation.tfrecord"]
    counts = [0, 0]
    width = 0
    with tf.io.TFRecordWriter(str(files[0])) as train, tf.io.TFRecordWriter(str(files[1])) as val:
        for user, ad_ids, texts, which, labels in raw.as_numpy_iterator():
            ad = ads.numbers(ad_ids, texts)[which]
            rows = np.column_stack([user, ad, labels]).astype(np.int32)
            width = rows.shape[1]
            validation = draw.random(len(rows)) < validation_share
            for number, (writer, part) in enumerate(
                [(train, rows[~validation]), (val, rows[validation])]
            ):
                writer.write(part.tobytes())
                counts[number] += len(part)
    first, second = (
        Impressions(file, count, width, has_user_id=transform.user_ids > 0)
        for file, count in zip(files, counts, strict=True)
    )
    return first, second, ads


def _compact(
    examples: tf.Tensor, transform: TransformGraph, columns: Columns
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns user [B, A or A + 1], ids and texts of n distinct ads, which [B], label [B]."""
    raw = transform.from_examples(
        examples, [*transform.user_inputs, columns.ad_id, columns.text, columns.label]
    )
    users = transform.users(raw)
    user = [users[USER], users[USER_ID][:, None]] if USER_ID in users else [users[USER]]
    ad_id, text = flat(raw[columns.ad_id]), flat(raw[columns.text])
    first, which = distinct([ad_id, text])
    return (
        tf.concat(user, axis=1),
        tf.gather(ad_id, first),
        tf.gather(text, first),
        which,
        flat(raw[columns.label]),
    )


def batches(
    impressions: Impressions,
    ads: Mapping[str, np.ndarray],
    batch_size: int,
    *,
    shuffle_seed: int | None = None,
) -> tf.data.Dataset:
    """Yields (inputs of TwoTower, labels [B] float32) without Python in the loop.

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
        lambda some: tf.reshape(
            tf.io.decode_raw(tf.strings.reduce_join(some), tf.int32), [-1, impressions.columns]
        )
    )
    if shuffle_seed is not None:
        seeds = tf.data.Dataset.random(shuffle_seed, rerandomize_each_iteration=True).batch(2)
        rows = tf.data.Dataset.zip(rows, seeds).map(
            lambda some, seed: tf.random.experimental.stateless_shuffle(some, seed)
        )
    tables = {name: tf.constant(values) for name, values in ads.items()}
    return (
        rows.rebatch(batch_size)
        .map(lambda some: _inputs(some, tables, impressions.has_user_id), tf.data.AUTOTUNE)
        .apply(tf.data.experimental.assert_cardinality(-(-impressions.rows // batch_size)))
        .prefetch(tf.data.AUTOTUNE)
    )


def _inputs(
    rows: tf.Tensor, ads: Mapping[str, tf.Tensor], has_user_id: bool
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    user, ad, label = rows[:, :-2], rows[:, -2], rows[:, -1]
    inputs = {USER: user[:, :-1], USER_ID: user[:, -1]} if has_user_id else {USER: user}
    shown, which = tf.unique(ad)
    inputs |= {name: tf.gather(values, shown) for name, values in ads.items()}
    return inputs | {AD_OF: which}, tf.cast(label, tf.float32)
