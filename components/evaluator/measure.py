"""What is measured of a model: overall, by slice, and against the model in service."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from components.evaluator.curves import Curves
from components.metrics import ClickMetrics, Count, Estimate
from components.read_artifact import read_file

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


class BaselineMetrics(BaseModel):
    """The model in service, on the same rows.

    Attributes:
        model: its folder; None if no model is in service.
        problem: why it could not be compared with; empty if it was.
        metrics: its metrics.
        auc_drop: its AUC less that of the new model, see `metrics.auc_difference`.
        curves: the points of its plots.
    """

    model_config = ConfigDict(frozen=True)

    model: str | None
    problem: str
    metrics: ClickMetrics | None = None
    auc_drop: Estimate = Estimate(value=None)
    curves: Curves | None = None


class Metrics(BaseModel):
    """All that is measured of a model on the eval split.

    Attributes:
        confidence: certainty of each bound.
        operating_point: probability from which a click is predicted.
        unusable_rows: rows whose probability is not one; nothing else counts them.
        auc_rounding: most that the AUC of all rows may be off; 0 up to a million rows.
        overall: the metrics of all rows.
        slices: the metrics of each slice.
        baseline: the model in service.
        curves: the points of the plots; None if no row is usable.
    """

    model_config = ConfigDict(frozen=True)

    confidence: float
    operating_point: float
    unusable_rows: Count
    auc_rounding: float = 0
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
