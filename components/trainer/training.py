"""Trains the towers on compact impressions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from components.metrics import Weights
from components.trainer.impressions import Impressions, batches, outcomes
from components.trainer.optimizer import optimizer_of
from components.trainer.settings import TrainerSettings
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import TwoTower

_STEPS_PER_CALL = 16  # One call of the compiled function costs as much as several small batches.
_VALIDATION_BATCH = 8192
_LEAST_ROWS = 16
_STEPS = 400
_LEAST_STEPS = 100  # Of an epoch over folded rows, where there are so many without folding.


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
    impressions, validation = data.impressions, data.validation
    batch_size = rows_a_step(impressions, settings.batch_size)
    passes = passes_an_epoch(impressions, settings.batch_size)
    model.compile(
        optimizer=optimizer_of(settings, passes * -(-impressions.rows // batch_size)),
        loss=ClickLoss(impressions.kept_negatives, settings.label_smoothing),
        steps_per_execution=_STEPS_PER_CALL,
    )
    # Else the first step makes its variables, and Keras traces that step twice.
    model.optimizer.build(model.trainable_variables)
    watched = batches(validation, data.ads, _VALIDATION_BATCH) if validation.rows else None
    early_stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss" if watched else "loss",
        patience=settings.patience,
        restore_best_weights=True,
    )
    history = model.fit(
        batches(impressions, data.ads, batch_size, shuffle_seed=settings.seed).repeat(passes),
        validation_data=watched,
        epochs=settings.epochs,
        callbacks=[early_stopping, *callbacks],
        verbose=0,
        shuffle=False,  # The data comes shuffled.
    )
    if settings.calibrate and watched:
        logits, clicks, others = predict(model, validation, data.ads)
        scale, shift = platt(logits, clicks / (clicks + others), clicks + others)
        weight, bias = model.click.get_weights()
        model.click.set_weights([scale * weight, scale * bias + shift])
        if model.context is not None:
            model.context.table.assign(scale * model.context.table)
    return history.history


class ClickLoss(keras.losses.Loss):
    """Binary cross-entropy of clicks among impressions of which some were left out.

    Where every click is kept and a share s of the rest, the odds of a click are 1 / s times what
    they are among all: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook",
    ADKDD 2014, section 6.3. Logits that are compared after that correction are those of all.

    Args:
        kept_negatives: s.
        label_smoothing: how far labels are moved towards 1/2.
    """

    def __init__(self, kept_negatives: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self._shift = -math.log(kept_negatives)
        self._label_smoothing = label_smoothing

    def call(self, labels: Any, logits: Any) -> Any:
        """Returns the loss [B] of labels from 0 to 1 [B] and logits [B]."""
        smooth = labels * (1 - self._label_smoothing) + self._label_smoothing / 2
        return tf.nn.sigmoid_cross_entropy_with_logits(smooth, logits + self._shift)


def rows_a_step(impressions: Impressions, batch_size: int) -> int:
    """Returns how many rows a step takes, so that folding leaves enough steps to learn in.

    Rows of one impression come `batch_size` at a time. Folded ones may stand for so many that an
    epoch would be over in a few steps; it then has _LEAST_STEPS, or as many as without folding, but
    no step takes fewer rows than _LEAST_ROWS, whose weights may differ much.
    """
    steps = min(_LEAST_STEPS, impressions.weight / batch_size)
    return min(batch_size, max(_LEAST_ROWS, int(impressions.rows / steps)))


def passes_an_epoch(impressions: Impressions, batch_size: int) -> int:
    """Returns how often an epoch goes through the rows: once, unless they are few and folded.

    As often, then, as gives it _STEPS, or as many as without folding.
    """
    steps = -(-impressions.rows // rows_a_step(impressions, batch_size))
    return max(1, math.ceil(min(_STEPS, impressions.weight / batch_size) / steps))


class Scores(NamedTuple):
    """What a model says of rows that stand for several impressions each.

    Attributes:
        logits: [N] float32.
        clicks: [N] impressions with a click, by their weights.
        others: [N] impressions without one, likewise.
    """

    logits: np.ndarray
    clicks: np.ndarray
    others: np.ndarray

    def by_label(self) -> tuple[np.ndarray, np.ndarray, Weights]:
        """Returns labels, probabilities and weights [M] of rows that have one label each."""
        sums = np.concatenate([self.clicks, self.others]).astype(np.float64)
        labels = np.repeat([1, 0], len(self.logits))
        probabilities = np.tile(sigmoid(self.logits.astype(np.float64)), 2)
        there = sums > 0
        return labels[there], probabilities[there], Weights(sums, sums).of(there)


def predict(model: TwoTower, impressions: Impressions, ads: Mapping[str, np.ndarray]) -> Scores:
    """Returns the scores of impressions, in the order on disk.

    Impressions without a click weigh as much as all those of which they were kept.

    Args:
        model: the towers.
        impressions: the rows.
        ads: the model's inputs for the ads, by their number.
    """
    logits = model.predict(batches(impressions, ads, _VALIDATION_BATCH), verbose=0)
    clicks, others = outcomes(impressions)
    return Scores(logits, clicks, others / impressions.kept_negatives)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities of logits, without overflow."""
    return (1 + np.tanh(logits / 2)) / 2


def platt(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | float = 1.0
) -> tuple[float, float]:
    """Returns a >= 0 and c with which sigmoid(a logit + c) fits the labels best.

    By Newton's method on the log loss. Platt, "Probabilistic Outputs for Support Vector Machines",
    1999, without his smoothing of the labels.

    Args:
        logits: [N].
        labels: 0 or 1, or shares of clicks [N].
        weights: of the rows [N].
    """
    inputs = np.stack([logits, np.ones_like(logits)], axis=1).astype(np.float64)
    found = np.array([1.0, 0.0])
    for _ in range(20):
        probability = sigmoid(inputs @ found)
        gradient = inputs.T @ (weights * (probability - labels))
        curvature = (inputs * (weights * probability * (1 - probability))[:, None]).T @ inputs
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        found -= step
        if np.abs(step).max() < 1e-9:
            break
    scale, shift = found
    return (float(scale), float(shift)) if scale >= 0 else (1.0, 0.0)
