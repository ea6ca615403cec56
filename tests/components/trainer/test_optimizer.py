"""Steps and step sizes against Keras'."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.optimizer import Cosine, FusedAdam


@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_steps_are_those_of_keras_adam(weight_decay: float | None) -> None:
    draw = np.random.default_rng(1)
    start = [draw.normal(size=(6, 3)).astype(np.float32), draw.normal(size=3).astype(np.float32)]
    ours, theirs = ([keras.Variable(value) for value in start] for _ in range(2))
    fused = FusedAdam(Cosine(0.1, 20), weight_decay=weight_decay)
    plain = keras.optimizers.Adam(Cosine(0.1, 20), weight_decay=weight_decay)
    for _ in range(20):
        rows = tf.IndexedSlices(
            tf.constant(draw.normal(size=(3, 3)), tf.float32), [4, 0, 4], [6, 3]
        )
        gradients = [rows, tf.constant(draw.normal(size=3), tf.float32)]
        fused.apply(gradients, ours)
        plain.apply([tf.convert_to_tensor(gradient) for gradient in gradients], theirs)
    for one, other, before in zip(ours, theirs, start, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)
        assert np.abs(one.numpy() - before).max() > 0.1


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_step_sizes_are_those_of_keras_cosine_decay(steps: int) -> None:
    ours = Cosine(0.3, steps)
    theirs = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - ours.rise), warmup_target=0.3, warmup_steps=ours.rise
    )
    for step in range(steps):
        assert float(ours(step)) == pytest.approx(float(theirs(step)), abs=1e-6)
