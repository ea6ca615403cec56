"""The model against NumPy, against dense one-hot vectors, and against the tutorial's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.optimizer import optimizer_of
from components.trainer.settings import TrainerSettings
from components.trainer.two_tower import (
    AD_ID,
    AD_OF,
    ADS,
    USER,
    USER_ID,
    Centering,
    IdDropout,
    OneHotDense,
    Tower,
    TwoTower,
    ValueDropout,
)


def batch(rows: int = 40, ads: int = 5, width: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        USER: np.stack([draw.integers(0, 5, rows), draw.integers(5, width, rows)], 1),
        ADS: draw.normal(size=(ads, 7)).astype(np.float32),
        AD_OF: draw.integers(0, ads, rows),
        USER_ID: draw.integers(0, 9, rows),
        AD_ID: draw.permutation(ads),
    }


def in_numpy(model: TwoTower, inputs: dict[str, np.ndarray], width: int) -> np.ndarray:
    """The logits, from the formula and the weights alone."""

    def tower(x: np.ndarray, layers: Sequence[keras.layers.Layer]) -> np.ndarray:
        weights = [layer.get_weights() for layer in layers if layer.get_weights()]
        for number, (kernel, bias) in enumerate(weights, start=1):
            x = x @ kernel + bias
            x = np.maximum(x, 0) if number < len(weights) else x
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)

    one_hot = np.eye(width)[inputs[USER]].sum(1)
    users = tower(one_hot, [*model.user_tower.hidden, model.user_tower.last])
    ads = tower(inputs[ADS], [*model.item_tower.hidden, model.item_tower.last])[inputs[AD_OF]]
    kernel, bias = model.click.get_weights()
    return kernel[0, 0] * (users * ads).sum(1) + bias[0]


def test_the_tutorials_model_has_its_number_of_parameters() -> None:
    model = TwoTower(user_width=63, ad_width=768)
    assert model.user_tower.count_params() == 12_320
    assert model.item_tower.count_params() == 108_768
    assert model.count_params() == 121_090


@pytest.mark.parametrize("user_layers", [(), (8,), (8, 6)])
@pytest.mark.parametrize("item_layers", [(), (8, 6)])
def test_logits_are_those_of_the_formula(
    user_layers: tuple[int, ...], item_layers: tuple[int, ...]
) -> None:
    model = TwoTower(12, 7, user_layers=user_layers, item_layers=item_layers, embedding=4)
    model.click.set_weights([np.array([[1.7]]), np.array([-0.4])])
    inputs = batch()
    np.testing.assert_allclose(model(inputs), in_numpy(model, inputs, 12), atol=1e-5)


def test_the_mean_of_the_embeddings_is_subtracted_and_is_not_learned() -> None:
    inputs = batch()
    mean = inputs[ADS].mean(axis=0)
    plain = TwoTower(12, 7, embedding=4)
    centred = TwoTower(12, 7, embedding=4, center_embeddings=True)
    centred.adapt(inputs[ADS])
    centred.user_tower.set_weights(plain.user_tower.get_weights())
    centred.item_tower.set_weights([*plain.item_tower.get_weights(), mean])
    shifted = inputs | {ADS: inputs[ADS] - mean}
    np.testing.assert_allclose(centred(inputs), plain(shifted), atol=1e-6)
    assert len(centred.trainable_variables) == len(plain.trainable_variables)


def test_the_inner_product_of_logit_embeddings_is_the_logit() -> None:
    model = TwoTower(12, 7, user_ids=9, ad_ids=5, embedding=4, normalize=False)
    model.click.set_weights([np.array([[2.5]]), np.array([-1.5])])
    inputs = batch()
    users = model.user_logit_embedding(*model.user_tower(inputs[USER], inputs[USER_ID])).numpy()
    ads = model.item_logit_embedding(*model.item_tower(inputs[ADS], inputs[AD_ID])).numpy()
    ads = ads[inputs[AD_OF]]
    np.testing.assert_allclose((users * ads).sum(1), model(inputs), atol=1e-5)


def test_a_sum_of_rows_is_the_dense_product_and_so_are_its_gradients() -> None:
    layer, dense = OneHotDense(12, 5, "relu"), keras.layers.Dense(5, "relu")
    positions = batch()[USER]
    one_hot = np.eye(12, dtype=np.float32)[positions].sum(1)
    layer(positions), dense(one_hot)
    layer.set_weights(dense.get_weights())
    towards = np.random.default_rng(3).normal(size=(len(positions), 5)).astype(np.float32)
    with tf.GradientTape(persistent=True) as tape:
        output, expected = layer(positions), dense(one_hot)
        loss, expected_loss = tf.reduce_sum(output * towards), tf.reduce_sum(expected * towards)
    np.testing.assert_allclose(output, expected, atol=1e-6)
    for mine, other in zip(layer.trainable_variables, dense.trainable_variables, strict=True):
        np.testing.assert_allclose(
            tape.gradient(loss, mine.value), tape.gradient(expected_loss, other.value), atol=1e-5
        )


def test_one_pass_an_ad_gives_the_gradients_of_one_pass_an_impression() -> None:
    model = TwoTower(12, 7, user_ids=9, ad_ids=5, embedding=4)
    inputs = batch()
    an_impression = inputs | {
        ADS: inputs[ADS][inputs[AD_OF]],
        AD_ID: inputs[AD_ID][inputs[AD_OF]],
        AD_OF: np.arange(len(inputs[AD_OF])),
    }
    labels = (np.arange(len(inputs[AD_OF])) % 3 == 0).astype(np.float32)

    def gradients(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            loss = keras.losses.binary_crossentropy(labels, model(inputs), from_logits=True)
        found = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return [tf.convert_to_tensor(gradient).numpy() for gradient in found]

    for one, other in zip(gradients(inputs), gradients(an_impression), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_order_by_dot_product_stays_order_by_probability() -> None:
    model = TwoTower(12, 7, embedding=4)
    inputs = batch(rows=400)
    users = model.user_tower(inputs[USER])[0].numpy()
    ads = model.item_tower(inputs[ADS])[0].numpy()[inputs[AD_OF]]
    # Clicks against the dot product, which an unbounded weight would follow below zero.
    labels = ((users * ads).sum(1) < 0).astype(np.float32)
    model.compile(keras.optimizers.SGD(5.0), keras.losses.BinaryCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensors((inputs, labels))
    model.fit(data, epochs=30, verbose=0, shuffle=False)
    assert model.click.get_weights()[0][0, 0] >= 0


def test_units_and_ids_are_dropped_when_keras_trains_and_only_then() -> None:
    model = TwoTower(12, 7, user_ids=9, ad_ids=5, embedding=4, dropout=0.5, id_dropout=0.5)
    inputs = batch()
    np.testing.assert_array_equal(model(inputs), model(inputs))
    labels = np.zeros(len(inputs[AD_OF]), np.float32)
    data = tf.data.Dataset.from_tensors((inputs, labels))
    model.compile(keras.optimizers.SGD(0.0), keras.losses.BinaryCrossentropy(from_logits=True))
    losses = model.fit(data, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert len(set(losses)) == 3  # nothing is learned, so only dropping makes them differ


def test_dropped_ids_become_the_unseen_one_and_only_in_training() -> None:
    keras.utils.set_random_seed(1)
    ids = np.arange(1, 10_001)
    layer = IdDropout(0.3)
    np.testing.assert_array_equal(layer(ids), ids)
    dropped = layer(ids, training=True).numpy()
    assert set(dropped - ids) <= {0} | set(-ids)
    assert (dropped == 0).mean() == pytest.approx(0.3, abs=0.02)


# Two columns of one value each around one of up to three: positions 0 to 3, 4 to 7, 8 to 9.
UNKNOWN = [0, 4, -1, -1, 8]


def slots(rows: int = 20_000) -> np.ndarray:
    draw = np.random.default_rng(0)
    several = np.where(draw.random((rows, 2)) < 0.5, -1, [6, 7])
    ones = [draw.integers(1, 4, rows), np.full(rows, 5), *several.T, np.full(rows, 9)]
    return np.column_stack(ones).astype(np.int32)


def test_dropped_values_become_unknown_a_column_at_a_time_and_only_in_training() -> None:
    keras.utils.set_random_seed(1)
    layer = ValueDropout(0.1, UNKNOWN)
    positions = slots()
    np.testing.assert_array_equal(layer(positions), positions)
    after = layer(positions, training=True).numpy()
    first, last = after[:, 0] == 0, after[:, 4] == 8
    several = (after[:, 1:4] == UNKNOWN[1:4]).all(axis=1)
    np.testing.assert_array_equal(after[~first, 0], positions[~first, 0])
    np.testing.assert_array_equal(after[~last, 4], positions[~last, 4])
    np.testing.assert_array_equal(after[~several, 1:4], positions[~several, 1:4])
    for dropped in (first, several, last):
        assert dropped.mean() == pytest.approx(0.1, abs=0.01)
    # All of a row's values at once: the integral of 0.2 u^3.
    assert (first & several & last).mean() == pytest.approx(0.05, abs=0.01)


def test_an_empty_slot_adds_nothing_and_is_not_learned_from() -> None:
    layer = OneHotDense(10, 3, unknown=UNKNOWN)
    positions = tf.constant(slots(rows=50))
    layer.build(None)
    kernel, bias = layer.get_weights()
    one_hot = np.stack([np.eye(10)[row[row >= 0]].sum(0) for row in positions.numpy()])
    with tf.GradientTape() as tape:
        output = layer(positions)
        loss = tf.reduce_sum(output**2)
    np.testing.assert_allclose(output, one_hot @ kernel + bias, atol=1e-5)
    gradient = tape.gradient(loss, layer.kernel.value)
    expected = one_hot.T @ (2 * (one_hot @ kernel + bias))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)


LAYERS: dict[str, tuple[Callable[[], keras.layers.Layer], list[Any]]] = {
    "one-hot dense": (lambda: OneHotDense(12, 5, "relu"), [batch()[USER]]),
    "one-hot dense of several values": (
        lambda: OneHotDense(10, 5, unknown=UNKNOWN, value_dropout=0.1),
        [slots(rows=40)],
    ),
    "value dropout": (lambda: ValueDropout(0.1, UNKNOWN), [slots(rows=40)]),
    "id dropout": (lambda: IdDropout(0.3), [batch()[USER_ID]]),
    "centering": (Centering, [batch()[ADS]]),
    "tower": (
        lambda: Tower([keras.layers.Dense(6, "relu"), keras.layers.Dense(4)], center=True),
        [batch()[ADS]],
    ),
    "tower with ids": (
        lambda: Tower([OneHotDense(12, 4)], ids=9, normalize=False, dropout=0.2, id_dropout=0.1),
        [batch()[USER], batch()[USER_ID]],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_comes_back_from_its_config_and_weights(name: str) -> None:
    make, inputs = LAYERS[name]
    layer = make()
    layer(*inputs)
    draw = np.random.default_rng(1)
    layer.set_weights([draw.normal(size=weight.shape) for weight in layer.get_weights()])
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    copy(*inputs)
    copy.set_weights(layer.get_weights())
    for one, other in zip(
        tf.nest.flatten(layer(*inputs)), tf.nest.flatten(copy(*inputs)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"user_ids": 9, "ad_ids": 5, "normalize": False, "dropout": 0.2, "id_dropout": 0.1},
        {"user_layers": [], "item_layers": [6], "center_embeddings": True},
    ],
)
def test_a_trained_model_is_the_same_when_it_was_saved_and_loaded(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    model = TwoTower(12, 7, embedding=4, **settings)
    inputs = batch()
    model.adapt(inputs[ADS])
    labels = (np.arange(len(inputs[AD_OF])) % 3 == 0).astype(np.float32)
    data = tf.data.Dataset.from_tensors((inputs, labels))
    training = TrainerSettings(schedule="cosine", weight_decay=0.1)
    model.compile(optimizer_of(training, 40), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(data, epochs=2, verbose=0, shuffle=False)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    # It also goes on learning where it was.
    for one, other in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
