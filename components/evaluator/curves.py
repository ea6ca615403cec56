"""The points of the plots that show how a model predicts clicks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from components.metrics import (
    Count,
    Floats,
    Integers,
    Weights,
    cumulative_counts,
    reliability,
)

_POINTS = 200
_HISTOGRAM_BINS = 40
_LIFT_PARTS = 10


class Points(BaseModel):
    """A line of a plot.

    Attributes:
        x: of its points, ascending.
        y: of each of them.
    """

    model_config = ConfigDict(frozen=True)

    x: list[float]
    y: list[float]


class Part(BaseModel):
    """A part of the rows: predicted against observed.

    Attributes:
        rows: how many there are, by their weights.
        clicks: those with a click, likewise.
        mean_probability: mean of the predicted probabilities.
    """

    model_config = ConfigDict(frozen=True)

    rows: Count
    clicks: Count
    mean_probability: float


class Histogram(BaseModel):
    """Rows by score.

    Attributes:
        edges: [bins + 1] probabilities between which rows are counted, ascending.
        clicks: [bins] rows with a click.
        non_clicks: [bins] rows without one.
    """

    model_config = ConfigDict(frozen=True)

    edges: list[float]
    clicks: list[Count]
    non_clicks: list[Count]


class Curves(BaseModel):
    """Every plot of a model's probabilities.

    Attributes:
        roc: true positive rate over false positive rate; None without both classes.
        precision_recall: precision over recall; None without a click.
        reliability: the bins of `metrics.reliability`, by score.
        lift: tenths of the rows, those with the highest scores first.
        histogram: the scores of clicks and of non-clicks.
    """

    model_config = ConfigDict(frozen=True)

    roc: Points | None
    precision_recall: Points | None
    reliability: list[Part]
    lift: list[Part]
    histogram: Histogram


def curves(labels: Integers, scores: Floats, weights: Weights | None = None) -> Curves:
    """Computes the plots of `labels` [N], `scores` [N] and their weights, N at least 1."""
    weights = weights or Weights.ones(len(labels))
    hits, predicted = cumulative_counts(labels, scores, weights)
    lift = _lift(hits, predicted, np.unique(scores)[::-1])
    clicks, others = hits[-1], predicted[-1] - hits[-1]
    shown = np.unique(np.linspace(0, len(hits) - 1, _POINTS).round().astype(int))
    hits, predicted = hits[shown], predicted[shown]
    return Curves(
        roc=_points(
            np.append(0, (predicted - hits) / others),
            np.append(0, hits / clicks),
        )
        if clicks and others
        else None,
        precision_recall=_points(hits / clicks, hits / predicted) if clicks else None,
        reliability=[
            Part(rows=rows, clicks=clicks, mean_probability=mean)
            for rows, clicks, mean in zip(*reliability(labels, scores, weights), strict=True)
        ],
        lift=lift,
        histogram=_histogram(labels, scores, weights),
    )


def _lift(hits: Floats, predicted: Floats, scores: Floats) -> list[Part]:
    """Returns tenths of the rows, those with the highest scores first.

    Rows of one score that are in two tenths have as many clicks in each as there are on average.

    Args:
        hits: [M] clicks at or above each distinct score, from the highest down.
        predicted: [M] rows, likewise.
        scores: [M] distinct scores.
    """
    rows = np.diff(predicted, prepend=0)
    edges = np.unique(np.round(np.linspace(0, predicted[-1], _LIFT_PARTS + 1)))
    parts = zip(
        *(
            np.diff(np.interp(edges, np.append(0, predicted), np.append(0, sums)))
            for sums in (predicted, hits, np.cumsum(rows * scores))
        ),
        strict=True,
    )
    return [
        Part(rows=count, clicks=clicks, mean_probability=total / count)
        for count, clicks, total in parts
    ]


def _histogram(labels: Integers, scores: Floats, weights: Weights) -> Histogram:
    edges = np.linspace(0, scores.max() or 1.0, _HISTOGRAM_BINS + 1)
    clicks, others = (
        np.histogram(scores[labels == label], edges, weights=weights.sums[labels == label])[0]
        for label in (1, 0)
    )
    return Histogram(edges=edges.tolist(), clicks=clicks.tolist(), non_clicks=others.tolist())


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    return Points(x=x.tolist(), y=y.tolist())
