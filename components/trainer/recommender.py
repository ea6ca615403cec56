"""The recommender: a user's attributes in, the best ads of a catalogue out, exactly.

The catalogue is variables beside the graph, so that another one can take its place without it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.features import (
    AD_IDS,
    ALLOWED_AD_IDS,
    COLUMNS_FILE,
    MODEL_VERSION,
    PROBABILITIES,
    RAW_SIGNATURE,
    RECOMMENDER,
    TEXTS,
    Columns,
    K,
)
from components.trainer.saved_model import Servable, nobody
from components.transform.lookup import find, sort_by_fingerprint

_ONE_USER = tf.TensorShape([1])


def export_recommender(
    folder: Path,
    *,
    columns: Columns,
    user_embedding: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
    user_variables: Iterable[Any],
    user_inputs: Mapping[str, tf.DType],
    ad_ids: Sequence[bytes],
    texts: Sequence[bytes],
    ad_embeddings: np.ndarray,
) -> None:
    """Writes the recommender over a catalogue of n ads.

    Args:
        folder: where the SavedModel goes.
        columns: what the columns are for.
        user_embedding: maps raw columns [B] to logit embeddings [B, D].
        user_variables: those that it computes with.
        user_inputs: the columns that describe a user, with their types.
        ad_ids: of the catalogue, each once.
        texts: of the same ads.
        ad_embeddings: their logit embeddings [n, D] float32.
    """
    table = _Table(Catalogue(list(ad_ids), list(texts), ad_embeddings))
    servable = Servable(RECOMMENDER, user_variables)
    servable.table = table

    def recommend(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        user = user_embedding({name: inputs[name] for name in user_inputs})
        rows, logits = table.best(user[0], inputs[K], inputs[ALLOWED_AD_IDS])
        return {
            AD_IDS: tf.gather(table.ad_ids, rows),
            TEXTS: tf.gather(table.texts, rows),
            PROBABILITIES: tf.sigmoid(logits),
            MODEL_VERSION: servable.version(user),
        }

    servable.add_signature(
        recommend,
        {
            **{name: tf.TensorSpec(_ONE_USER, dtype) for name, dtype in user_inputs.items()},
            K: tf.TensorSpec([], tf.int32),
            ALLOWED_AD_IDS: tf.TensorSpec([None], tf.string),
        },
    )
    servable.save(folder, columns, {**nobody(user_inputs), K: 1, ALLOWED_AD_IDS: []})


@dataclass(frozen=True)
class Catalogue:
    """n ads: their ids, each once, their texts, and their logit embeddings [n, D] float32."""

    ad_ids: Sequence[bytes]
    texts: Sequence[bytes]
    embeddings: np.ndarray


def read_catalogue(recommender: Path) -> Catalogue:
    """Returns the ads of the recommender in the folder `recommender`."""
    table = tf.saved_model.load(str(recommender)).table
    return Catalogue(
        table.ad_ids.numpy().tolist(), table.texts.numpy().tolist(), table.embeddings.numpy()
    )


def replace_catalogue(recommender: Path, catalogue: Catalogue, folder: Path) -> None:
    """Writes the recommender of the folder `recommender` into `folder`, over another catalogue."""
    loaded = tf.saved_model.load(str(recommender))
    for name, values in _sorted(catalogue).items():
        getattr(loaded.table, name).assign(values)
    signature = loaded.signatures[RAW_SIGNATURE]
    tf.saved_model.save(loaded, str(folder), signatures={RAW_SIGNATURE: signature})
    extra = Path(COLUMNS_FILE).parent  # with the warm-up request
    shutil.copytree(recommender / extra, folder / extra)


def _sorted(catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Returns what _Table holds."""
    fingerprints, order = sort_by_fingerprint(list(catalogue.ad_ids))
    return {
        "ad_ids": np.array(catalogue.ad_ids, object)[order],
        "texts": np.array(catalogue.texts, object)[order],
        "fingerprints": fingerprints,
        "embeddings": catalogue.embeddings[order],
    }


class _Table(tf.Module):
    """The ads of a catalogue in the order of their ids' fingerprints."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__()
        arrays = _sorted(catalogue)
        self.ad_ids = _resizable(arrays["ad_ids"])
        self.texts = _resizable(arrays["texts"])
        self.fingerprints = _resizable(arrays["fingerprints"])
        self.embeddings = _resizable(arrays["embeddings"])

    def best(
        self, user: tf.Tensor, k: tf.Tensor, allowed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns rows and logits of the k best ads for the user [D], best first.

        Fewer where the catalogue, or `allowed` [m] ids where there are any, hold fewer.
        """

        def of_all() -> tuple[tf.Tensor, tf.Tensor]:
            return self._top(tf.linalg.matvec(self.embeddings, user), k)

        def of_allowed() -> tuple[tf.Tensor, tf.Tensor]:
            found = find(tf.unique(allowed)[0], self.ad_ids, self.fingerprints)
            rows = tf.boolean_mask(found, found >= 0)
            chosen, logits = self._top(tf.linalg.matvec(tf.gather(self.embeddings, rows), user), k)
            return tf.gather(rows, chosen), logits

        return tf.cond(tf.size(allowed) > 0, of_allowed, of_all)

    @staticmethod
    def _top(logits: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        best = tf.math.top_k(logits, tf.minimum(tf.maximum(k, 0), tf.size(logits)))
        return best.indices, best.values


def _resizable(values: np.ndarray) -> tf.Variable:
    """Returns a variable of as many rows as it is assigned."""
    return tf.Variable(values, trainable=False, shape=[None, *values.shape[1:]])
