"""The recommender: users' attributes in, the best ads of a catalogue for each out, exactly.

The catalogue is variables beside the graph, so that another one can take its place without it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of a recommender that is loaded

from components import signature_names
from components.ad_text_tensors import joined_tensor
from components.features import (
    AD_IDS,
    ALLOWED_AD_IDS,
    COLUMNS_FILE,
    EXCLUDED_AD_IDS,
    MINIMUM_PROBABILITY,
    MODEL_VERSION,
    PROBABILITIES,
    RAW_SIGNATURE,
    RECOMMENDER,
    TEXTS,
    Columns,
    K,
)
from components.trainer.bounds import axes_of, outlines_of, upper_bounds
from components.trainer.catalogue import VARIABLES, Catalogue
from components.trainer.saved_model import ExportedModule, missing
from components.transform.lookup import lookup_rows, sort_by_fingerprint

# With fewer ads every one is looked at; and for several users at a time, who share the reading.
_MANY = 1 << 14


def export_recommender(
    folder: Path,
    *,
    columns: Columns,
    user_embedding: Callable[[Mapping[str, tf.Tensor]], tf.Tensor],
    user_variables: Iterable[Any],
    user_inputs: Mapping[str, tf.DType],
    catalogue: Catalogue,
    typical_users: np.ndarray,
) -> None:
    """Writes the recommender over a catalogue.

    Args:
        folder: where the SavedModel goes.
        columns: which columns hold the text, the ids, the label and the attributes.
        user_embedding: maps raw columns [B] to logit embeddings [B, D].
        user_variables: those that it computes with.
        user_inputs: the columns that describe a user, with their types.
        catalogue: the ads.
        typical_users: logit embeddings [m, D] of users like those who will ask: the more alike, the
            fewer ads are looked at for one. The answer does not depend on them.
    """
    table = _Table(catalogue, axes_of(typical_users))
    module = ExportedModule(RECOMMENDER, user_variables)
    module.table = table

    def recommend(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        user = user_embedding({name: inputs[name] for name in user_inputs})
        rows, probabilities = table.best(
            user,
            inputs[K],
            allowed=inputs[ALLOWED_AD_IDS],
            excluded=inputs[EXCLUDED_AD_IDS],
            minimum=inputs[MINIMUM_PROBABILITY],
        )
        return {
            AD_IDS: _gather(table.ad_ids, rows),
            TEXTS: _gather(table.texts, rows),
            PROBABILITIES: probabilities,
            MODEL_VERSION: module.version(user),
        }

    module.add_signature(
        recommend,
        {
            **{name: tf.TensorSpec([None], dtype) for name, dtype in user_inputs.items()},
            K: tf.TensorSpec([], tf.int32),
            ALLOWED_AD_IDS: tf.TensorSpec([None], tf.string),
            EXCLUDED_AD_IDS: tf.TensorSpec([None], tf.string),
            MINIMUM_PROBABILITY: tf.TensorSpec([], tf.float32),
        },
    )
    anything = {K: 1, ALLOWED_AD_IDS: [], EXCLUDED_AD_IDS: [], MINIMUM_PROBABILITY: 0.0}
    module.save(folder, columns, {**missing(user_inputs), **anything})


def catalogue_of(
    columns: Columns, ad_ids: tf.Tensor, ads: Mapping[str, tf.Tensor], embeddings: np.ndarray
) -> Catalogue:
    """Makes a catalogue of n ads.

    Args:
        columns: which columns hold the texts and the ids.
        ad_ids: each once [n].
        ads: what the item tower takes of them, [n] by column.
        embeddings: their logit embeddings [n, D] float32.
    """
    texts = joined_tensor([ads[name] for name in columns.ad_texts])
    attributes = {
        name: values.numpy()
        for name, values in ads.items()
        if name not in (columns.ad_id, columns.text)
    }
    return Catalogue(ad_ids.numpy().tolist(), texts.numpy().tolist(), embeddings, attributes)


def read_catalogue(recommender: Path) -> Catalogue:
    """Returns the ads of the recommender in the folder `recommender`."""
    # From the file of its variables: to load the graph takes a hundred times as long.
    variables = tf.train.load_checkpoint(str(recommender / VARIABLES))
    return Catalogue.of_variables(variables.get_variable_to_shape_map(), variables.get_tensor)


def replace_catalogue(recommender: Path, catalogue: Catalogue, folder: Path) -> None:
    """Writes the recommender of the folder `recommender` into `folder`, over another catalogue."""
    loaded = tf.saved_model.load(str(recommender))
    catalogue, fingerprints = _sorted(catalogue)
    loaded.table.ad_ids.assign(catalogue.ad_ids)
    loaded.table.texts.assign(catalogue.texts)
    loaded.table.fingerprints.assign(fingerprints)
    loaded.table.embeddings.assign(catalogue.embeddings)
    if hasattr(loaded.table, "outlines"):  # those of earlier releases have none
        axes = loaded.table.axes.numpy()
        loaded.table.outlines.assign(outlines_of(catalogue.embeddings, axes))
    for name, values in catalogue.attributes.items():
        loaded.table.attributes[signature_names.argument(name)].assign(values)
    signature = loaded.signatures[RAW_SIGNATURE]
    tf.saved_model.save(loaded, str(folder), signatures={RAW_SIGNATURE: signature})
    signature_names.restore(folder, signature_names.inputs_of(signature))
    extra = Path(COLUMNS_FILE).parent  # with the warm-up request
    shutil.copytree(recommender / extra, folder / extra)


def _sorted(catalogue: Catalogue) -> tuple[Catalogue, np.ndarray]:
    """Returns the catalogue in the order of its ids' fingerprints, and these [n] int64."""
    fingerprints, order = sort_by_fingerprint(list(catalogue.ad_ids))
    in_order = Catalogue(
        np.array(catalogue.ad_ids, object)[order],
        np.array(catalogue.texts, object)[order],
        catalogue.embeddings[order],
        {name: values[order] for name, values in catalogue.attributes.items()},
    )
    return in_order, fingerprints


