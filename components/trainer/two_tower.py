"""The two towers: p(click) = sigmoid(w * cos(user, ad) + b).

A user tower over one-hot attributes and an item tower over the embedding of the ad's text end in
the same number of units, are l2-normalized and meet in a dot product and one sigmoid unit, as in
Predictive Hacks, "Content-Based Recommender Systems in TensorFlow and BERT Embeddings".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PACKAGE = "twotower"  # under which Keras finds the classes of a saved model

# The model's inputs.
USER = "user_positions"
USER_ID = "user_id"
CONTEXT = "context_positions"
ADS = "ad_vectors"
AD_ATTRIBUTES = "ad_positions"
AD_ID = "ad_id"
AD_OF = "ad_of_impression"


@keras.saving.register_keras_serializable(_PACKAGE)
class OneHotDense(keras.layers.Layer):
    """A Dense layer over one-hot vectors that are given as the positions of their ones.

    A one-hot vector times a matrix is a sum of rows of that matrix: no vector is ever built.

    Args:
        width: columns of the one-hot vectors.
        units: units of the layer.
        activation: as in keras.layers.Dense.
        unknown: what takes the place of each slot where a value is not known, see `ValueDropout`;
            () where it has no values to drop and no slot is ever empty.
        value_dropout: share of the values that are dropped in training.
        **kwargs: of keras.layers.Layer.

    Examples:
        >>> layer = OneHotDense(width=6, units=2)
        >>> layer(np.array([[0, 3], [1, 5]])).shape  # two rows with two ones each
        TensorShape([2, 2])
    """

    def __init__(
        self,
        width: int,
        units: int,
        activation: str | None = None,
        *,
        unknown: Sequence[int] = (),
        value_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.units = units
        self.activation = keras.activations.get(activation)
        self.value_dropout = ValueDropout(value_dropout, unknown)

    def build(self, _input_shape: Any) -> None:
        self.kernel = self.add_weight(shape=(self.width, self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, positions: Any) -> Any:
        """Maps positions [B, S] int, -1 in an empty slot, to [B, units]."""
        kernel = tf.convert_to_tensor(self.kernel)
        rows = _sum_of_rows(kernel, self.value_dropout(positions), self.value_dropout.has_empty)
        return self.activation(rows + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return super().get_config() | {
            "width": self.width,
            "units": self.units,
            "activation": activation,
            "unknown": self.value_dropout.unknown,
            "value_dropout": self.value_dropout.rate,
        }


def _sum_of_rows(kernel: tf.Tensor, positions: tf.Tensor, has_empty: bool) -> tf.Tensor:
    """Returns kernel[positions] [B, S, units], summed over S; -1 adds nothing.

    TensorFlow's own gradient is a list of rows, which every step of Adam would sort and add up; the
    one here is added up as it is made.

    Args:
        kernel: [width, units].
        positions: [B, S].
        has_empty: whether a position may be -1.
    """

    @tf.custom_gradient
    def sum_of_rows(kernel: tf.Tensor, positions: tf.Tensor) -> tuple[tf.Tensor, Any]:
        slots = tf.shape(positions)[1]

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
            of_rows = tf.repeat(upstream, slots, axis=0)
            where = tf.reshape(positions, [-1])
            # It leaves out what is at -1.
            return tf.math.unsorted_segment_sum(of_rows, where, tf.shape(kernel)[0]), None

        if not has_empty:
            return tf.reduce_sum(tf.gather(kernel, positions), axis=1), gradient
        rows = tf.gather(kernel, tf.maximum(positions, 0))
        is_full = tf.cast(positions >= 0, kernel.dtype)
        return tf.reduce_sum(rows * is_full[:, :, None], axis=1), gradient

    return sum_of_rows(kernel, positions)


@keras.saving.register_keras_serializable(_PACKAGE)
class ValueDropout(keras.layers.Layer):
    """Takes columns' values for unknown ones at random in training.

    So a tower learns what to make of a value that no training row has: what the other columns say
    alone. Of some rows any number of values is dropped, all of them among others.

    Args:
        rate: share of the values that are dropped, at most 1/2.
        unknown: what takes the place of each slot where its column's value is not known [S]: a
            position in the first slot of a column, -1 in the further ones that it may have; see
            transform.layout.Part.
        **kwargs: of keras.layers.Layer.

    Example:
        >>> ValueDropout(0.05, [0, 3])(np.array([[1, 5]])).numpy()  # only training drops any
        array([[1, 5]])
    """

    def __init__(self, rate: float, unknown: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.unknown = list(unknown)
        self.has_empty = any(position < 0 for position in self.unknown)
        self.seed = keras.random.SeedGenerator()

    def call(self, positions: Any, training: bool = False) -> Any:
        """Maps positions [B, S] int to positions [B, S]."""
        if not training or not self.rate or not self.unknown:
            return positions
        column = np.cumsum(np.array(self.unknown) >= 0) - 1  # of each slot
        rows = keras.ops.shape(positions)[0]

        def draw(columns: int) -> Any:
            return keras.random.uniform((rows, columns), seed=self.seed)

        # In a row that has any dropped, the share of its values is drawn evenly from 0 to 1.
        share = keras.ops.where(draw(1) < 2 * self.rate, draw(1), 0.0)
        dropped = keras.ops.take(draw(int(column[-1]) + 1) < share, column, axis=1)
        unknown = keras.ops.cast(self.unknown, positions.dtype)
        return keras.ops.where(dropped, unknown, positions)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rate": self.rate, "unknown": self.unknown}


@keras.saving.register_keras_serializable(_PACKAGE)
class IdDropout(keras.layers.Layer):
    """Takes ids for the unseen one at random in training, so that a tower learns to do without.

    As in Volkovs, Yu and Poutanen, "DropoutNet: Addressing Cold Start in Recommender Systems",
    NeurIPS 2017.

    Args:
        rate: share of the ids that are dropped.
        **kwargs: of keras.layers.Layer.

    Examples:
        >>> IdDropout(0.5)(np.array([3, 1, 2])).numpy()  # outside training, ids stay as they are
        array([3, 1, 2])
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.seed = keras.random.SeedGenerator()

    def call(self, ids: Any, training: bool = False) -> Any:
        """Maps ids [B] to ids [B], 0 being the unseen one."""
        if not training or not self.rate:
            return ids
        kept = keras.random.uniform(keras.ops.shape(ids), seed=self.seed) >= self.rate
        return keras.ops.where(kept, ids, keras.ops.zeros_like(ids))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rate": self.rate}


