"""Lets training begin where the model in service is, instead of at random weights."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import tensorflow as tf

from components.features import ITEM_TOWER, USER_TOWER
from components.metrics import log_loss
from components.serving_root import newest
from components.trainer.training import predict
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import TwoTower

# How a checkpoint names the variables that saved_model.ExportedModule holds, in their order.
_HELD = "_held/{}/.ATTRIBUTES/VARIABLE_VALUE"


def warm_start(model: TwoTower, data: TrainingData, serving_root: Path) -> int | None:
    """Gives `model` the weights of the newest pushed towers, where shapes match.

    A row of a table belongs to the category or the id that had that number when it was learned, so
    the numbers may have come to mean others. Weights that predict the data no better than those
    `model` came with are therefore not kept.

    Args:
        model: the towers, as initialised.
        data: what they are to learn from.
        serving_root: folder with the models in service.

    Returns:
        The version that the weights are of; None where the model is as it was.
    """
    version = newest(serving_root)
    if version is None:
        return None
    initial = model.get_weights()
    loss = _loss(model, data)
    # An export holds its tower's weights first, see export.Exporter.
    _take(version.folder(ITEM_TOWER), model.item_tower.weights)
    _take(version.folder(USER_TOWER), [*model.user_tower.weights, *model.click.weights])
    if _loss(model, data) < loss:
        return version.number
    model.set_weights(initial)
    return None


def _take(folder: Path, weights: list[keras.Variable]) -> None:
    checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    for number, weight in enumerate(weights):
        key = _HELD.format(number)
        if checkpoint.has_tensor(key):
            value = checkpoint.get_tensor(key)
            if value.shape == tuple(weight.shape):
                weight.assign(value)


def _loss(model: TwoTower, data: TrainingData) -> float:
    rows = data.validation if data.validation.rows else data.impressions
    loss = log_loss(*predict(model, rows, data.ads).by_label())
    return math.inf if loss is None else loss
