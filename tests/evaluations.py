"""Evaluations without models and files of examples: rows whose probabilities are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tensorflow_model_analysis.utils.config_util import update_eval_config_with_defaults

from components.evaluator.eval_config import eval_config, with_slices
from components.evaluator.evaluation import write_evaluation
from components.evaluator.gate import judge
from components.evaluator.measure import METRICS_FILE, Metrics
from components.evaluator.results import read_results
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.slices import ColumnSummary, plan_slices, slice_specs
from components.evaluator.tables import SCORES_FILE, score_table
from components.evaluator.verdict import Verdict
from components.features import Columns
from components.value_counts import ValueCounts


@dataclass(frozen=True)
class InService:
    """The model in service: where it is, why it cannot be compared with, or what it says."""

    folder: str | None = None
    problem: str = "none to compare with"
    scores: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """What the node makes of rows.

    Attributes:
        metrics: what was measured.
        folder: with the files of an evaluation.
        settings: what was required.
    """

    metrics: Metrics
    folder: Path
    settings: EvaluatorSettings

    @property
    def verdict(self) -> Verdict:
        return self.judge()

    def judge(self, **settings: object) -> Verdict:
        """Judges by other settings; those of what is measured change nothing."""
        return judge(self.metrics, self.settings.model_copy(update=settings))

    @property
    def scores(self) -> pa.Table:
        return pq.read_table(self.folder / SCORES_FILE)

    @property
    def ads(self) -> pa.Table:
        return pq.read_table(self.folder / "ads.parquet")


def evaluate(
    rows: pa.Table,
    scores: np.ndarray,
    training_texts: Mapping[str, int],
    folder: Path,
    *,
    in_service: InService = InService(),
    columns: Columns = Columns(),  # noqa: B008
    settings: EvaluatorSettings = EvaluatorSettings(),  # noqa: B008
    block: int = 4000,
) -> Evaluation:
    """Measures rows in blocks, as the node does once it has scored them."""
    scored = score_table(rows, scores, in_service.scores, training_texts, columns)
    specs = slice_specs(columns.attributes(rows.column_names), rows.column_names, settings)
    summaries = {}
    for name in rows.column_names:
        counts = ValueCounts()
        counts.add(rows[name])
        summaries[name] = ColumnSummary.of(counts, settings.max_slices)
    plan = plan_slices(specs, summaries)
    plan = plan.keep_most(plan.count(scored), settings.max_slices)
    has_baseline = in_service.scores is not None
    models = (
        {"candidate": "new", "baseline": str(in_service.folder)} if has_baseline else {"": "new"}
    )
    with beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline:
        blocks = pipeline | beam.Create(scored.combine_chunks().to_batches(block))
        config = update_eval_config_with_defaults(
            with_slices(eval_config(settings, columns), specs), has_baseline=has_baseline
        )
        write_evaluation(
            blocks, config, plan, columns, settings.operating_point, models, str(folder)
        )
    problem = "" if has_baseline else in_service.problem
    metrics = read_results(str(folder), plan, settings.confidence, in_service.folder, problem)
    (folder / METRICS_FILE).write_text(metrics.model_dump_json())
    (folder / SCORES_FILE).mkdir()
    pq.write_table(scored, folder / SCORES_FILE / "rows.parquet")
    return Evaluation(metrics, folder, settings)
