"""The plots: their points and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import auc

from components.evaluator.tables import SCORES_FILE
from pipeline.report.plots import Plot, quality_plots, training_plot
from pipeline.report.run_artifacts import RunArtifacts, read_artifacts
from tests.evaluations import evaluate

if TYPE_CHECKING:
    from conftest import Runs
else:
    Runs = Any


@pytest.fixture(scope="module")
def run(new_runs: Callable[[], Runs]) -> RunArtifacts:
    return read_artifacts(new_runs().make("pushed", version=2, in_service=1))


@pytest.fixture(scope="module")
def plots(run: RunArtifacts) -> dict[str, Plot]:
    assert run.metrics is not None
    return {plot.key: plot for plot in quality_plots(run.metrics)}


def line(plot: Plot, name: str) -> tuple[np.ndarray, np.ndarray]:
    (trace,) = [trace for trace in plot.figure["data"] if trace["name"] == name]
    return np.array(trace["x"]), np.array(trace["y"])


def scored(run: RunArtifacts) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the eval split."""
    folder = run.record.output("evaluator", "evaluation")
    assert folder is not None
    table = pq.read_table(folder / SCORES_FILE)
    return table["clicked"].to_numpy(), table["probability"].to_numpy()


def test_figures_are_plain_values_in_the_colors_of_the_page(plots: dict[str, Plot]) -> None:
    for plot in plots.values():
        assert "var(--accent)" in json.dumps(plot.figure) or plot.key == "distribution"
        assert "#" not in json.dumps(plot.figure)


def test_the_curves_are_of_both_models(run: RunArtifacts, plots: dict[str, Plot]) -> None:
    assert run.metrics is not None
    assert run.metrics.baseline.metrics is not None
    for name, metrics in (
        ("this model", run.metrics.overall),
        ("in service", run.metrics.baseline.metrics),
    ):
        assert auc(*line(plots["roc"], name)) == pytest.approx(metrics.auc.value, abs=2e-3)
        recall, precision = line(plots["precision-recall"], name)
        assert recall[-1] == 1
        assert precision[-1] == pytest.approx(metrics.clicks / metrics.rows)


def test_lift_is_said_as_it_is(run: RunArtifacts, plots: dict[str, Plot]) -> None:
    labels, scores = scored(run)
    highest = labels[np.argsort(-scores)[: len(labels) // 10]]
    tenths, rates = line(plots["lift"], "observed")
    assert list(tenths) == list(range(1, 11))
    assert rates[0] == pytest.approx(highest.mean())
    finding = plots["lift"].finding
    assert f"{highest.mean() / labels.mean():.1f} times" in finding
    assert f"{highest.sum() / labels.sum():.0%} of the clicks" in finding


def test_scores_by_class_are_shares_of_the_class(run: RunArtifacts, plots: dict[str, Plot]) -> None:
    labels, scores = scored(run)
    for name, label in (("clicks", 1), ("non-clicks", 0)):
        middles, shares = line(plots["distribution"], name)
        assert shares.sum() == pytest.approx(1)
        width = middles[1] - middles[0]
        assert middles @ shares == pytest.approx(scores[labels == label].mean(), abs=width)


def test_reliability_compares_predicted_with_observed(
    run: RunArtifacts, plots: dict[str, Plot]
) -> None:
    predicted, observed = line(plots["reliability"], "this model")
    labels, scores = scored(run)
    assert predicted.mean() == pytest.approx(scores.mean(), abs=1e-3)
    assert observed.mean() == pytest.approx(labels.mean(), abs=1e-3)


def test_training_names_the_best_epoch() -> None:
    plot = training_plot({"loss": [0.5, 0.4, 0.3], "val_loss": [0.6, 0.45, 0.5]})
    assert plot.finding == "Validation loss is lowest, 0.4500, in epoch 2 of 3."
    assert training_plot({"loss": [0.5, 0.4]}).finding.startswith("Training loss is lowest, 0.4000")


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_one_class_have_the_plots_that_they_define(label: int, tmp_path: Path) -> None:
    rows = pa.table(
        {
            "att_device": ["phone", "tablet", "phone"],
            "text": ["An ad"] * 3,
            "message_id": ["ad-1"] * 3,
            "clicked": [label] * 3,
        }
    )
    metrics = evaluate(rows, np.array([0.1, 0.2, 0.2]), {}, tmp_path).metrics
    plots = {plot.key: plot for plot in quality_plots(metrics)}
    assert "roc" not in plots
    assert ("precision-recall" in plots) == bool(label)
    assert all(plot.finding for plot in plots.values())
