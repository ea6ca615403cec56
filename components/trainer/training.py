"""Trains the towers on compact impressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from components.trainer.input_data import Impressions, batches
from components.trainer.optimizer import optimizer_of
from components.trainer.settings import TrainerSettings
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import TwoTower

_STEPS_PER_CALL = 16  # One call of the compiled function costs as much as several small batches.
_VALIDATION_BATCH = 8192


def train(
    model: TwoTower,
    data: TrainingData,
    settings: TrainerSettings,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Fits `model` on binary cross-entropy; keeps the weights of the best epoch.

    Args:
        model: the towers, as initialised.
        data: what to learn from; every epoch is run where it has no rows for validation.
        settings: how.
        callbacks: called beside early stopping.

    Returns:
        `loss`, and `val_loss` where there is validation, by epoch.
    """
    model.compile(
        optimizer=optimizer_of(settings, data.impressions.rows),
        loss=keras.losses.BinaryCrossentropy(
            from_logits=True, label_smoothing=settings.label_smoothing
        ),
        steps_per_execution=_STEPS_PER_CALL,
    )
    # Else the first step makes its variables, and Keras traces that step twice.
    model.optimizer.build(model.trainable_variables)
    validation = data.validation
    watched = batches(validation, data.ads, _VALIDATION_BATCH) if validation.rows else None
    early_stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss" if watched else "loss",
        patience=settings.patience,
        restore_best_weights=True,
    )
    history = model.fit(
        batches(data.impressions, data.ads, settings.batch_size, shuffle_seed=settings.seed),
        validation_data=watched,
        epochs=settings.epochs,
        callbacks=[early_stopping, *callbacks],
        verbose=0,
        shuffle=False,  # The data comes shuffled.
    )
    if settings.calibrate and watched:
        scale, shift = platt(*predict(model, validation, data.ads))
        weight, bias = model.click.get_weights()
        model.click.set_weights([scale * weight, scale * bias + shift])
    return history.history


def predict(
    model: TwoTower, impressions: Impressions, ads: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the logits [N] float32 of impressions, in the order on disk, and their labels [N].

    Args:
        model: the towers.
        impressions: the rows.
        ads: the model's inputs for the ads, by their number.
    """
    rows = batches(impressions, ads, _VALIDATION_BATCH)
    logits = model.predict(rows, verbose=0)
    return logits, np.concatenate([labels for _, labels in rows.as_numpy_iterator()])


def platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Returns a >= 0 and c with which sigmoid(a logit + c) fits the labels best.

    By Newton's method on the log loss. Platt, "Probabilistic Outputs for Support Vector Machines",
    1999, without his smoothing of the labels.

    Args:
        logits: [N].
        labels: 0 or 1 [N].
    """
    inputs = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    found = np.array([1.0, 0.0])
    for _ in range(20):
        probability = (1 + np.tanh(inputs @ found / 2)) / 2  # the sigmoid, without overflow
        gradient = inputs.T @ (probability - labels)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    scale, shift = found
    return (float(scale), float(shift)) if scale >= 0 else (1.0, 0.0)
