"""The two towers: p(click) = sigmoid(w * cos(user, ad) + b).

A user tower over one-hot attributes and an item tower over the embedding of the ad's text end in
the same number of units, are l2-normalized and meet in a dot product and one sigmoid unit, as in
Predictive Hacks, "Content-Based Recommender Systems in TensorFlow and BERT Embeddings".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# The model's inputs.
USER = "user_positions"
USER_ID = "user_id"
ADS = "ad_vectors"
AD_ID = "ad_id"
AD_OF = "ad_of_impression"


class OneHotDense(keras.layers.Layer):
    """A Dense layer over one-hot vectors that are given as the positions of their ones.

    A one-hot vector times a matrix is a sum of rows of that matrix: no vector is ever built.

    Args:
        width: columns of the one-hot vectors.
        units: units of the layer.
        activation: as in keras.layers.Dense.
    """

    def __init__(
        self, width: int, units: int, activation: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.units = units
        self.activation = keras.activations.get(activation)

    def build(self, _input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(self.width, self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, positions: Any) -> Any:
        """Maps positions [B, A] int to [B, units]."""
        kernel = tf.convert_to_tensor(self.kernel)
        return self.activation(_sum_of_rows(kernel, positions) + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)


@tf.custom_gradient
def _sum_of_rows(kernel: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Returns kernel[positions] [B, A, units], summed over A.

    TensorFlow's own gradient is a list of rows, which every step of Adam would sort and add up; the
    one here is added up as it is made.
    """
    ones = tf.shape(positions)[1]

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        of_rows = tf.repeat(upstream, ones, axis=0)
        where = tf.reshape(positions, [-1])
        return tf.math.unsorted_segment_sum(of_rows, where, tf.shape(kernel)[0]), None

    return tf.reduce_sum(tf.gather(kernel, positions), axis=1), gradient


class IdDropout(keras.layers.Layer):
    """Takes ids for unseen ones at random in training, so that features learn to do without.

    As in Volkovs, Yu and Poutanen, "DropoutNet: Addressing Cold Start in Recommender Systems",
    NeurIPS 2017.

    Args:
        rate: share of the ids that are dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.seed = keras.random.SeedGenerator()

    def call(self, ids: Any, training: bool = False) -> Any:
        """Maps ids [B] to ids [B], 0 being the unseen one."""
        if not training or not self.rate:
            return ids
        kept = keras.random.uniform(keras.ops.shape(ids), seed=self.seed) >= self.rate
        return keras.ops.where(kept, ids, keras.ops.zeros_like(ids))


class Centering(keras.layers.Layer):
    """Subtracts a vector that stays as it is in training.

    What all embeddings of an encoder share hides what tells them apart. Mu and Viswanath,
    "All-but-the-Top: Simple and Effective Postprocessing for Word Representations", ICLR 2018.

    Args:
        mean: what is subtracted [H].
    """

    def __init__(self, mean: np.ndarray) -> None:
        super().__init__()
        self.mean = self.add_weight(shape=mean.shape, trainable=False, name="mean")
        self.mean.assign(mean)

    def call(self, features: Any) -> Any:
        """Maps [B, H] to [B, H]."""
        return features - self.mean


class Tower(keras.layers.Layer):
    """Maps features, and an id where the model uses ids, to an embedding and a bias.

    Args:
        name: the tower's name.
        layers: over the features; the last has no activation.
        ids: how many ids there are, the unseen one among them; 0 not to use any.
        normalize: whether embeddings have length 1.
        dropout: share of the units that are dropped in training.
        id_dropout: share of the ids that are dropped in training.
        center: what is subtracted from features [H]; None for nothing.
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[keras.layers.Layer],
        *,
        ids: int,
        normalize: bool,
        dropout: float,
        id_dropout: float,
        center: np.ndarray | None = None,
    ) -> None:
        super().__init__(name=name)
        self.hidden = list(layers[:-1])
        self.last = layers[-1]
        self.dropout = keras.layers.Dropout(dropout)
        self.normalize = keras.layers.UnitNormalization() if normalize else None
        self.id_dropout = IdDropout(id_dropout)
        # An id's embedding, and its bias in the last column.
        self.id_rows = keras.layers.Embedding(ids, self.last.units + 1) if ids else None
        self.center = None if center is None else Centering(center)

    def build(self, features_shape: tuple[int | None, ...], ids_shape: Any = None) -> None:
        for layer in [*self.hidden, self.last]:
            layer.build(features_shape)
            features_shape = layer.compute_output_shape(features_shape)
        if self.id_rows is not None:
            self.id_rows.build(ids_shape)

    def call(self, features: Any, ids: Any = None) -> tuple[Any, Any]:
        """Returns embeddings [B, units] and biases [B] of features [B, ...] and ids [B]."""
        if self.center is not None:
            features = self.center(features)
        for layer in self.hidden:
            features = self.dropout(layer(features))
        embedding = self.last(features)
        bias = keras.ops.zeros_like(embedding[:, 0])
        if self.id_rows is not None:
            rows = self.id_rows(self.id_dropout(ids))
            embedding = embedding + self.dropout(rows[:, :-1])
            bias = rows[:, -1]
        return (self.normalize(embedding) if self.normalize else embedding), bias


