"""The data that benchmarks/quality.py compares models on, and what a model of ours takes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from components.features import Columns
from components.trainer.impressions import TEACHER_USER_ID, Impressions, ImpressionsWriter
from components.trainer.settings import ModelSettings
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import AD_ATTRIBUTES, AD_ID, ADS, USER, USER_ID
from components.transform import text_encoder
from components.transform.settings import TextEncoderSettings, TransformSettings

_COLUMNS = Columns(user_id="user_id")
_TIME = "rated_at"
_BUCKETS = TransformSettings.model_fields["buckets"].default


@dataclass(frozen=True)
class Data:
    """Impressions, and the embeddings of their texts.

    Attributes:
        attributes: those of the users [N], strings and numbers.
        users: the number of each row's user [N]; None where the data has no users.
        ads: the number of each row's ad, a distinct pair of id and text [N].
        labels: 1 for a click, else 0 [N].
        vectors: the embedding of each ad's text [ads, H] float32.
        ad_attributes: the attributes of each ad [ads], strings and numbers; None where it has none.
        times: when each row was [N]; None where the data does not say.
    """

    attributes: pd.DataFrame
    users: np.ndarray | None
    ads: np.ndarray
    labels: np.ndarray
    vectors: np.ndarray
    ad_attributes: pd.DataFrame | None = None
    times: np.ndarray | None = None


@dataclass(frozen=True)
class Split:
    """The rows to train on, to stop training by, and to test on."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def read(csv: Path) -> Data:
    """Reads a campaign; its texts are embedded once, into a file beside it."""
    rows = pd.read_csv(csv, dtype={_COLUMNS.ad_id: str})
    ads = rows.groupby([_COLUMNS.ad_id, _COLUMNS.text], sort=False)
    is_first = ~ads.cumcount().astype(bool)
    texts = rows[_COLUMNS.text][is_first]
    of_ads = rows[_COLUMNS.ad_attributes(rows)][is_first]
    users, times = rows.get(_COLUMNS.user_id), rows.get(_TIME)
    return Data(
        attributes=rows[_COLUMNS.user_attributes(rows)],
        users=None if users is None else users.factorize()[0],
        ads=ads.ngroup().to_numpy(),
        labels=rows[_COLUMNS.label].to_numpy(),
        vectors=_embed(texts.tolist(), csv.with_name("embeddings.npy")),
        ad_attributes=of_ads.reset_index(drop=True) if of_ads.shape[1] else None,
        times=None if times is None else times.to_numpy(),
    )


def _embed(texts: list[str], cache: Path) -> np.ndarray:
    if not cache.exists():
        settings = TextEncoderSettings()
        folder = text_encoder.compile_encoder(
            settings.encoder,
            settings.preprocessor,
            settings.max_tokens,
            settings.cache.expanduser(),
        )
        encoder = text_encoder.load(folder)
        batches = tf.data.Dataset.from_tensor_slices(texts).batch(64)
        np.save(cache, np.concatenate([encoder(batch) for batch in batches]))
    return np.load(cache)


def split_rows(data: Data, seed: int) -> Split:
    """Draws 72% of the rows to train on, 8% for validation, 20% to test."""
    return _split(np.random.default_rng(seed).random(len(data.labels)))


def split_ads(data: Data, seed: int) -> Split:
    """Holds a fifth of the ads out whole, to test on ads that nobody has seen."""
    draw = np.random.default_rng(seed)
    held_out = draw.random(len(data.vectors)) < 0.2
    return _split(np.where(held_out[data.ads], 1.0, 0.8 * draw.random(len(data.labels))))


def split_time(data: Data, seed: int) -> Split:
    """Tests on the last fifth of the rows by time; a tenth of the others is for validation."""
    assert data.times is not None
    order = np.argsort(data.times, kind="stable")
    draw = 0.8 * np.random.default_rng(seed).random(len(order))
    draw[order[int(0.8 * len(order)) :]] = 1.0
    return _split(draw)


def _split(draw: np.ndarray) -> Split:
    part = np.searchsorted([0.72, 0.8], draw, side="right")
    return Split(*(np.flatnonzero(part == number) for number in range(3)))


def compact(
    data: Data,
    split: Split,
    settings: ModelSettings,
    folder: Path,
    weights: np.ndarray | None = None,
    *,
    for_teacher: bool = False,
) -> tuple[TrainingData, Impressions]:
    """Writes what a model of ours trains on, and is tested on, as the pipeline's Trainer would.

    What it learns of the attributes and ids, it learns from the rows of `split.train`. Rows weigh
    1, or as `weights` [N] says. For a teacher, the users are numbered, too.
    """
    positions, unknown, width = _positions(data.attributes, split.train)
    columns = {USER: positions}
    user_ids = ad_ids = 0
    inputs = {ADS: data.vectors}
    of_ads: dict[str, Any] = {}
    if data.ad_attributes is not None:
        known = np.unique(data.ads[split.train])
        inputs[AD_ATTRIBUTES], unknown_of_ads, width_of_ads = _positions(data.ad_attributes, known)
        of_ads = {"ad_unknown": unknown_of_ads, "ad_attribute_width": width_of_ads}
    if settings.user_id and data.users is not None:
        ids, user_ids = _known(data.users, split.train)
        columns[USER_ID] = ids[:, None]
    elif for_teacher and data.users is not None:
        columns[TEACHER_USER_ID] = _known(data.users, split.train)[0][:, None]
    if settings.ad_id:
        ids, ad_ids = _known(data.ads, split.train)
        inputs[AD_ID] = np.zeros(len(data.vectors), np.int32)
        inputs[AD_ID][data.ads] = ids
    keys = np.column_stack([*columns.values(), data.ads]).astype(np.int32)
    widths = {name: values.shape[1] for name, values in columns.items()}

    def write(name: str, part: np.ndarray) -> Impressions:
        labels, of_rows = data.labels[part], 1 if weights is None else weights[part]
        empty = Impressions(folder / name, widths, is_counted=weights is not None)
        with ImpressionsWriter(empty) as writer:
            writer.write(keys[part], labels * of_rows, (1 - labels) * of_rows)
        return writer.written

    training = TrainingData(
        write("train", split.train),
        write("validation", split.validation),
        inputs,
        user_width=width,
        user_unknown=unknown,
        user_ids=user_ids,
        ad_ids=ad_ids,
        **of_ads,
    )
    return training, write("test", split.test)


def _positions(attributes: pd.DataFrame, train: np.ndarray) -> tuple[np.ndarray, list[int], int]:
    """Returns each row's ones [N, A], each attribute's for unknown values [A], and the width."""
    positions, unknown = [], []
    width = 0
    for name in attributes:
        values = attributes[name]
        if values.dtype != object:
            edges = values.iloc[train].quantile(np.arange(1, _BUCKETS) / _BUCKETS)
            values = pd.Series(np.searchsorted(edges, values)).where(values.notna().to_numpy())
        codes, count = _known(values.fillna("").to_numpy(), train)
        positions.append(width + codes)
        unknown.append(width)
        width += count
    return np.column_stack(positions).astype(np.int32), unknown, width


def _known(values: np.ndarray, train: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers the values [N] from 1; 0 is one that no row of `train` has; how many there are."""
    known = pd.unique(values[train])
    return pd.Index(known).get_indexer(values) + 1, len(known) + 1
