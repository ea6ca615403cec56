"""The report of a run: one HTML file that needs no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path

from components.evaluator.verdict import Judgement, Verdict
from components.output_file import write_text
from pipeline.report.ads import outstanding_ads
from pipeline.report.comparison import (
    DATA,
    LINEAGE,
    SETTINGS,
    Pair,
    flat,
    metric_values,
    side_by_side,
)
from pipeline.report.page import packed_plotly, template
from pipeline.report.plots import Plot, quality_plots, training_plot
from pipeline.report.run_artifacts import RunArtifacts, read_artifacts
from pipeline.report.slice_table import slice_table
from pipeline.run_record import REFIT_NOTE, RunRecord

REPORT_FILE = "report.html"

_VERSIONS = ("twotower", "tfx", "tensorflow", "keras", "apache-beam", "plotly")
_SHOWN_OF_A_RULE = 3


def write_report(record: RunRecord, in_service: RunRecord | None) -> Path:
    """Writes the report of a run into its folder.

    Args:
        record: the run.
        in_service: the run that made the model that was in service then; None if none is known.

    Returns:
        The HTML file.
    """
    file = record.folder / REPORT_FILE
    write_text(file, _render(read_artifacts(record), in_service))
    return file


def _render(run: RunArtifacts, in_service: RunRecord | None) -> str:
    record, metrics = run.record, run.metrics
    plots = list(_plots(run))
    return template("report.html.j2").render(
        run=run,
        record=record,
        began=datetime.strptime(record.run_id, "%Y%m%d-%H%M%S-%f"),
        judgements=_fold(run.verdict) if run.verdict else None,
        in_service=in_service,
        version_in_service=_version_in_service(run, in_service),
        refit_note=REFIT_NOTE,
        changes=_changes(run, in_service) if in_service else [],
        metrics=metric_values(metrics.overall) if metrics else {},
        metrics_in_service=metric_values(metrics.baseline.metrics)
        if metrics and metrics.baseline.metrics
        else {},
        plots=plots,
        slices=slice_table(metrics, record.config["evaluator"]["min_slice_clicks"])
        if metrics
        else None,
        ads=outstanding_ads(run.ads, run.columns, metrics.confidence)
        if metrics and run.ads
        else None,
        settings=dict(flat(record.config)),
        versions={name: metadata.version(name) for name in _VERSIONS},
        plotly=packed_plotly() if plots else None,
    )


def _plots(run: RunArtifacts) -> Iterator[Plot]:
    if run.metrics:
        yield from quality_plots(run.metrics)
    if run.history:
        yield training_plot(run.history)


def _fold(verdict: Verdict) -> tuple[list[Judgement], list[Judgement]]:
    """Returns the judgements to show and those to fold away: many of one rule, as of the slices."""
    shown: list[Judgement] = []
    folded: list[Judgement] = []
    seen: Counter[str] = Counter()
    for judgement in sorted(verdict.judgements, key=lambda each: each.passed is not False):
        seen[judgement.rule] += 1
        (shown if seen[judgement.rule] <= _SHOWN_OF_A_RULE else folded).append(judgement)
    return shown, folded


def _version_in_service(run: RunArtifacts, in_service: RunRecord | None) -> str | None:
    if run.metrics and run.metrics.baseline.model:
        return Path(run.metrics.baseline.model).name
    return str(in_service.version) if in_service else None


def _changes(run: RunArtifacts, in_service: RunRecord) -> list[Pair]:
    """Returns how a run's data, settings and making differ from those of the model in service."""
    return [
        pair
        for pair in side_by_side(read_artifacts(in_service), run)
        if pair.differs
        and (pair.group in (DATA, SETTINGS) or (pair.group == LINEAGE and pair.known))
    ]
