"""Writes metrics and verdict in TFMA's own files, for TFMA's own tools.

`tfma.load_eval_result`, `tfma.load_validation_result` and TFMA's notebook views read them. TFMA
does not compute them: its AUC is a sum over 10,000 thresholds, the gate's is exact.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from google.protobuf.message import Message
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tensorflow_model_analysis.writers.metrics_plots_and_validations_writer import (
    convert_slice_metrics_to_proto,
)

from components.evaluator.measure import Metrics, SliceMetrics
from components.evaluator.verdict import Verdict
from components.metrics import ClickMetrics, Estimate


def write_tfma_files(folder: str, metrics: Metrics, verdict: Verdict, model: str) -> None:
    """Writes the evaluation of the SavedModel `model` into `folder`."""
    everything = SliceMetrics(where={}, metrics=metrics.overall)
    parts = [
        (tuple(part.where.items()), _values(part.metrics)) for part in (everything, *metrics.slices)
    ]
    _write_records(
        f"{folder}/metrics-00000-of-00001.tfrecord",
        (convert_slice_metrics_to_proto(part, None) for part in parts),
    )
    _write_records(f"{folder}/validations.tfrecord", [_validation(verdict)])
    run = config_pb2.EvalRun(version=tfma.version.VERSION, model_locations={"": model})
    with tf.io.gfile.GFile(f"{folder}/eval_config.json", "w") as file:
        file.write(json_format.MessageToJson(run))


def _values(metrics: ClickMetrics) -> dict[MetricKey, object]:
    """Returns the metrics that are defined, as TFMA names and holds them."""
    fields = {MetricKey(name=name): value for name, value in metrics}
    estimates = {
        key: _bounded(value) for key, value in fields.items() if isinstance(value, Estimate)
    }
    return {key: value for key, value in (fields | estimates).items() if value is not None}


def _bounded(estimate: Estimate) -> object:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return estimate.value
    return metrics_for_slice_pb2.BoundedValue(
        value={"value": estimate.value},
        lower_bound={"value": estimate.low},
        upper_bound={"value": estimate.high},
    )


def _validation(verdict: Verdict) -> validation_result_pb2.ValidationResult:
    """Returns the verdict with the line of every rule that failed."""
    result = validation_result_pb2.ValidationResult(validation_ok=verdict.blessed)
    failures = result.metric_validations_per_slice.add().failures
    for judgement, line in zip(verdict.judgements, verdict.lines(), strict=True):
        if judgement.passed is False:
            failures.add(metric_key={"name": judgement.rule}, message=line)
    return result


def _write_records(path: str, messages: Iterable[Message]) -> None:
    with tf.io.TFRecordWriter(path) as file:
        for message in messages:
            file.write(message.SerializeToString())
