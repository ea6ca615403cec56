"""The plots of the report: Plotly figures, each with its finding in words.

Colors are names of the page's style sheet, as in `var(--accent)`: the page puts its own in, light
or dark, when it draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.evaluator.curves import Histogram, Part, Points
from components.evaluator.measure import Metrics

NEW = "var(--accent)"
OTHER = "var(--other)"
CLICKS = "var(--clicks)"
_LEAST_RECALL = 0.01
REFERENCE = {"color": "var(--line-strong)", "dash": "dot", "width": 1}


@dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        key: its name in the page.
        title: what it shows.
        finding: what is to be seen in it, in words.
        figure: the Plotly figure as plain JSON values.
    """

    key: str
    title: str
    finding: str
    figure: dict[str, Any]

    @property
    def drawing(self) -> tuple[str, dict[str, Any]]:
        """The figure by its name, as the page's script reads it."""
        return self.key, self.figure


def quality_plots(metrics: Metrics) -> Iterator[Plot]:
    """Yields the plots of how a model predicts the eval split."""
    if metrics.curves is None:
        return
    new, other = metrics.curves, metrics.baseline.curves
    if new.roc is not None:
        yield _roc(new.roc, other.roc if other else None, metrics)
    if new.precision_recall is not None:
        yield _precision_recall(
            new.precision_recall, other.precision_recall if other else None, metrics
        )
    yield _reliability(new.reliability, other.reliability if other else None, metrics)
    yield _lift(new.lift, metrics)
    yield _distribution(new.histogram)


def training_plot(history: dict[str, list[float]]) -> Plot:
    """Returns the losses by epoch."""
    names = {"loss": ("training", OTHER), "val_loss": ("validation", NEW)}
    epochs = list(range(1, len(history["loss"]) + 1))
    lines = [
        xy_line(epochs, history[key], name, color, mode="lines+markers")
        for key, (name, color) in names.items()
        if key in history
    ]
    watched = history.get("val_loss", history["loss"])
    best = int(np.argmin(watched))
    kind = "Validation" if "val_loss" in history else "Training"
    figure = xy_figure(lines, "epoch", "log loss")
    figure["layout"]["yaxis"]["rangemode"] = "normal"
    return Plot(
        "training",
        "Training",
        f"{kind} loss is lowest, {watched[best]:.4f}, in epoch {best + 1} of {len(watched)}.",
        figure,
    )


def _roc(new: Points, other: Points | None, metrics: Metrics) -> Plot:
    lines = [
        xy_line([0, 1], [0, 1], "by chance", OTHER, line=REFERENCE),
        *_pair(new, other),
    ]
    finding = f"A click scores above a non-click {metrics.overall.auc.value:.1%} of the time"
    if metrics.baseline.metrics is not None:
        finding += f", in service {metrics.baseline.metrics.auc.value:.1%}"
    return Plot(
        "roc",
        "ROC",
        f"{finding}.",
        xy_figure(lines, "share of non-clicks above the score", "share of clicks above it"),
    )


def _precision_recall(new: Points, other: Points | None, metrics: Metrics) -> Plot:
    rate = metrics.overall.clicks / metrics.overall.rows
    lines = [
        xy_line([0, 1], [rate, rate], "by chance", OTHER, line=REFERENCE),
        *_pair(_from_recall(new), _from_recall(other) if other else None),
    ]
    finding = f"{rate:.1%} of all rows clicked."
    if metrics.overall.precision is not None and metrics.overall.recall is not None:
        finding = (
            f"From probability {metrics.operating_point:.3f} on, {metrics.overall.precision:.1%} "
            f"clicked: {metrics.overall.recall:.1%} of all clicks. By chance, {rate:.1%} would."
        )
    return Plot(
        "precision-recall", "Precision and recall", finding, xy_figure(lines, "recall", "precision")
    )


def _reliability(new: list[Part], other: list[Part] | None, metrics: Metrics) -> Plot:
    highest = max(
        max(part.mean_probability, part.clicks / part.rows) for part in [*new, *(other or [])]
    )
    lines = [
        xy_line([0, highest], [0, highest], "calibrated", OTHER, line=REFERENCE),
        *_pair(_rates(new), _rates(other) if other else None, mode="lines+markers"),
    ]
    calibration = metrics.overall.calibration
    finding = "There was no click to compare with."
    if calibration is not None:
        finding = (
            f"{calibration:.2f} clicks are predicted for each one observed; the mean error of "
            f"a probability is {metrics.overall.ece:.4f}."
        )
    return Plot(
        "reliability",
        "Reliability",
        finding,
        xy_figure(lines, "predicted click rate", "observed click rate"),
    )


