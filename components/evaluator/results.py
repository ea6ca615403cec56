"""Reads what TFMA wrote of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow_model_analysis as tfma

from components.evaluator.curves import Curves
from components.evaluator.eval_config import AUC, AUC_ROUNDING, NAMES, UNUSABLE_ROWS
from components.evaluator.evaluation import CURVES, OPERATING_POINT
from components.evaluator.measure import BaselineMetrics, Metrics, SliceMetrics
from components.evaluator.slices import SlicePlan
from components.metrics import ClickMetrics, Estimate

_DIFFERENCE = "difference"
_NO_PROBABILITIES = "it gives rows no probability from 0 to 1"
_OURS = {*NAMES.values(), AUC_ROUNDING, UNUSABLE_ROWS, OPERATING_POINT, CURVES}

_Values = dict[str, Any]
_Where = tuple[tuple[str, str], ...]


def read_results(
    folder: str, plan: SlicePlan, confidence: float, baseline: str | None, problem: str
) -> Metrics:
    """Reads the metrics that `evaluation.write_evaluation` had written.

    Args:
        folder: of the evaluation.
        plan: in the order of its specs come the slices, those of a spec with most rows first.
        confidence: certainty of each bound.
        baseline: the model in service; None if no model is.
        problem: why it was not measured; empty if it was.
    """
    found = _read(folder)
    overall = found[()]
    new = overall.get(tfma.CANDIDATE_KEY) or overall[""]
    return Metrics(
        confidence=confidence,
        operating_point=new[OPERATING_POINT].value,
        unusable_rows=new[UNUSABLE_ROWS].value,
        auc_rounding=new[AUC_ROUNDING].value or 0,
        overall=_click_metrics(new),
        slices=_slices(found, plan),
        baseline=_baseline(overall, baseline, problem),
        curves=_curves(new),
    )


def _read(folder: str) -> dict[_Where, dict[str, _Values]]:
    """Returns the values of each slice by model; those of the difference of two under DIFF."""
    found: dict[_Where, dict[str, _Values]] = {}
    for record in tfma.load_metrics(folder):
        where = tuple(
            (key.column, key.bytes_value.decode()) for key in record.slice_key.single_slice_keys
        )
        models = found.setdefault(where, {})
        for each in record.metric_keys_and_values:
            model = _DIFFERENCE if each.key.is_diff else each.key.model_name
            models.setdefault(model, {})[each.key.name] = _value(each)
    return found


def _value(each: Any) -> Estimate | bytes:
    """Returns the value of a metric: a number with its bounds if it has them, or bytes."""
    if each.value.WhichOneof("type") == "bytes_value":
        return bytes(each.value.bytes_value)
    value = each.value.double_value.value if each.value.HasField("double_value") else math.nan
    if math.isnan(value):
        return Estimate(value=None)
    if not each.HasField("confidence_interval"):
        return Estimate(value=value)
    bounds = each.confidence_interval
    return Estimate(
        value=value,
        low=bounds.lower_bound.double_value.value,
        high=bounds.upper_bound.double_value.value,
    )


def _click_metrics(values: _Values) -> ClickMetrics:
    fields = {
        field: values[name] if name == AUC else values[name].value
        for field, name in NAMES.items()
        if name in values
    }
    named = {
        name: value.value
        for name, value in values.items()
        if name not in _OURS and isinstance(value, Estimate) and value.value is not None
    }
    return ClickMetrics(**{"user_auc": None, **fields}, named=named)


def _slices(
    found: Mapping[_Where, Mapping[str, _Values]], plan: SlicePlan
) -> tuple[SliceMetrics, ...]:
    places = {spec.columns: place for place, spec in reversed(list(enumerate(plan.specs)))}
    slices = [
        SliceMetrics(
            where=dict(where),
            metrics=_click_metrics(models.get(tfma.CANDIDATE_KEY) or models[""]),
        )
        for where, models in found.items()
        if where
    ]
    return tuple(
        sorted(
            slices,
            key=lambda each: (
                places[tuple(each.where)],
                -each.metrics.rows,
                tuple(each.where.values()),
            ),
        )
    )


def _baseline(overall: Mapping[str, _Values], model: str | None, problem: str) -> BaselineMetrics:
    """Returns what was measured of the model in service, if anything was."""
    values = overall.get(tfma.BASELINE_KEY)
    if values is None:
        return BaselineMetrics(model=model, problem=problem)
    if values[UNUSABLE_ROWS].value:
        return BaselineMetrics(model=model, problem=_NO_PROBABILITIES)
    gain = overall[_DIFFERENCE][AUC]
    return BaselineMetrics(
        model=model,
        problem="",
        metrics=_click_metrics(values),
        auc_drop=Estimate(
            value=None if gain.value is None else -gain.value,
            low=None if gain.high is None else -gain.high,
            high=None if gain.low is None else -gain.low,
        ),
        curves=_curves(values),
    )


def _curves(values: _Values) -> Curves | None:
    return Curves.model_validate_json(values[CURVES]) if CURVES in values else None
