"""Metrics of click probabilities as TFMA's: exact, and merged from any number of workers.

Each is a `tfma.metrics.Metric` like TFMA's own: an EvalConfig names it by class and module, and an
extract may hold one row or many. All rest on `FoldedRows`: exact up to 1,048,576 distinct pairs of
label and score of all rows, and 131,072 of a slice. Beyond, scores are rounded: of a slice, AUC and
log loss stay within a millionth, average precision and ECE within a hundred-thousandth, and
`AUCRounding` gives a bound that always holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray
from tensorflow_model_analysis.metrics.metric_types import (
    DerivedMetricComputation,
    Metric,
    MetricComputation,
    MetricComputations,
    MetricKey,
    Preprocessor,
    StandardMetricInputs,
)
from tensorflow_model_analysis.metrics.metric_util import to_label_prediction_example_weight
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig
from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import BoundedValue

from components import metrics
from components.evaluator.folded_rows import FoldedRows, Keys, Unfolded, hash_groups
from components.metrics import Estimate, Floats, Integers, Weights

FOLDED_ROWS = "folded_rows"
PRECISION = "precision_at_operating_point"  # these two are made of the folded rows
RECALL = "recall_at_operating_point"
SQUARED_WEIGHTS = "squared_weights"  # an extract may say how much chance is in its weights
NO_GROUP = 0  # in a feature that holds hashes instead of values

_MOST_OF_A_SLICE = 1 << 17
_MOST_OF_ALL_ROWS = 1 << 20
_IS_OVERALL = "is_overall"

Measured = float | Estimate | None


class _ClickMetric(Metric):
    """A metric of each model that follows from its labels and scores.

    Args:
        name: of the metric in the results.
        **options: what else it depends on.
    """

    NAME: ClassVar[str]

    def __init__(self, name: str | None = None, **options: Any) -> None:
        super().__init__(self._computations, name=name or self.NAME, **options)

    def measure(self, rows: Unfolded) -> Measured:
        """Returns the value for the rows of a slice; None where they do not define one."""
        raise NotImplementedError

    def value(self, folded: FoldedRows) -> Any:
        """Returns what is kept of the folded rows of a slice."""
        return self.measure(folded.unfolded)

    def _computations(
        self,
        name: str,
        eval_config: EvalConfig | None = None,
        model_names: list[str] | None = None,
        example_weighted: bool = False,
        **options: Any,
    ) -> MetricComputations:
        computations: MetricComputations = []
        for model in model_names or [""]:
            fold = _fold(eval_config, [model], example_weighted, options.get("feature"))
            key = MetricKey(name, model_name=model, example_weighted=example_weighted)
            computations += [fold, _derive(key, fold.keys[0], self.value)]
        return computations


class Rows(_ClickMetric):
    """Rows whose probability is one, each counted by its weight."""

    NAME = "rows"

    def measure(self, rows: Unfolded) -> Measured:
        return float(rows.weights.sums.sum())


class Clicks(_ClickMetric):
    """The clicks among them."""

    NAME = "clicks"

    def measure(self, rows: Unfolded) -> Measured:
        return float(rows.weights.sums @ rows.labels)


class UnusableRows(_ClickMetric):
    """Rows whose probability is not a number from 0 to 1; no other metric counts them."""

    NAME = "unusable_rows"

    def measure(self, rows: Unfolded) -> Measured:
        return rows.unusable


class MeanProbability(_ClickMetric):
    """Mean of the probabilities."""

    NAME = "mean_probability"

    def measure(self, rows: Unfolded) -> Measured:
        return _ratio(rows.weights.sums @ rows.scores[0], rows.weights.sums.sum())


class CalibrationRatio(_ClickMetric):
    """Clicks predicted by clicks observed."""

    NAME = "calibration_ratio"

    def measure(self, rows: Unfolded) -> Measured:
        sums = rows.weights.sums
        return _ratio(sums @ rows.scores[0], sums @ rows.labels)


class ExactAUC(_ClickMetric):
    """Area under the ROC curve with its bounds, see `metrics.auc`.

    Where there is a baseline, also the difference to it, paired, as the metric's difference.

    Args:
        confidence: certainty of each bound.
        name: of the metric in the results.
    """

    NAME = "exact_auc"

    def __init__(self, confidence: float = 0.95, name: str | None = None) -> None:
        super().__init__(name, confidence=confidence)

    def measure(self, rows: Unfolded) -> Measured:
        return metrics.auc(rows.labels, rows.scores[0], self.kwargs["confidence"], rows.weights)

    def difference(self, rows: Unfolded) -> Measured:
        """Returns the AUC of the first scores less that of the second."""
        new, other = rows.scores
        return metrics.auc_difference(
            rows.labels, new, other, self.kwargs["confidence"], rows.weights
        )

    def _computations(
        self,
        name: str,
        eval_config: EvalConfig | None = None,
        model_names: list[str] | None = None,
        example_weighted: bool = False,
        **options: Any,
    ) -> MetricComputations:
        models = model_names or [""]
        computations = super()._computations(
            name, eval_config, model_names, example_weighted, **options
        )
        specs = eval_config.model_specs if eval_config else ()
        for baseline in (spec.name for spec in specs if spec.is_baseline and spec.name in models):
            for model in set(models) - {baseline}:
                fold = _fold(eval_config, [model, baseline], example_weighted, None)
                key = MetricKey(
                    name, model_name=model, example_weighted=example_weighted, is_diff=True
                )
                computations += [
                    fold,
                    _derive(key, fold.keys[0], lambda folded: self.difference(folded.unfolded)),
                ]
        return computations


class AUCRounding(_ClickMetric):
    """The most that `ExactAUC` may be off, where scores were rounded.

    Half the pairs of a click and a non-click whose scores are then equal; 0 where none were.
    """

    NAME = "auc_rounding"

    def measure(self, rows: Unfolded) -> Measured:
        if not rows.level:
            return 0.0
        _, tie = np.unique(rows.scores[0], return_inverse=True)
        clicks = np.bincount(tie, rows.weights.sums * rows.labels)
        others = np.bincount(tie, rows.weights.sums * (1 - rows.labels))
        return _ratio(clicks @ others, 2 * clicks.sum() * others.sum())


class GroupedAUC(_ClickMetric):
    """Mean of the AUCs within each value of a feature, see `metrics.grouped_auc`.

    Args:
        feature: the feature, as the ad's id or the user's.
        name: of the metric in the results; `<feature>_auc` if None.
    """

    def __init__(self, feature: str, name: str | None = None) -> None:
        super().__init__(name or f"{feature}_auc", feature=feature)

    def value(self, folded: FoldedRows) -> Any:
        return self.measure(folded.unfold())  # it alone reads these rows

    def measure(self, rows: Unfolded) -> Measured:
        if rows.groups is None:
            return None
        return metrics.grouped_auc(rows.labels, rows.scores[0], rows.groups, rows.weights)


class AveragePrecision(_ClickMetric):
    """Area under the precision-recall curve, see `metrics.average_precision`."""

    NAME = "average_precision"

    def measure(self, rows: Unfolded) -> Measured:
        return metrics.average_precision(rows.labels, rows.scores[0], rows.weights)


class LogLoss(_ClickMetric):
    """Mean negative log-likelihood in nats, see `metrics.log_loss`."""

    NAME = "log_loss"

    def measure(self, rows: Unfolded) -> Measured:
        return metrics.log_loss(rows.labels, rows.scores[0], rows.weights)


class NormalizedEntropy(_ClickMetric):
    """Log loss by that of the click rate alone, see `metrics.normalized_entropy`."""

    NAME = "normalized_entropy"

    def measure(self, rows: Unfolded) -> Measured:
        return metrics.normalized_entropy(rows.labels, rows.scores[0], rows.weights)


class ExpectedCalibrationError(_ClickMetric):
    """Mean gap of predicted and observed click rate, see `metrics.calibration_error`."""

    NAME = "expected_calibration_error"

    def measure(self, rows: Unfolded) -> Measured:
        return metrics.calibration_error(rows.labels, rows.scores[0], rows.weights)


class KeptRows(_ClickMetric):
    """The folded rows themselves, for what needs more than one slice; not to be written."""

    NAME = FOLDED_ROWS

    def value(self, folded: FoldedRows) -> Any:
        return folded


def _fold(
    eval_config: EvalConfig | None,
    models: list[str],
    example_weighted: bool,
    feature: str | None,
) -> MetricComputation:
    """Returns what folds the rows of a slice; equal ones of several metrics run once."""
    name = "_".join(["_folded", *models[1:], *([feature] if feature else [])])
    key = MetricKey(name, model_name=models[0], example_weighted=example_weighted)
    return MetricComputation(
        keys=[key],
        preprocessors=[_WithSlice()],
        combiner=_Fold(key, eval_config, models, example_weighted, feature),
    )


def _derive(
    key: MetricKey, folded: MetricKey, value: Callable[[FoldedRows], Any]
) -> DerivedMetricComputation:
    def result(values: dict[MetricKey, Any]) -> dict[MetricKey, Any]:
        return {key: _as_written(value(values[folded]))}

    return DerivedMetricComputation(keys=[key], result=result)


def _as_written(measured: Any) -> Any:
    """Returns a measured value as TFMA writes it: undefined is not a number."""
    if measured is None:
        return float("nan")
    if not isinstance(measured, Estimate):
        return measured
    if measured.value is None or measured.low is None or measured.high is None:
        return _as_written(measured.value)
    return BoundedValue(
        value={"value": measured.value},
        lower_bound={"value": measured.low},
        upper_bound={"value": measured.high},
    )


class _WithSlice(Preprocessor):
    """Tells the combiner, beside the extract itself, whether it is of the overall slice."""

    def process(self, extracts: tfma.types.Extracts) -> Iterator[tfma.types.Extracts]:
        slices = list(extracts[tfma.SLICE_KEY_TYPES_KEY])
        yield {**extracts, _IS_OVERALL: slices == [()]}


class _Fold(beam.CombineFn):
    """Folds rows with the scores of some models and perhaps the hashes of a feature."""

    def __init__(
        self,
        key: MetricKey,
        eval_config: EvalConfig | None,
        models: list[str],
        example_weighted: bool,
        feature: str | None,
    ) -> None:
        self._key = key
        self._eval_config = eval_config
        self._models = models
        self._example_weighted = example_weighted
        self._feature = feature

    def create_accumulator(self) -> FoldedRows:
        return FoldedRows(len(self._models), _MOST_OF_A_SLICE)

    def add_input(self, folded: FoldedRows, extracts: tfma.types.Extracts) -> FoldedRows:
        if extracts[_IS_OVERALL]:
            folded.most = _MOST_OF_ALL_ROWS
        inputs = StandardMetricInputs(extracts)
        parts = [self._arrays(inputs, model) for model in self._models]
        labels, _, sums = parts[0]
        squares = extracts.get(SQUARED_WEIGHTS) if self._example_weighted else None
        weights = Weights(sums, sums**2 if squares is None else squares)
        groups = None if self._feature is None else _hashes(inputs.features[self._feature])
        folded.add(labels, [scores for _, scores, _ in parts], weights, groups)
        return folded

    def merge_accumulators(self, accumulators: Iterable[FoldedRows]) -> FoldedRows:
        merged = self.create_accumulator()
        for folded in accumulators:
            merged.merge(folded)
        return merged

    def extract_output(self, folded: FoldedRows) -> dict[MetricKey, FoldedRows]:
        return {self._key: folded}

    def _arrays(self, inputs: StandardMetricInputs, model: str) -> tuple[Integers, Floats, Floats]:
        """Returns labels, probabilities and weights [N] of the rows of an extract."""
        (found,) = to_label_prediction_example_weight(
            inputs,
            self._eval_config,
            model,
            example_weighted=self._example_weighted,
            flatten=False,
        )
        labels, scores, weights = (np.atleast_1d(values).ravel() for values in found)
        sums = np.broadcast_to(weights, labels.shape).astype(np.float64)
        return labels.astype(np.int64), scores, sums


def _hashes(values: NDArray[Any]) -> Keys:
    """Returns a hash of each value [N]; what are hashes already stays as it is."""
    values = np.atleast_1d(values).ravel()
    return values if values.dtype == np.uint64 else hash_groups(values.astype(object))


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