class TwoTower(keras.Model):
    """A user tower and an item tower joined by a dot product.

    logit = w (u . v + bias of the user + bias of the ad) + b, with w >= 0, so that the order of ads
    by inner product is their order by probability. Biases belong to ids, and are 0 without.

    The item tower runs once per distinct ad of a batch; its output is gathered for the impressions.

    Args:
        user_width: columns of the one-hot user vector.
        ad_width: numbers in the embedding of an ad's text.
        user_ids: how many user ids there are, the unseen one among them; 0 not to use any.
        ad_ids: the same of ads.
        user_layers: units of the user tower's hidden layers.
        item_layers: units of the item tower's hidden layers.
        embedding: units in which both towers end.
        normalize: whether embeddings have length 1, so that their product is a cosine.
        center: what is subtracted from the embedding of an ad's text [H]; None for nothing.
        dropout: share of the units that are dropped in training.
        id_dropout: share of the ids that are dropped in training.

    Example:
        >>> model = TwoTower(user_width=63, ad_width=768)
        >>> model({USER: positions, ADS: vectors, AD_OF: index})  # logits [B]
    """

    def __init__(
        self,
        user_width: int,
        ad_width: int,
        *,
        user_ids: int = 0,
        ad_ids: int = 0,
        user_layers: Sequence[int] = (128,),
        item_layers: Sequence[int] = (128, 64),
        embedding: int = 32,
        normalize: bool = True,
        center: np.ndarray | None = None,
        dropout: float = 0.0,
        id_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {
            "normalize": normalize,
            "dropout": dropout,
            "id_dropout": id_dropout,
        }
        (units, activation), *others = _activations((*user_layers, embedding))
        user_dense = [OneHotDense(user_width, units, activation), *_dense(others)]
        item_dense = _dense(_activations((*item_layers, embedding)))
        self.user_tower = Tower("user_tower", user_dense, ids=user_ids, **common)
        self.item_tower = Tower("item_tower", item_dense, ids=ad_ids, center=center, **common)
        self.click = keras.layers.Dense(
            1, kernel_initializer="ones", kernel_constraint="non_neg", name="click"
        )
        id_of_none = np.zeros(1, np.int32)
        self(
            {
                USER: np.zeros((1, 1), np.int32),
                USER_ID: id_of_none,
                ADS: np.zeros((1, ad_width), np.float32),
                AD_ID: id_of_none,
                AD_OF: id_of_none,
            }
        )

    # Keras tells a model that it trains, and so its layers, only where it takes `training`.
    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Returns the logits [B] of a click.

        Args:
            inputs: USER: positions of the ones [B, A] int; USER_ID: [B] int; ADS: vectors of n
                distinct ads [n, H]; AD_ID: [n] int; AD_OF: which of them each impression shows [B]
                int. Ids may be absent where the model does not use them.
            training: whether to drop units and ids.
        """
        users, user_bias = self.user_tower(inputs[USER], inputs.get(USER_ID))
        ads, ad_bias = self.item_tower(inputs[ADS], inputs.get(AD_ID))
        ads = keras.ops.take(ads, inputs[AD_OF], axis=0)
        ad_bias = keras.ops.take(ad_bias, inputs[AD_OF], axis=0)
        match = keras.ops.sum(users * ads, axis=-1) + user_bias + ad_bias
        return self.click(match[:, None])[:, 0]

    def user_logit_embedding(self, embedding: Any, bias: Any) -> Any:
        """Returns [B, units + 2]: w u, w bias + b, w; with an ad's, its product is the logit."""
        weight, constant = self.click.kernel[0, 0], self.click.bias[0]
        last = [weight * bias + constant, weight * keras.ops.ones_like(bias)]
        return keras.ops.concatenate([weight * embedding, keras.ops.stack(last, axis=1)], axis=1)

    def item_logit_embedding(self, embedding: Any, bias: Any) -> Any:
        """Returns [B, units + 2]: v, 1, bias."""
        last = [keras.ops.ones_like(bias), bias]
        return keras.ops.concatenate([embedding, keras.ops.stack(last, axis=1)], axis=1)


def _activations(units: Sequence[int]) -> list[tuple[int, str | None]]:
    """Pairs units with an activation: relu but for the last."""
    *hidden, last = units
    return [*((n, "relu") for n in hidden), (last, None)]


def _dense(units: Sequence[tuple[int, str | None]]) -> list[keras.layers.Layer]:
    return [keras.layers.Dense(*each) for each in units]
