"""The four SavedModels: raw columns and raw text in, named tensors out, stock ops only.

Each holds only what it computes with: the user tower has no BERT.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.features import (
    AS_SHOWN_SIGNATURE,
    CLICK_MODEL,
    EMBEDDING,
    EXAMPLES,
    EXAMPLES_SIGNATURE,
    ITEM_TOWER,
    LOGIT_EMBEDDING,
    MODEL_VERSION,
    PROBABILITY,
    RECOMMENDER,
    USER_TOWER,
    Columns,
)
from components.trainer.catalogue import Catalogue
from components.trainer.recommender import catalogue_of, export_recommender
from components.trainer.saved_model import ExportedModule, missing
from components.trainer.transform_graph import Column, TransformGraph
from components.trainer.two_tower import TwoTower
from components.transform.lookup import unique_rows


class Exporter:
    """Joins a trained model with the transform graph into SavedModels over raw columns.

    Args:
        model: the trained towers.
        transform: maps raw columns to what they take.
        columns: which columns hold the text, the ids, the label and the attributes.
    """

    def __init__(self, model: TwoTower, transform: TransformGraph, columns: Columns) -> None:
        self._model = model
        self._transform = transform
        self._columns = columns
        click = _values(model.click)
        self._user_variables = [*_values(model.user_tower), *click]
        self._item_variables = [*_values(model.item_tower), *transform.encoder_variables]

    def export(
        self,
        folder: Path,
        catalogue: Mapping[str, Any],
        users: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes all four into `folder`, each under its name.

        Args:
            folder: where they go.
            catalogue: the columns of the n ads that the recommender knows, each id once; "" and
                NaN stand for missing attributes.
            users: the model's inputs of users as they come, for whom the recommender is to be
                quick with very many ads; the ads' own embeddings stand in for them.
        """
        found = self._catalogue(catalogue)
        typical_users = found.embeddings
        if users is not None:
            embeddings = self._model.user_logit_embedding(*self._model.users(users))
            typical_users = np.asarray(embeddings)
        self._export_item_tower(folder / ITEM_TOWER)
        self._export_user_tower(folder / USER_TOWER)
        self._export_click_model(folder / CLICK_MODEL)
        export_recommender(
            folder / RECOMMENDER,
            columns=self._columns,
            user_embedding=lambda raw: self._model.user_logit_embedding(*self._users(raw)),
            user_variables=self._user_variables,
            user_inputs=self._transform.user_inputs,
            catalogue=found,
            typical_users=typical_users,
        )

    def _export_item_tower(self, folder: Path) -> None:
        module = ExportedModule(ITEM_TOWER, self._item_variables)

        def item_tower(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
            embedding, bias = self._ads(self._transform.from_request(raw))
            return {
                EMBEDDING: embedding,
                LOGIT_EMBEDDING: self._model.item_logit_embedding(embedding, bias),
                MODEL_VERSION: module.version(embedding),
            }

        module.add_signature(item_tower, _specs(self._transform.ad_inputs))
        module.save(folder, self._columns, self._any_ad())

    def _export_user_tower(self, folder: Path) -> None:
        module = ExportedModule(USER_TOWER, self._user_variables)

        def user_tower(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
            embedding, bias = self._users(raw)
            return {
                EMBEDDING: embedding,
                LOGIT_EMBEDDING: self._model.user_logit_embedding(embedding, bias),
                MODEL_VERSION: module.version(embedding),
            }

        module.add_signature(user_tower, _specs(self._transform.user_inputs))
        module.save(folder, self._columns, missing(self._transform.user_inputs))

    def _export_click_model(self, folder: Path) -> None:
        context_variables = _values(self._model.context) if self._model.context else []
        module = ExportedModule(
            CLICK_MODEL, [*self._user_variables, *self._item_variables, *context_variables]
        )
        inputs = self._transform.user_inputs | self._transform.ad_inputs

        def click(columns: Mapping[str, Column], context: Any = 0.0) -> dict[str, tf.Tensor]:
            users = self._model.users(self._transform.users(columns))
            left = self._model.user_logit_embedding(*users)
            right = self._model.item_logit_embedding(*self._ads(columns))
            probability = tf.sigmoid(tf.reduce_sum(left * right, axis=-1) + context)
            return {PROBABILITY: probability, MODEL_VERSION: module.version(probability)}

        module.add_signature(lambda **raw: click(self._transform.from_request(raw)), _specs(inputs))
        module.add_signature(
            lambda examples: click(self._transform.from_examples(examples, inputs)),
            {EXAMPLES: tf.TensorSpec([None], tf.string)},
            EXAMPLES_SIGNATURE,
        )
        if self._model.context is not None:
            bias = self._model.context

            def as_shown(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
                columns = self._transform.from_request(raw)
                return click(columns, bias(*self._transform.context(columns).values()))

            known = inputs | self._transform.context_inputs
            module.add_signature(as_shown, _specs(known), AS_SHOWN_SIGNATURE)
        module.save(folder, self._columns, missing(self._transform.user_inputs) | self._any_ad())

    def _users(self, raw: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the user tower's embeddings [B, units] and biases [B]."""
        return self._model.users(self._transform.users(self._transform.from_request(raw)))

    def _ads(self, columns: Mapping[str, Column]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the item tower's embeddings [B, units] and biases [B]; one pass a distinct ad."""
        raw = self._transform.to_request(columns, self._transform.ad_inputs)
        first, which = unique_rows(list(raw.values()))
        ads = {name: tf.gather(values, first) for name, values in raw.items()}
        inputs = self._transform.ads(self._transform.from_request(ads))
        embedding, bias = self._model.ads(inputs)
        return tf.gather(embedding, which), tf.gather(bias, which)

    def _catalogue(self, columns: Mapping[str, Any]) -> Catalogue:
        ads = {
            name: tf.constant(columns[name], dtype)
            for name, dtype in self._transform.ad_inputs.items()
        }
        parts = [
            self._model.item_logit_embedding(*self._ads(self._transform.from_request(some)))
            for some in tf.data.Dataset.from_tensor_slices(ads).batch(1024)
        ]
        return catalogue_of(
            self._columns,
            tf.constant(columns[self._columns.ad_id], tf.string),
            ads,
            tf.concat(parts, axis=0).numpy(),
        )

    def _any_ad(self) -> dict[str, list[Any]]:
        """An ad to warm up with, which meets BERT."""
        texts = {name: ["An ad that nobody has seen."] for name in self._columns.ad_texts}
        return missing(self._transform.ad_inputs) | texts


def _specs(inputs: Mapping[str, tf.DType]) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec([None], dtype) for name, dtype in inputs.items()}


def _values(layer: keras.layers.Layer) -> list[tf.Variable]:
    """The TensorFlow variables that a Keras layer computes with."""
    return [variable.value for variable in layer.weights]
