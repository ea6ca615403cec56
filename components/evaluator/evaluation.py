"""Measures scored rows with TFMA: one pass, from blocks of rows to the files of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig
from tensorflow_model_analysis.writers.eval_config_writer import EvalConfigWriter
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    MetricsPlotsAndValidationsWriter,
)

from components.evaluator.ads import AdsFn
from components.evaluator.click_metrics import FOLDED_ROWS, PRECISION, RECALL
from components.evaluator.curves import curves
from components.evaluator.eval_config import by_reader
from components.evaluator.extractors import (
    BLOCKS_STAGE,
    ROWS_STAGE,
    single_rows,
    slices_of_blocks,
)
from components.evaluator.folded_rows import Unfolded
from components.evaluator.slices import SlicePlan
from components.evaluator.tables import ADS_FILE
from components.features import Columns
from components.metrics import quantiles
from components.write_artifact import write_table

CURVES = "curves"
OPERATING_POINT = "operating_point"

_TOP = 0.9

_Slice = tuple[tuple[str, str], ...]
_SliceMetrics = tuple[_Slice, dict[MetricKey, Any]]


def write_evaluation(
    scored: beam.PCollection,
    config: EvalConfig,
    plan: SlicePlan,
    columns: Columns,
    operating_point: float | None,
    models: dict[str, str],
    folder: str,
) -> None:
    """Adds to a Beam pipeline what measures scored rows and writes what TFMA's tools read.

    Args:
        scored: blocks of scored rows, record batches of `tables.score_table`.
        config: what is measured, of one model or of two.
        plan: how blocks are cut into slices.
        columns: which columns hold the text, the ids, the label and the attributes.
        operating_point: probability from which a click is predicted; that of the highest tenth of
            the rows if None.
        models: where the models are, by their names in `config`.
        folder: gets the files, and ADS_FILE.
    """
    of_blocks, of_rows = by_reader(config)
    with_rows = bool(of_rows.metrics_specs)
    has_baseline = len(models) > 1
    extractors = [slices_of_blocks(plan, columns, has_baseline, with_rows=with_rows)]
    evaluators = [_evaluator(BLOCKS_STAGE, _MeasureBlocks(of_blocks, operating_point))]
    written = [tfma.METRICS_KEY]
    if with_rows:
        extractors.append(single_rows())
        evaluators.append(_evaluator(ROWS_STAGE, _Measure(of_rows)))
        written.append(tfma.PLOTS_KEY)
    _ = scored | "Evaluate" >> tfma.ExtractEvaluateAndWriteResults(
        eval_config=config,
        extractors=extractors,
        evaluators=evaluators,
        writers=[
            EvalConfigWriter(folder, config, model_locations=models),
            MetricsPlotsAndValidationsWriter({key: f"{folder}/{key}" for key in written}, config),
        ],
    )
    _ = (
        scored
        | "SumAds" >> beam.CombineGlobally(AdsFn(columns)).without_defaults()
        | "WriteAds" >> beam.Map(lambda ads: write_table(folder, ADS_FILE, ads))
    )


def _evaluator(stage: str, transform: beam.PTransform) -> tfma.evaluators.Evaluator:
    return tfma.evaluators.Evaluator(f"EvaluateAfter{stage}", stage, transform)


class _Measure(beam.PTransform):
    """TFMA's evaluation without its validation: the gate judges."""

    def __init__(self, config: EvalConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, extracts: beam.PCollection) -> dict[str, beam.PCollection]:
        stock = tfma.evaluators.MetricsPlotsAndValidationsEvaluator(self._config)
        evaluation = extracts | stock.ptransform
        return {key: evaluation[key] for key in (tfma.METRICS_KEY, tfma.PLOTS_KEY)}


class _MeasureBlocks(_Measure):
    """With what rests on the rows of more than one slice, and the points of the plots."""

    def __init__(self, config: EvalConfig, operating_point: float | None) -> None:
        super().__init__(config)
        self._operating_point = operating_point

    def expand(self, extracts: beam.PCollection) -> dict[str, beam.PCollection]:
        metrics = super().expand(extracts)[tfma.METRICS_KEY]  # none of ours is a plot
        overall = (
            metrics
            | "OverallSlice" >> beam.Filter(lambda of_slice: of_slice[0] == ())
            | "OperatingPoint" >> beam.Map(_operating_point, self._operating_point)
        )
        finished = metrics | "Finish" >> beam.Map(_finish, beam.pvalue.AsSingleton(overall))
        return {tfma.METRICS_KEY: finished}


def _operating_point(of_slice: _SliceMetrics, given: float | None) -> float:
    if given is not None:
        return given
    rows = next(rows for key, rows in _folded(of_slice) if key.model_name != tfma.BASELINE_KEY)
    if not len(rows.labels):
        return 0.0
    return float(quantiles(rows.scores[0], np.array([_TOP]), rows.weights)[0])


def _finish(of_slice: _SliceMetrics, operating_point: float) -> _SliceMetrics:
    """Puts what follows from the folded rows of a slice in their place."""
    where, metrics = of_slice
    kept = {key: value for key, value in metrics.items() if key.name != FOLDED_ROWS}
    for key, rows in _folded(of_slice):
        predicted = rows.scores[0] >= operating_point
        sums = rows.weights.sums
        hits = sums[predicted] @ rows.labels[predicted]
        for name, whole in ((PRECISION, sums[predicted].sum()), (RECALL, sums @ rows.labels)):
            kept[key._replace(name=name)] = float(hits / whole) if whole else float("nan")
        if where == ():
            kept[key._replace(name=OPERATING_POINT)] = operating_point
            if len(rows.labels):
                points = curves(rows.labels, rows.scores[0], rows.weights)
                kept[key._replace(name=CURVES)] = points.model_dump_json().encode()
    return where, kept


def _folded(of_slice: _SliceMetrics) -> Iterable[tuple[MetricKey, Unfolded]]:
    return [(key, rows.unfolded) for key, rows in of_slice[1].items() if key.name == FOLDED_ROWS]