@keras.saving.register_keras_serializable(_PACKAGE)
class Centering(keras.layers.Layer):
    """Subtracts the mean of the vectors that it was adapted to; training leaves it as it is.

    What all embeddings of an encoder share hides what tells them apart. Mu and Viswanath,
    "All-but-the-Top: Simple and Effective Postprocessing for Word Representations", ICLR 2018.

    Without `adapt`, nothing is subtracted.

    Examples:
        >>> layer = Centering()
        >>> layer.adapt(np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
        >>> layer(np.array([[2.0, 4.0]], np.float32)).numpy()
        array([[0., 1.]], dtype=float32)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.mean = self.add_weight(
            shape=input_shape[-1:], initializer="zeros", trainable=False, name="mean"
        )

    def adapt(self, vectors: np.ndarray) -> None:
        """Takes the mean of `vectors` [n, H] for what is subtracted."""
        if not self.built:
            self.build(vectors.shape)
        self.mean.assign(vectors.mean(axis=0))

    def call(self, vectors: Any) -> Any:
        """Maps [B, H] to [B, H]."""
        return vectors - self.mean

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape


@keras.saving.register_keras_serializable(_PACKAGE)
class DenseBesideOneHot(keras.layers.Layer):
    """A Dense layer over vectors with one-hot vectors beside them.

    Args:
        one_hot: the part of the layer over the one-hot vectors, without an activation.
        activation: as in keras.layers.Dense.
        **kwargs: of keras.layers.Layer.

    Example:
        >>> layer = DenseBesideOneHot(OneHotDense(width=6, units=2), "relu")
        >>> layer([np.ones((1, 4), np.float32), np.array([[0, 3]])]).shape
        TensorShape([1, 2])
    """

    def __init__(self, one_hot: OneHotDense, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.one_hot = one_hot
        self.units = one_hot.units
        self.dense = keras.layers.Dense(one_hot.units, use_bias=False)  # one_hot has it
        self.activation = keras.activations.get(activation)

    def build(self, input_shapes: Sequence[tuple[int | None, ...]]) -> None:
        vectors, positions = input_shapes
        self.dense.build(vectors)
        self.one_hot.build(positions)

    def call(self, inputs: Sequence[Any]) -> Any:
        """Maps vectors [B, H] and positions [B, S] int, -1 in an empty slot, to [B, units]."""
        vectors, positions = inputs
        return self.activation(self.dense(vectors) + self.one_hot(positions))

    def compute_output_shape(
        self, input_shapes: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        return (*input_shapes[0][:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "one_hot": keras.saving.serialize_keras_object(self.one_hot),
            "activation": keras.activations.serialize(self.activation),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DenseBesideOneHot:
        """Makes a layer of what `get_config` returned."""
        return cls(**config | {"one_hot": keras.saving.deserialize_keras_object(config["one_hot"])})


@keras.saving.register_keras_serializable(_PACKAGE)
class Tower(keras.layers.Layer):
    """Maps features, and an id where the model uses ids, to an embedding and a bias.

    Args:
        layers: over the features; the last has no activation.
        ids: how many ids there are, the unseen one among them; 0 not to use any.
        normalize: whether embeddings have length 1.
        dropout: share of the units that are dropped in training.
        id_dropout: share of the ids that are dropped in training.
        center: whether a mean is subtracted from the features first, see `Centering`.
        **kwargs: of keras.layers.Layer.

    Examples:
        >>> tower = Tower([keras.layers.Dense(8, "relu"), keras.layers.Dense(4)], ids=10)
        >>> embedding, bias = tower(np.ones((2, 5), np.float32), np.array([7, 0]))
        >>> embedding.shape, bias.shape
        (TensorShape([2, 4]), TensorShape([2]))
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.Layer],
        *,
        ids: int = 0,
        normalize: bool = True,
        dropout: float = 0.0,
        id_dropout: float = 0.0,
        center: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden = list(layers[:-1])
        self.last = layers[-1]
        self.ids = ids
        self.dropout = keras.layers.Dropout(dropout)
        self.normalize = keras.layers.UnitNormalization() if normalize else None
        self.id_dropout = IdDropout(id_dropout)
        # An id's embedding, and its bias in the last column.
        self.id_rows = keras.layers.Embedding(ids, self.last.units + 1) if ids else None
        self.center = Centering() if center else None

    def build(
        self,
        features_shape: tuple[int | None, ...],
        ids_shape: Any = None,
        positions_shape: Any = None,
    ) -> None:
        if self.center is not None:
            self.center.build(features_shape)
        shape = features_shape if positions_shape is None else (features_shape, positions_shape)
        for layer in [*self.hidden, self.last]:
            if not layer.built:  # as one that comes from a config is
                layer.build(shape)
            shape = layer.compute_output_shape(shape)
        if self.id_rows is not None:
            self.id_rows.build(ids_shape)

    def call(self, features: Any, ids: Any = None, positions: Any = None) -> tuple[Any, Any]:
        """Returns embeddings [B, units] and biases [B].

        Args:
            features: [B, ...].
            ids: [B], where the tower has ids.
            positions: of the ones beside the features [B, S], where the first layer takes them.
        """
        if self.center is not None:
            features = self.center(features)
        inputs = features if positions is None else [features, positions]
        for layer in self.hidden:
            inputs = self.dropout(layer(inputs))
        embedding = self.last(inputs)
        bias = keras.ops.zeros_like(embedding[:, 0])
        if self.id_rows is not None:
            rows = self.id_rows(self.id_dropout(ids))
            embedding = embedding + self.dropout(rows[:, :-1])
            bias = rows[:, -1]
        return (self.normalize(embedding) if self.normalize else embedding), bias

    def get_config(self) -> dict[str, Any]:
        layers = [keras.saving.serialize_keras_object(each) for each in (*self.hidden, self.last)]
        return super().get_config() | {
            "layers": layers,
            "ids": self.ids,
            "normalize": self.normalize is not None,
            "dropout": self.dropout.rate,
            "id_dropout": self.id_dropout.rate,
            "center": self.center is not None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Tower:
        """Makes a tower of what `get_config` returned."""
        layers = [keras.saving.deserialize_keras_object(each) for each in config["layers"]]
        return cls(**config | {"layers": layers})


@keras.saving.register_keras_serializable(_PACKAGE)
class ContextBias(keras.layers.Layer):
    """A bias of what is known in training only, such as an ad's position on the page.

    It is learned beside the towers, so that they need not explain it, and is not there when a
    request comes: the shallow tower of Zhao et al., "Recommending What Video to Watch Next: A
    Multitask Ranking System", RecSys 2019, section 4.3.

    Args:
        width: columns of the one-hot vectors of the context.
        **kwargs: of keras.layers.Layer.

    Example:
        >>> layer = ContextBias(width=3)
        >>> layer(np.array([[0], [2]])).shape
        TensorShape([2])
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width

    def build(self, _input_shape: Any) -> None:
        self.table = self.add_weight(shape=(self.width,), initializer="zeros", name="table")

    def call(self, positions: Any) -> Any:
        """Maps positions of ones [B, M] to biases [B]."""
        return keras.ops.sum(keras.ops.take(self.table, positions, axis=0), axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape[:1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"width": self.width}


@keras.saving.register_keras_serializable(_PACKAGE)
class TwoTower(keras.Model):
    """A user tower and an item tower joined by a dot product.

    logit = w (u . v + bias of the user + bias of the ad) + b, with w >= 0, so that the order of ads
    by inner product is their order by probability. Biases belong to ids, and are 0 without. Where
    the context of the impressions is given, its bias comes on top.

    The item tower runs once per distinct ad of a batch; its output is gathered for the impressions.

    Args:
        user_width: columns of the one-hot user vector.
        ad_width: numbers in the embedding of an ad's text.
        ad_attribute_width: columns of the one-hot vector of an ad's attributes; 0 not to use any.
        user_ids: how many user ids there are, the unseen one among them; 0 not to use any.
        ad_ids: the same of ads.
        context_width: columns of the one-hot vector of what is known in training only; 0 for none.
        user_layers: units of the user tower's hidden layers.
        item_layers: units of the item tower's hidden layers.
        embedding: units in which both towers end.
        normalize: whether embeddings have length 1, so that their product is a cosine.
        center_embeddings: whether a mean is subtracted from the embedding of an ad's text, which
            `adapt` takes.
        dropout: share of the units that are dropped in training.
        id_dropout: share of the ids that are dropped in training.
        value_dropout: share of the attributes' values that are dropped in training.
        user_unknown: what takes the place of each slot of a user's positions where an attribute's
            value is not known, see `ValueDropout`.
        ad_unknown: the same of an ad's positions.
        **kwargs: of keras.Model.

    Examples:
        >>> model = TwoTower(user_width=6, ad_width=3)
        >>> users = np.array([[0, 3], [1, 5], [2, 4]])  # the ones of three users' vectors
        >>> ads = np.eye(2, 3, dtype=np.float32)  # the embeddings of two ads' texts
        >>> logits = model({USER: users, ADS: ads, AD_OF: np.array([0, 1, 0])})
        >>> logits.shape
        TensorShape([3])
    """

    def __init__(
        self,
        user_width: int,
        ad_width: int,
        *,
        ad_attribute_width: int = 0,
        user_ids: int = 0,
        ad_ids: int = 0,
        context_width: int = 0,
        user_layers: Sequence[int] = (128,),
        item_layers: Sequence[int] = (128, 64),
        embedding: int = 32,
        normalize: bool = True,
        center_embeddings: bool = False,
        dropout: float = 0.0,
        id_dropout: float = 0.0,
        value_dropout: float = 0.0,
        user_unknown: Sequence[int] = (),
        ad_unknown: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config: dict[str, Any] = {
            "user_width": user_width,
            "ad_width": ad_width,
            "ad_attribute_width": ad_attribute_width,
            "user_ids": user_ids,
            "ad_ids": ad_ids,
            "context_width": context_width,
            "user_layers": list(user_layers),
            "item_layers": list(item_layers),
            "embedding": embedding,
            "normalize": normalize,
            "center_embeddings": center_embeddings,
            "dropout": dropout,
            "id_dropout": id_dropout,
            "value_dropout": value_dropout,
            "user_unknown": list(user_unknown),
            "ad_unknown": list(ad_unknown),
        }
        common: dict[str, Any] = {
            "normalize": normalize,
            "dropout": dropout,
            "id_dropout": id_dropout,
        }
        (units, activation), *others = _activations((*user_layers, embedding))
        one_hot = OneHotDense(
            user_width, units, activation, unknown=user_unknown, value_dropout=value_dropout
        )
        user_dense = [one_hot, *_dense(others)]
        (units, activation), *others = _activations((*item_layers, embedding))
        if ad_attribute_width:
            one_hot = OneHotDense(
                ad_attribute_width, units, unknown=ad_unknown, value_dropout=value_dropout
            )
            item_dense = [DenseBesideOneHot(one_hot, activation), *_dense(others)]
        else:
            item_dense = _dense([(units, activation), *others])
        self.user_tower = Tower(user_dense, ids=user_ids, name="user_tower", **common)
        self.item_tower = Tower(
            item_dense, ids=ad_ids, center=center_embeddings, name="item_tower", **common
        )
        self.click = keras.layers.Dense(
            1, kernel_initializer="ones", kernel_constraint="non_neg", name="click"
        )
        self.context = ContextBias(context_width, name="context") if context_width else None
        self.build()

    def build(self, _input_shape: Any = None) -> None:
        """Makes the weights, whose shapes follow from the arguments alone."""
        self.user_tower.build((None, None), (None,))
        beside = (None, None) if self._config["ad_attribute_width"] else None
        self.item_tower.build((None, self._config["ad_width"]), (None,), beside)
        self.click.build((None, 1))
        if self.context is not None:
            self.context.build((None, None))

    def adapt(self, ad_vectors: np.ndarray) -> None:
        """Takes the mean to subtract, where one is, from the embeddings of ads' texts [n, H]."""
        if self.item_tower.center is not None:
            self.item_tower.center.adapt(ad_vectors)

    # Keras tells a model that it trains, and so its layers, only where it takes `training`.
    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Returns the logits [B] of a click.

        Args:
            inputs: of `users` for B impressions, of `ads` for n distinct ads; AD_OF: which of these
                each impression shows [B] int; CONTEXT: positions of the ones [B, M] int, absent
                where the probabilities to serve are wanted.
            training: whether to drop units and ids.
        """
        users, user_bias = self.users(inputs)
        ads, ad_bias = self.ads(inputs)
        ads = keras.ops.take(ads, inputs[AD_OF], axis=0)
        ad_bias = keras.ops.take(ad_bias, inputs[AD_OF], axis=0)
        match = keras.ops.sum(users * ads, axis=-1) + user_bias + ad_bias
        logits = self.click(match[:, None])[:, 0]
        if self.context is None or CONTEXT not in inputs:
            return logits
        return logits + self.context(inputs[CONTEXT])

    def users(self, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Returns the user tower's embeddings [B, units] and biases [B].

        Args:
            inputs: USER: positions of the ones [B, S] int; USER_ID: [B] int, if it is used.
        """
        return self.user_tower(inputs[USER], inputs.get(USER_ID))

    def ads(self, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Returns the item tower's embeddings [n, units] and biases [n].

        Args:
            inputs: ADS: vectors [n, H]; AD_ATTRIBUTES: positions of the ones [n, S] int, and
                AD_ID: [n] int, if they are used.
        """
        beside = inputs[AD_ATTRIBUTES] if self._config["ad_attribute_width"] else None
        return self.item_tower(inputs[ADS], inputs.get(AD_ID), beside)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self._config

    def user_logit_embedding(self, embedding: Any, bias: Any) -> Any:
        """Returns [B, units + 2]: w u, w bias + b, w; with an ad's, its product is the logit.

        Args:
            embedding: of users, by the user tower [B, units].
            bias: the bias of each of these users [B].
        """
        weight, constant = self.click.kernel[0, 0], self.click.bias[0]
        last = [weight * bias + constant, weight * keras.ops.ones_like(bias)]
        return keras.ops.concatenate([weight * embedding, keras.ops.stack(last, axis=1)], axis=1)

    def item_logit_embedding(self, embedding: Any, bias: Any) -> Any:
        """Returns [B, units + 2]: v, 1, bias.

        Args:
            embedding: of ads, by the item tower [B, units].
            bias: the bias of each of these ads [B].
        """
        last = [keras.ops.ones_like(bias), bias]
        return keras.ops.concatenate([embedding, keras.ops.stack(last, axis=1)], axis=1)


def _activations(units: Sequence[int]) -> list[tuple[int, str | None]]:
    """Pairs units with an activation: relu but for the last."""
    *hidden, last = units
    return [*((n, "relu") for n in hidden), (last, None)]


def _dense(units: Sequence[tuple[int, str | None]]) -> list[keras.layers.Layer]:
    return [keras.layers.Dense(*each) for each in units]
