"""The points of the plots that show how a model predicts clicks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from components.metrics import Floats, Integers, cumulative_counts, reliability

_POINTS = 200
_HISTOGRAM_BINS = 40
_LIFT_PARTS = 10


class Points(BaseModel):
    """A line of a plot."""

    model_config = ConfigDict(frozen=True)

    x: list[float]
    y: list[float]


class Part(BaseModel):
    """A part of the rows: predicted against observed."""

    model_config = ConfigDict(frozen=True)

    rows: int
    clicks: int
    mean_probability: float


class Histogram(BaseModel):
    """Rows by score: counts between each edge and the next."""

    model_config = ConfigDict(frozen=True)

    edges: list[float]
    clicks: list[int]
    non_clicks: list[int]


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


def curves(labels: Integers, scores: Floats) -> Curves:
    """Computes the plots of `labels` [N] and `scores` [N], N at least 1."""
    hits, predicted = cumulative_counts(labels, scores)
    clicks, others = hits[-1], len(labels) - hits[-1]
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
            for rows, clicks, mean in zip(*reliability(labels, scores), strict=True)
        ],
        lift=[
            Part(
                rows=len(part),
                clicks=int(labels[part].sum()),
                mean_probability=float(scores[part].mean()),
            )
            for part in np.array_split(np.argsort(-scores, kind="stable"), _LIFT_PARTS)
            if len(part)
        ],
        histogram=_histogram(labels, scores),
    )


def _histogram(labels: Integers, scores: Floats) -> Histogram:
    edges = np.linspace(0, scores.max() or 1.0, _HISTOGRAM_BINS + 1)
    return Histogram(
        edges=edges.tolist(),
        clicks=np.histogram(scores[labels == 1], edges)[0].tolist(),
        non_clicks=np.histogram(scores[labels == 0], edges)[0].tolist(),
    )


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    return Points(x=x.tolist(), y=y.tolist())
