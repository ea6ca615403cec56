"""What the exports stand for, where training knew more than a request says, such as a position."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from components.errors import InputError
from components.features import Columns
from components.trainer.impressions import values_of
from components.trainer.training import predict, sigmoid
from components.trainer.training_data import TrainingData
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import CONTEXT, TwoTower

_ROWS = 20_000  # Over which the average is taken.
_QUANTILES = 200  # Of the biases of the context.
_HALVINGS = 60


def leave_context_out(model: TwoTower, data: TrainingData, served: tuple[int, int] | None) -> None:
    """Moves what the context adds on average into the model's own bias.

    Without a context, the probabilities of the training impressions then have the mean that they
    would have if each had been shown in the context of one of them, drawn by chance: the average
    over contexts, whatever the log's habit of showing which ad where. With a context, the model
    predicts what it did before.

    Args:
        model: the trained towers.
        data: what they were trained on.
        served: the column of the context [M] and the value in it that all impressions have instead;
            None to leave the columns as they are.
    """
    if model.context is None:
        return
    logits, clicks, others = predict(model, data.impressions, data.ads)
    weights = clicks + others
    positions = values_of(data.impressions, CONTEXT)
    table = np.asarray(model.context.table)
    logits = logits - table[positions].sum(axis=1)
    is_known = np.bincount(positions.ravel(), minlength=len(table)) > 0
    if served is not None:
        column, value = served
        positions[:, column] = value
    shift = _average(logits, table[positions].sum(axis=1), weights)
    model.click.bias.assign(np.asarray(model.click.bias) + shift)
    # A value that training has not met stays at the average.
    model.context.table.assign(np.where(is_known, table - shift / positions.shape[1], 0))


def served_position(transform: TransformGraph, columns: Columns, value: str) -> tuple[int, int]:
    """Returns the column of the context that is the position, and the number of a value of it.

    Raises:
        InputError: the training data does not have the value.
    """

    def ones(position: str) -> np.ndarray:
        raw = {
            name: tf.constant([""] if dtype == tf.string else [np.nan], dtype)
            for name, dtype in transform.context_inputs.items()
        }
        raw[str(columns.position)] = tf.constant([position])
        return transform.context(transform.from_request(raw))[CONTEXT].numpy()[0]

    found = ones(value)
    (columns_of_value,) = np.nonzero(found != ones("\xff" * 9))
    if not columns_of_value.size:
        raise InputError(
            f"model.served_position: expected a value that {columns.position} has in the training "
            f"data, got {value!r}"
        )
    (column,) = columns_of_value
    return int(column), int(found[column])


def _average(logits: np.ndarray, biases: np.ndarray, weights: np.ndarray) -> float:
    """Returns c with which the mean of sigmoid(logits + c) is that over all pairs with biases."""
    order = np.argsort(biases)
    shares = np.cumsum(weights[order]) / weights.sum()
    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    spread = biases[order][np.searchsorted(shares, middles)]
    some = np.linspace(0, len(logits) - 1, min(_ROWS, len(logits))).astype(int)
    logits, weights = logits[some].astype(np.float64), weights[some]

    def mean(bias: float) -> float:
        return float(np.average(sigmoid(logits + bias), weights=weights))

    target = np.mean([mean(bias) for bias in spread])
    low, high = float(spread[0]), float(spread[-1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < target else (low, middle)
    return (low + high) / 2
