"""Measures a model on its scored rows: overall, by slice, and against the model in service."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from components.evaluator.curves import Curves, curves
from components.evaluator.files import read_file
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.slices import slices
from components.evaluator.tables import BASELINE_PROBABILITY
from components.features import PROBABILITY, Columns
from components.metrics import (
    ClickMetrics,
    Estimate,
    Floats,
    Integers,
    Weights,
    auc_difference,
    click_metrics,
    is_probability,
    quantiles,
)
from components.outcomes import weights_of

METRICS_FILE = "metrics.json"


class SliceMetrics(BaseModel):
    """The metrics of one slice.

    Attributes:
        where: the value of each column that makes the slice.
        metrics: its metrics.
    """

    model_config = ConfigDict(frozen=True)

    where: dict[str, str]
    metrics: ClickMetrics


@dataclass(frozen=True)
class Baseline:
    """The model in service.

    Attributes:
        model: its folder; None if no model is in service.
        problem: why it did not score the rows; empty if it did.
        scores: its probabilities of the rows [N].
    """

    model: str | None
    problem: str = ""
    scores: Floats | None = None


class BaselineMetrics(BaseModel):
    """The model in service, on the same rows.

    Attributes:
        model: its folder; None if no model is in service.
        problem: why it could not be compared with; empty if it was.
        metrics: its metrics.
        auc_drop: its AUC less that of the new model, see `metrics.auc_difference`.
    """

    model_config = ConfigDict(frozen=True)

    model: str | None
    problem: str
    metrics: ClickMetrics | None = None
    auc_drop: Estimate = Estimate(value=None)


class Metrics(BaseModel):
    """All that is measured of a model on the eval split.

    Attributes:
        confidence: certainty of each bound.
        operating_point: probability from which a click is predicted.
        unusable_rows: rows whose probability is not one; nothing else counts them.
        overall: the metrics of all rows.
        slices: the metrics of each slice.
        baseline: the model in service.
        curves: the points of the plots; None if no row is usable.
    """

    model_config = ConfigDict(frozen=True)

    confidence: float
    operating_point: float
    unusable_rows: int
    overall: ClickMetrics
    slices: tuple[SliceMetrics, ...]
    baseline: BaselineMetrics
    curves: Curves | None


def read_metrics(folder: str) -> Metrics:
    """Reads the metrics in an evaluation artifact's `folder`, a path or a URI.

    Raises:
        FileNotFoundError: there are none.
    """
    return Metrics.model_validate_json(read_file(folder, METRICS_FILE))


def measure(
    scored: pa.Table, columns: Columns, settings: EvaluatorSettings, baseline: Baseline
) -> Metrics:
    """Measures the model of a score table.

    Args:
        scored: as made by `tables.score_table`.
        columns: which columns hold the text, the ids, the label and the attributes.
        settings: the evaluator's settings.
        baseline: the model in service.
    """
    usable = scored.filter(is_probability(scored[PROBABILITY].to_numpy()))
    rows = _rows(usable, columns, settings)
    return Metrics(
        confidence=settings.confidence,
        operating_point=rows.operating_point,
        unusable_rows=len(scored) - len(usable),
        overall=rows.metrics(),
        slices=tuple(
            SliceMetrics(where=part.where, metrics=rows.take(part.rows).metrics())
            for part in slices(usable, columns, settings.crosses, settings.max_slices)
        ),
        baseline=_compare(rows, usable[BASELINE_PROBABILITY], baseline),
        curves=curves(rows.labels, rows.scores) if len(usable) else None,
    )


@dataclass(frozen=True)
class _Rows:
    """Rows as arrays [N], and how they are measured; `users` is None where there is no user id."""

    labels: Integers
    scores: Floats
    ads: Integers
    users: Integers | None
    confidence: float
    operating_point: float
    weights: Weights

    def take(self, positions: Integers) -> _Rows:
        return replace(
            self,
            labels=self.labels[positions],
            scores=self.scores[positions],
            ads=self.ads[positions],
            users=None if self.users is None else self.users[positions],
            weights=self.weights.of(positions),
        )

    def metrics(self) -> ClickMetrics:
        return click_metrics(
            self.labels,
            self.scores,
            self.ads,
            self.users,
            confidence=self.confidence,
            operating_point=self.operating_point,
            weights=self.weights,
        )


def _rows(scored: pa.Table, columns: Columns, settings: EvaluatorSettings) -> _Rows:
    scores = scored[PROBABILITY].to_numpy()
    weights = weights_of(scored)
    top_tenth = float(quantiles(scores, np.array([0.9]), weights)[0]) if len(scores) else 0.0
    return _Rows(
        labels=scored[columns.label].to_numpy(),
        scores=scores,
        ads=_numbers(scored[columns.ad_id]),
        users=_numbers(scored[columns.user_id]) if columns.user_id else None,
        confidence=settings.confidence,
        operating_point=settings.operating_point or top_tenth,
        weights=weights,
    )


def _compare(rows: _Rows, scores: pa.ChunkedArray, baseline: Baseline) -> BaselineMetrics:
    """Measures the model in service by its `scores` of the rows."""
    if baseline.problem:
        return BaselineMetrics(model=baseline.model, problem=baseline.problem)
    in_service = replace(rows, scores=scores.to_numpy())
    return BaselineMetrics(
        model=baseline.model,
        problem="",
        metrics=in_service.metrics(),
        auc_drop=auc_difference(
            rows.labels, in_service.scores, rows.scores, rows.confidence, rows.weights
        ),
    )


def _numbers(column: pa.ChunkedArray) -> Integers:
    """Numbers the distinct values [N]; a missing one is -1."""
    indices = column.combine_chunks().dictionary_encode().indices
    return pc.fill_null(indices, -1).to_numpy()
