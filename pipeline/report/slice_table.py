"""The slices of the eval split as rows of a table, with the scale that their AUCs are drawn on."""

from __future__ import annotations

from dataclasses import dataclass

from components.evaluator.measure import Metrics
from components.evaluator.slices import label
from components.metrics import ClickMetrics


@dataclass(frozen=True)
class SliceRow:
    """A slice.

    Attributes:
        name: its name.
        metrics: its metrics.
        has_enough: whether it has enough clicks and non-clicks to be judged.
    """

    name: str
    metrics: ClickMetrics
    has_enough: bool


@dataclass(frozen=True)
class SliceTable:
    """The slices, and the range of AUC that a table of them has to show.

    Attributes:
        rows: a slice each.
        least: lowest bound of the AUC of any slice with enough clicks; 0 without one.
        greatest: highest bound, likewise; 1 without one.
    """

    rows: list[SliceRow]
    least: float
    greatest: float


def slice_table(metrics: Metrics, enough: int) -> SliceTable:
    """Makes the table.

    Args:
        metrics: what was measured.
        enough: clicks, and non-clicks, from which a slice is judged.
    """
    rows = [
        SliceRow(label(part.where), part.metrics, _fewer(part.metrics) >= enough)
        for part in metrics.slices
    ]
    areas = [row.metrics.auc for row in rows if row.has_enough]
    bounds = [bound for area in areas for bound in (area.low, area.high) if bound is not None]
    return SliceTable(rows, min(bounds, default=0.0), max(bounds, default=1.0))


def _fewer(metrics: ClickMetrics) -> float:
    return min(metrics.clicks, metrics.rows - metrics.clicks)