def _lift(parts: list[Part], metrics: Metrics) -> Plot:
    rate = metrics.overall.clicks / metrics.overall.rows
    tenths = list(range(1, len(parts) + 1))
    bars = go.Bar(
        x=tenths,
        y=[part.clicks / part.rows for part in parts],
        name="observed",
        marker={"color": NEW, "cornerradius": 2},
        hovertemplate="%{y:.1%} observed<extra></extra>",
    )
    predicted = go.Scatter(
        x=tenths,
        y=[part.mean_probability for part in parts],
        name="predicted",
        mode="markers",
        marker={"color": CLICKS, "symbol": "line-ew-open", "size": 16, "line": {"width": 2}},
        hovertemplate="%{y:.1%} predicted<extra></extra>",
    )
    mean = xy_line([0.5, len(parts) + 0.5], [rate, rate], "all rows", OTHER, line=REFERENCE)
    figure = xy_figure(
        [bars, predicted, mean], "tenth of the rows, highest scores first", "click rate"
    )
    figure["layout"]["xaxis"]["dtick"] = 1
    top = parts[0]
    finding = "No row clicked."
    if rate:
        finding = (
            f"The tenth with the highest scores clicks {top.clicks / top.rows / rate:.1f} times as "
            f"often as all rows, and holds {top.clicks / metrics.overall.clicks:.0%} of the clicks."
        )
    return Plot("lift", "Lift by decile", finding, figure)


def _distribution(histogram: Histogram) -> Plot:
    middles = [(low + high) / 2 for low, high in pairwise(histogram.edges)]
    classes = {"non-clicks": (histogram.non_clicks, OTHER), "clicks": (histogram.clicks, CLICKS)}
    steps = [
        go.Scatter(
            x=middles,
            y=[count / max(sum(counts), 1) for count in counts],
            name=name,
            mode="lines",
            line={"color": color, "width": 2, "shape": "hvh"},
            fill="tozeroy",
            hovertemplate=f"%{{y:.1%}} of the {name}<extra></extra>",
        )
        for name, (counts, color) in classes.items()
    ]
    means = [
        sum(m * count for m, count in zip(middles, counts, strict=True)) / max(sum(counts), 1)
        for counts, _ in classes.values()
    ]
    return Plot(
        "distribution",
        "Scores by class",
        f"The mean score of the clicks is {means[1]:.3f}, that of the non-clicks {means[0]:.3f}.",
        xy_figure(steps, "predicted click rate", "share of the class"),
    )


def _pair(new: Points, other: Points | None, mode: str = "lines") -> list[go.Scatter]:
    """Returns the lines of the model in service, if it has one, and of the new one."""
    lines = [xy_line(new.x, new.y, "this model", NEW, mode=mode)]
    if other is not None:
        lines.insert(0, xy_line(other.x, other.y, "in service", OTHER, mode=mode))
    return lines


def xy_line(
    x: Sequence[float] | Sequence[str],
    y: Sequence[float | None],
    name: str,
    color: str,
    mode: str = "lines",
    line: dict[str, Any] | None = None,
) -> go.Scatter:
    """Returns a line through points; one that is drawn in a style of its own is for reference."""
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=name,
        mode=mode,
        line=line or {"color": color, "width": 2},
        marker={"color": color, "size": 6},
        hoverinfo="skip" if line else "x+y+name",
    )


def xy_figure(traces: Sequence[Any], x: str, y: str) -> dict[str, Any]:
    """Returns a figure of traces, with the titles of its axes."""
    axis = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line-strong)",
        "zeroline": False,
        "fixedrange": True,  # a finger on a plot scrolls the page
        "automargin": True,
    }
    figure: dict[str, Any] = go.Figure(
        data=list(traces),
        layout={
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": "var(--muted)", "size": 12, "family": "system-ui, sans-serif"},
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "dragmode": False,
            "hovermode": "closest",
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "xaxis": {**axis, "title": {"text": x}, "showgrid": False},
            "yaxis": {**axis, "title": {"text": y}, "rangemode": "tozero"},
        },
    ).to_plotly_json()
    return figure


def _rates(parts: list[Part]) -> Points:
    return Points(
        x=[part.mean_probability for part in parts], y=[part.clicks / part.rows for part in parts]
    )


def _from_recall(points: Points) -> Points:
    """Leaves out the start of a precision-recall curve, where precision rests on a few rows."""
    kept = [(x, y) for x, y in zip(points.x, points.y, strict=True) if x >= _LEAST_RECALL]
    return Points(x=[x for x, _ in kept], y=[y for _, y in kept])
