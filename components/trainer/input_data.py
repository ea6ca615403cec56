"""Raw tf.Examples to what the towers train on: a few bytes an impression, an embedding an ad.

An impression becomes one row of `impressions`; the ads themselves are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.features import Columns
from components.trainer.impressions import (
    TEACHER_USER_ID,
    Impressions,
    ImpressionsWriter,
    as_written,
    fold,
)
from components.trainer.training_data import TrainingData
from components.trainer.transform_graph import Column, TransformGraph, flat
from components.transform.lookup import unique_rows

_BLOCK = 4096  # Examples that are parsed together.
_EMBEDDED_TOGETHER = 1024  # Ads.


class Ads:
    """The distinct ads of the impressions, numbered from 0 as they come.

    Impressions hold an ad's number; what the model takes of an ad is computed once.

    An ad is its id, its text and its attributes, as `columns` of a request.

    Args:
        columns: their names, the id's first and the text's second.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._numbers: dict[tuple[Any, ...], int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def numbers(self, ads: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the numbers [n] int32 of n ads; those not seen before get one."""
        known = self._numbers
        columns = [_hashable(ads[name]) for name in self._columns]
        return np.array(
            [known.setdefault(ad, len(known)) for ad in zip(*columns, strict=True)], np.int32
        )

    def catalogue(self) -> dict[str, np.ndarray]:
        """Returns the columns of the ads, the latest of each id where it has had several."""
        return self._table(list({ad[0]: ad for ad in self._numbers}.values()))

    def inputs(self, transform: TransformGraph) -> dict[str, np.ndarray]:
        """Returns the model's inputs for the ads, by their number; see TransformGraph.ads."""
        ads = list(self._numbers)
        # Like lengths together, should BERT have to run.
        by_length = sorted(range(len(ads)), key=lambda number: len(ads[number][1]))
        parts = []
        for start in range(0, len(ads), _EMBEDDED_TOGETHER):
            some = [ads[number] for number in by_length[start : start + _EMBEDDED_TOGETHER]]
            parts.append(transform.ads(transform.from_request(self._table(some))))
        back = np.argsort(by_length)
        return {name: tf.concat([p[name] for p in parts], 0).numpy()[back] for name in parts[0]}

    def _table(self, ads: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
        columns = dict(zip(self._columns, zip(*ads, strict=True), strict=True))
        return {
            name: np.array(values, object if isinstance(values[0], bytes) else np.float32)
            for name, values in columns.items()
        }


def _hashable(values: np.ndarray) -> list[Any]:
    """Returns values such that missing ones equal each other, too."""
    found: list[Any] = values.tolist()
    return [None if value != value else value for value in found]  # NaN alone is not itself


def write_compact(
    examples: Sequence[str],
    folder: Path,
    transform: TransformGraph,
    columns: Columns,
    *,
    validation_share: float,
    seed: int,
    keep_negatives: float = 1.0,
    for_teacher: bool = False,
) -> tuple[Impressions, Impressions, Ads]:
    """Derives compact impressions from raw examples through the transform graph.

    Args:
        examples: gzipped TFRecord files of raw tf.Examples.
        folder: where the two files go.
        transform: the transform graph.
        columns: which columns hold the text, the ids, the label and the attributes.
        validation_share: share of the rows that are drawn for validation.
        seed: of that draw, and of the next.
        keep_negatives: share of the impressions without a click that are kept.
        for_teacher: whether to number the users, where the model does not know them by their ids.

    Returns:
        Impressions to train on, impressions for validation, and the ads of both.
    """
    user_id = columns.user_id if for_teacher and not transform.user_ids else None
    raw = (
        tf.data.TFRecordDataset(examples, "GZIP")
        .batch(_BLOCK)
        .map(
            as_written(lambda batch: _compact(batch, transform, columns, user_id)),
            tf.data.AUTOTUNE,
        )
        .prefetch(4)
    )
    draw, thin = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    ads = Ads(_columns_of_ads(transform, columns))
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "train.tfrecord", folder / "validation.tfrecord"]
    first, second = (
        Impressions(
            file,
            transform.parts | ({TEACHER_USER_ID: 1} if user_id else {}),
            is_counted=columns.is_counted or columns.weight is not None,
            kept_negatives=keep_negatives,
        )
        for file in files
    )
    users: dict[bytes, int] = {}
    with ImpressionsWriter(first) as train, ImpressionsWriter(second) as validation:
        for user, ids, shown, which, clicks, others, weights in raw.as_numpy_iterator():
            numbers = [users.setdefault(each, len(users) + 1) if each else 0 for each in ids]
            seen_by_teacher = [np.array(numbers, np.int32)] if user_id else []
            keys = np.column_stack([user, *seen_by_teacher, ads.numbers(shown)[which]])
            if keep_negatives < 1:
                others = thin.binomial(others, keep_negatives)
            there = clicks + others > 0
            is_validation = draw.random(len(keys)) < validation_share
            for writer, part in (
                (train, there & ~is_validation),
                (validation, there & is_validation),
            ):
                writer.write(keys[part], (clicks * weights)[part], (others * weights)[part])
    return fold(train.written), fold(validation.written), ads


def training_data(
    impressions: Impressions, validation: Impressions, ads: Ads, transform: TransformGraph
) -> TrainingData:
    """Joins what `write_compact` returned with what Transform found."""
    return TrainingData(
        impressions,
        validation,
        ads.inputs(transform),
        user_width=transform.user_width,
        user_unknown=transform.user_unknown,
        ad_attribute_width=transform.ad_attribute_width,
        ad_unknown=transform.ad_unknown,
        user_ids=transform.user_ids,
        ad_ids=transform.ad_ids,
        context_width=transform.context_width,
    )


def _compact(
    examples: tf.Tensor, transform: TransformGraph, columns: Columns, user_id: str | None
) -> tuple[tf.Tensor | dict[str, tf.Tensor], ...]:
    """Returns what write_compact needs of B examples.

    That is the user and context of each [B, K], the value of `user_id` [B], if one is given, the
    columns of n distinct ads, which [B], and of each row the impressions with and without a click,
    and its weight [B].
    """
    of_ads = _columns_of_ads(transform, columns)
    names = {*of_ads, *columns.outcome, *transform.user_inputs, *transform.context_inputs}
    names |= {user_id} if user_id else set()
    raw = transform.from_examples(examples, names)
    inputs = transform.users(raw) | transform.context(raw)
    user = [values if values.shape.rank == 2 else values[:, None] for values in inputs.values()]
    ids = transform.to_request(raw, [user_id])[user_id] if user_id else tf.constant([], tf.string)
    ads = transform.to_request(raw, of_ads)
    first, which = unique_rows(list(ads.values()))
    distinct = {name: tf.gather(values, first) for name, values in ads.items()}
    return tf.concat(user, axis=1), ids, distinct, which, *_outcome(raw, columns)


def _columns_of_ads(transform: TransformGraph, columns: Columns) -> list[str]:
    """Returns the columns that tell ads apart: the id, the texts, then the attributes."""
    return list(dict.fromkeys([columns.ad_id, *columns.ad_texts, *transform.ad_inputs]))


def _outcome(raw: Mapping[str, Column], columns: Columns) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns impressions with a click, impressions without, both int64, and weights: [B] each."""
    if columns.is_counted:
        clicks = tf.cast(flat(raw[str(columns.clicks)]), tf.int64)
        others = tf.cast(flat(raw[str(columns.impressions)]), tf.int64) - clicks
    else:
        clicks = tf.cast(flat(raw[columns.label]), tf.int64)
        others = 1 - clicks
    if columns.weight is None:
        return clicks, others, tf.ones_like(clicks)
    return clicks, others, tf.cast(flat(raw[columns.weight]), tf.float32)
