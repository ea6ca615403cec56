"""The rules that a model must pass to be pushed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.evaluator.measure import Metrics
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.slices import label
from components.evaluator.verdict import Judgement, Verdict
from components.metrics import ClickMetrics, Estimate, calibration_interval


def judge(metrics: Metrics, settings: EvaluatorSettings) -> Verdict:
    """Judges a model by each rule that is set."""
    judgements = [
        *_unusable_rows(metrics),
        _clicks(metrics, settings),
        _auc(metrics, settings),
        *_auc_drop(metrics, settings),
        *_slice_auc(metrics, settings),
        *_calibration(metrics, settings),
        *_normalized_entropy(metrics, settings),
        *_ece(metrics, settings),
        *_rules(metrics, settings),
    ]
    return Verdict(judgements=tuple(judgements))


def _unusable_rows(metrics: Metrics) -> Iterator[Judgement]:
    if metrics.unusable_rows:
        yield _judgement(
            metrics.overall,
            rule="unusable_rows",
            what="Rows without a probability from 0 to 1",
            at_most=0,
            measured=metrics.unusable_rows,
            note="not among the rows of the other lines",
        )


def _clicks(metrics: Metrics, settings: EvaluatorSettings) -> Judgement:
    return _judgement(
        metrics.overall,
        rule="min_clicks",
        what="Clicks to judge by",
        at_least=settings.min_clicks,
        measured=metrics.overall.clicks,
    )


def _auc(metrics: Metrics, settings: EvaluatorSettings) -> Judgement:
    area = metrics.overall.auc
    return _judgement(
        metrics.overall,
        rule="min_auc",
        what="AUC of clicks",
        at_least=settings.min_auc,
        measured=area.low,
        note=_how(area, "lower", settings.confidence),
    )


def _auc_drop(metrics: Metrics, settings: EvaluatorSettings) -> Iterator[Judgement]:
    if settings.max_auc_drop is None:
        return
    baseline = metrics.baseline
    rule = {
        "rule": "max_auc_drop",
        "what": "AUC lost to the model in service",
        "at_most": settings.max_auc_drop,
        "measured": baseline.auc_drop.high,
    }
    if baseline.model is None:
        yield _judgement(metrics.overall, **rule, passed=None, note=baseline.problem)
    elif baseline.problem:
        yield _judgement(
            metrics.overall,
            **rule,
            passed=settings.incomparable_baseline == "pass",
            note=f"{baseline.model}: {baseline.problem}; "
            f"evaluator.incomparable_baseline is {settings.incomparable_baseline}",
        )
    else:
        how = _how(baseline.auc_drop, "upper", settings.confidence)
        yield _judgement(metrics.overall, **rule, note=how)


def _slice_auc(metrics: Metrics, settings: EvaluatorSettings) -> Iterator[Judgement]:
    """Yields a judgement of every slice below the floor; of the lowest slice if none is."""
    floor, enough = settings.min_slice_auc, settings.min_slice_clicks
    if floor is None:
        return
    rule = {"rule": "min_slice_auc", "what": "AUC of each slice", "at_least": floor}
    judged = [
        (part.metrics.auc.value, part)
        for part in metrics.slices
        if part.metrics.auc.value is not None
        and min(part.metrics.clicks, part.metrics.rows - part.metrics.clicks) >= enough
    ]
    if not judged:
        note = f"no slice has {enough:,} clicks and as many non-clicks"
        yield _judgement(metrics.overall, **rule, measured=None, passed=None, note=note)
        return
    judged.sort(key=lambda pair: pair[0])
    below = [pair for pair in judged if pair[0] < floor]
    for area, part in below or judged[:1]:
        yield _judgement(
            part.metrics,
            **rule,
            slice=label(part.where),
            measured=area,
            note="" if below else f"the lowest of {len(judged):,} slices",
        )


def _calibration(metrics: Metrics, settings: EvaluatorSettings) -> Iterator[Judgement]:
    if settings.min_calibration is None and settings.max_calibration is None:
        return
    low, high = calibration_interval(
        metrics.overall.calibration, metrics.overall.clicks, settings.confidence
    )
    yield _judgement(
        metrics.overall,
        rule="calibration",
        what="Clicks predicted by clicks observed",
        at_least=settings.min_calibration,
        at_most=settings.max_calibration,
        measured=metrics.overall.calibration,
        passed=_within(high, at_least=settings.min_calibration)
        and _within(low, at_most=settings.max_calibration),
        note=""
        if low is None or low == high
        else f"{settings.confidence:.0%} bounds {low:.4f} and {high:.4f}",
    )


def _normalized_entropy(metrics: Metrics, settings: EvaluatorSettings) -> Iterator[Judgement]:
    if settings.max_normalized_entropy is None:
        return
    yield _judgement(
        metrics.overall,
        rule="max_normalized_entropy",
        what="Normalized entropy",
        at_most=settings.max_normalized_entropy,
        measured=metrics.overall.normalized_entropy,
    )


def _ece(metrics: Metrics, settings: EvaluatorSettings) -> Iterator[Judgement]:
    if settings.max_ece is None:
        return
    yield _judgement(
        metrics.overall,
        rule="max_ece",
        what="Expected calibration error",
        at_most=settings.max_ece,
        measured=metrics.overall.ece,
    )


def _rules(metrics: Metrics, settings: EvaluatorSettings) -> Iterator[Judgement]:
    slices = {frozenset(part.where.items()): part.metrics for part in metrics.slices}
    for rule in settings.rules:
        where = {} if not rule.slice else {"slice": label(rule.slice)}
        of_slice = slices.get(frozenset(rule.slice.items())) if rule.slice else metrics.overall
        measured = None if of_slice is None else of_slice.value(rule.metric)
        yield _judgement(
            of_slice,
            rule="rules",
            what=rule.metric,
            **where,
            at_least=rule.at_least,
            at_most=rule.at_most,
            measured=measured,
            note="" if measured is not None else "no rows" if of_slice is None else "undefined",
        )


def _judgement(rests_on: ClickMetrics | None, **fields: Any) -> Judgement:
    """Makes a judgement that, if not told otherwise, passes if `measured` is within its bounds."""
    bounds = {side: fields.get(side) for side in ("at_least", "at_most")}
    fields.setdefault("passed", _within(fields["measured"], **bounds))
    counts = {} if rests_on is None else {"rows": rests_on.rows, "clicks": rests_on.clicks}
    return Judgement(**{"rows": 0, "clicks": 0, **counts, **fields})


def _within(
    measured: float | None, at_least: float | None = None, at_most: float | None = None
) -> bool:
    return (
        measured is not None
        and (at_least is None or measured >= at_least)
        and (at_most is None or measured <= at_most)
    )


def _how(estimate: Estimate, side: str, confidence: float) -> str:
    """Says how the bound of an estimate that is judged came about."""
    if estimate.value is None:
        return "undefined: there must be clicks and non-clicks"
    if estimate.low is None:
        return "no bound: there must be two clicks and two non-clicks"
    if confidence <= 0.5:
        return "estimate"
    return f"{confidence:.0%} {side} bound of {estimate.value:z.4f}"
