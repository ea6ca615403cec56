"""The settings of the evaluator as TFMA's own configuration."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from tensorflow_model_analysis.metrics import metric_specs, metric_types
from tensorflow_model_analysis.proto.config_pb2 import (
    EvalConfig,
    MetricConfig,
    MetricsSpec,
    ModelSpec,
    SlicingSpec,
)

from components.errors import InputError
from components.evaluator.click_metrics import FOLDED_ROWS, PRECISION, RECALL
from components.evaluator.settings import EvaluatorSettings, MetricSettings
from components.evaluator.slices import SliceSpec
from components.features import EXAMPLES_SIGNATURE, PROBABILITY, Columns
from components.outcomes import WEIGHT

_OURS = "components.evaluator.click_metrics"

AUC = "exact_auc"
UNUSABLE_ROWS = "unusable_rows"
AUC_ROUNDING = "auc_rounding"

# By the fields of `ClickMetrics`, the metrics of ours by their names in TFMA's results.
NAMES = {
    "rows": "rows",
    "clicks": "clicks",
    "mean_probability": "mean_probability",
    "auc": AUC,
    "ad_auc": "ad_auc",
    "user_auc": "user_auc",
    "pr_auc": "average_precision",
    "log_loss": "log_loss",
    "normalized_entropy": "normalized_entropy",
    "calibration": "calibration_ratio",
    "ece": "expected_calibration_error",
    "precision": PRECISION,
    "recall": RECALL,
}


_WITHOUT_OPTIONS = (
    "Rows",
    "Clicks",
    "UnusableRows",
    "MeanProbability",
    "AUCRounding",
    "AveragePrecision",
    "LogLoss",
    "NormalizedEntropy",
    "CalibrationRatio",
    "ExpectedCalibrationError",
    "KeptRows",
)


def eval_config(settings: EvaluatorSettings, columns: Columns) -> EvalConfig:
    """Returns what is measured of the new model; of which slices, only what the settings name.

    Raises:
        InputError: a metric of the settings does not exist or does not take its options, or a rule
            requires one that is not measured.
    """
    config = EvalConfig(
        model_specs=[
            ModelSpec(
                signature_name=EXAMPLES_SIGNATURE,
                label_key=columns.label,
                prediction_key=PROBABILITY,
                example_weight_key=WEIGHT if columns.is_counted or columns.weight else "",
            )
        ],
        metrics_specs=[MetricsSpec(metrics=list(_ours(settings, columns)))],
        slicing_specs=[
            SlicingSpec(),
            *(_slicing_spec(SliceSpec(tuple(cross))) for cross in settings.crosses),
            *(_slicing_spec(SliceSpec.of(given)) for given in settings.slices),
        ],
    )
    if settings.metrics:
        metrics = [_named(metric) for metric in settings.metrics]
        config.metrics_specs.append(MetricsSpec(metrics=metrics))
    _check_rules(config, settings)
    return config


def with_slices(config: EvalConfig, specs: Iterable[SliceSpec]) -> EvalConfig:
    """Returns the configuration with these slices."""
    whole = EvalConfig()
    whole.CopyFrom(config)
    del whole.slicing_specs[:]
    whole.slicing_specs.extend([SlicingSpec(), *(_slicing_spec(spec) for spec in specs)])
    return whole


def by_reader(config: EvalConfig) -> tuple[EvalConfig, EvalConfig]:
    """Parts a configuration: into metrics that read blocks of rows, and those that read rows."""
    blocks, rows = EvalConfig(), EvalConfig()
    for part in (blocks, rows):
        part.CopyFrom(config)
        del part.metrics_specs[:]
    for spec in config.metrics_specs:
        is_ours = all(metric.module == _OURS for metric in spec.metrics)
        (blocks if is_ours else rows).metrics_specs.append(spec)
    return blocks, rows


def _ours(settings: EvaluatorSettings, columns: Columns) -> Iterable[MetricConfig]:
    yield _metric_config(_OURS, "ExactAUC", {"confidence": settings.confidence})
    for field, feature in (("ad_auc", columns.ad_id), ("user_auc", columns.user_id)):
        if feature is not None:
            yield _metric_config(_OURS, "GroupedAUC", {"name": NAMES[field], "feature": feature})
    for class_name in _WITHOUT_OPTIONS:
        yield _metric_config(_OURS, class_name, {})


def _metric_config(module: str, class_name: str, config: dict[str, object]) -> MetricConfig:
    return MetricConfig(module=module, class_name=class_name, config=json.dumps(config))


def _named(metric: MetricSettings) -> MetricConfig:
    """Returns the configuration of a metric of the settings, once it has been tried."""
    config = _metric_config(metric.module, metric.class_name, metric.config)
    try:
        _names([MetricsSpec(metrics=[config])])
    except Exception as error:
        known = sorted(metric_types.registered_metrics())
        close = difflib.get_close_matches(metric.class_name, known, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        if metric.class_name in known or metric.module:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            hint = f" with {json.dumps(metric.config)}: {reason}"
        raise InputError(
            f"evaluator.metrics: {metric.class_name}: no metric of TFMA or Keras can be made of it"
            f"{hint}"
        ) from None
    return config


def _check_rules(config: EvalConfig, settings: EvaluatorSettings) -> None:
    known = _names(config.metrics_specs) | set(NAMES)
    for rule in settings.rules:
        if rule.metric not in known:
            raise InputError(
                f"evaluator.rules: {rule.metric}: no such metric is measured; there are "
                f"{', '.join(sorted(known))}; name others in evaluator.metrics"
            )


def _names(specs: Iterable[MetricsSpec]) -> set[str]:
    """Returns the names that metrics have in the results."""
    computations = metric_specs.to_computations(list(specs), eval_config=EvalConfig())
    keys = {key.name for each in computations for key in each.keys}
    return {name for name in keys if not name.startswith("_")} - {FOLDED_ROWS}


def _slicing_spec(spec: SliceSpec) -> SlicingSpec:
    return SlicingSpec(feature_keys=spec.keys, feature_values=dict(spec.values))
