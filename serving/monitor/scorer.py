"""The click probabilities of a version, for blocks of rows."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from components.evaluator.score import ClickModel
from components.features import AS_SHOWN_SIGNATURE, CLICK_MODEL
from components.metrics import Floats
from components.serving_root import Version
from serving.towers import Towers


class Scorer(Protocol):
    """What gives rows their probability; `inputs` are the columns that it takes."""

    inputs: dict[str, tf.DType]

    def score(self, rows: pa.Table) -> Floats:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""


def make_scorer(version: Version) -> Scorer:
    """Returns the scorer of a version: its towers.

    Where it learned what is known in training only, as the position of an ad, its click model, by
    which clicks are judged where the ads were shown.
    """
    folder = version.folder(CLICK_MODEL)
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    if AS_SHOWN_SIGNATURE in model.meta_graphs[0].signature_def:
        return ClickModel(str(folder))
    return TowerScorer(version)


class TowerScorer:
    """The towers of a version: each ad is embedded once, however often it was shown."""

    def __init__(self, version: Version) -> None:
        self._towers = Towers(version)
        ad_inputs = self._towers.item_tower.inputs
        self.inputs = {**self._towers.user_tower.inputs, **ad_inputs}
        self._ad_columns = list(ad_inputs)
        self._numbers: dict[tuple[str | None, ...], int] = {}
        self._embeddings: list[NDArray[np.float32]] = []

    def score(self, rows: pa.Table) -> Floats:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""
        users = self._towers.embed_users(rows)
        ads = self._embed_ads(rows)
        logits = np.einsum("nd,nd->n", users, ads).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-logits)))

    def _embed_ads(self, rows: pa.Table) -> NDArray[np.float32]:
        """Returns the logit embedding of each row's ad [N, D]."""
        codes = np.zeros(len(rows), np.int64)
        for name in self._ad_columns:
            encoded = rows[name].combine_chunks().dictionary_encode(null_encoding="encode")
            codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
        _, first, of_row = np.unique(codes, return_index=True, return_inverse=True)
        distinct = rows.select(self._ad_columns).take(first)
        keys = list(zip(*distinct.to_pydict().values(), strict=True))
        new = [place for place, key in enumerate(keys) if key not in self._numbers]
        if new:
            self._embeddings.append(self._towers.embed_ads(distinct.take(new)))
            for place in new:
                self._numbers[keys[place]] = len(self._numbers)
        numbers = np.array([self._numbers[key] for key in keys], np.intp)
        return np.asarray(np.concatenate(self._embeddings)[numbers[of_row]])