class _Table(tf.Module):
    """The ads of a catalogue in the order of their ids' fingerprints."""

    def __init__(self, catalogue: Catalogue, axes: np.ndarray) -> None:
        super().__init__()
        catalogue, fingerprints = _sorted(catalogue)
        self.ad_ids = _resizable(np.array(catalogue.ad_ids, object))
        self.texts = _resizable(np.array(catalogue.texts, object))
        self.fingerprints = _resizable(fingerprints)
        self.embeddings = _resizable(catalogue.embeddings)
        outlines = outlines_of(catalogue.embeddings, axes)
        self.axes = tf.Variable(axes, trainable=False)
        self.outlines = tf.Variable(outlines, trainable=False, shape=[len(outlines), None])
        # No signature needs them: they say which ads another catalogue shares with this one.
        self.attributes = {
            signature_names.argument(name): _resizable(values)
            for name, values in catalogue.attributes.items()
        }

    def best(
        self,
        users: tf.Tensor,
        k: tf.Tensor,
        *,
        allowed: tf.Tensor,
        excluded: tf.Tensor,
        minimum: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns rows and probabilities [B, m] of the best ads for each user, best first.

        m is at most k, and the most that any user gets. A user who gets fewer has row -1 and
        probability 0 in the rest.

        Args:
            users: logit embeddings [B, D].
            k: most ads for each.
            allowed: ids of the ads to choose from [any]; all if there are none.
            excluded: ids of ads that are not chosen [any].
            minimum: least probability of an ad that is chosen.
        """
        rows, embeddings = tf.cond(
            tf.size(allowed) > 0,
            lambda: self._rows_of(allowed),
            lambda: tf.cond(
                (tf.shape(users)[0] == 1) & (self._count() >= _MANY),
                lambda: self._promising(users, k, excluded),
                lambda: (tf.range(self._count()), tf.identity(self.embeddings)),
            ),
        )
        logits = tf.matmul(users, embeddings, transpose_b=True)
        logits = tf.cond(
            tf.size(excluded) > 0,
            lambda: logits + tf.gather(self._out_of_reach(excluded), rows),
            lambda: logits,
        )
        best = tf.math.top_k(logits, tf.minimum(tf.maximum(k, 0), tf.size(rows)))
        probabilities = tf.sigmoid(best.values)
        is_chosen = (best.values > -np.inf) & (probabilities >= minimum)
        width = tf.reduce_max(tf.reduce_sum(tf.cast(is_chosen, tf.int32), axis=1))
        chosen = tf.where(is_chosen, tf.gather(rows, best.indices), -1)
        return chosen[:, :width], tf.where(is_chosen, probabilities, 0.0)[:, :width]

    def _count(self) -> tf.Tensor:
        # Reading a variable of strings would copy them all.
        return tf.size(self.fingerprints)

    def _promising(
        self, user: tf.Tensor, k: tf.Tensor, excluded: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rows of all ads that can be among the k best of a user, and their embeddings.

        The k ads with the highest bounds reach something; what cannot reach as much is left out.
        """
        bounds = upper_bounds(user, self.axes, self.outlines)[0]
        bounds = tf.cond(
            tf.size(excluded) > 0,
            lambda: bounds + self._out_of_reach(excluded),
            lambda: bounds,
        )
        first = tf.math.top_k(bounds, tf.minimum(tf.maximum(k, 0), tf.size(bounds)))
        reached = tf.linalg.matvec(tf.gather(self.embeddings, first.indices), user[0])
        # An excluded ad reaches nothing, as its bound says.
        least = tf.reduce_min(tf.minimum(reached, first.values))
        rows = tf.cast(tf.where(bounds >= least)[:, 0], tf.int32)
        return rows, tf.gather(self.embeddings, rows)

    def _rows_of(self, ad_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rows of those ids that are there, each once, and their embeddings."""
        found = lookup_rows(tf.unique(ad_ids)[0], self.ad_ids, self.fingerprints)
        rows = tf.boolean_mask(found, found >= 0)
        return rows, tf.gather(self.embeddings, rows)

    def _out_of_reach(self, ad_ids: tf.Tensor) -> tf.Tensor:
        """Returns what is added to the logits of all ads [n], so that none of these is chosen."""
        rows, _ = self._rows_of(ad_ids)
        nothing = tf.zeros([self._count()])
        return tf.tensor_scatter_nd_update(
            nothing, rows[:, None], tf.fill([tf.size(rows)], -np.inf)
        )


def _gather(strings: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns the strings of rows [B, m]; "" where a row is -1."""
    return tf.where(rows >= 0, tf.gather(strings, tf.maximum(rows, 0)), "")


def _resizable(values: np.ndarray) -> tf.Variable:
    """Returns a variable of as many rows as it is assigned."""
    return tf.Variable(values, trainable=False, shape=[None, *values.shape[1:]])
