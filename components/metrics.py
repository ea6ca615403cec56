"""Metrics of predicted click probabilities, exact and in NumPy, with intervals for AUC.

Every function takes `labels` [N] of 0 and 1 and `scores` [N]. What a set of rows does not define
(AUC of one class, calibration without a click) is None.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_RELIABILITY_BINS = 10

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]


class Estimate(BaseModel):
    """An estimate and its one-sided confidence bounds; None where undefined."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None = None
    high: float | None = None


class ClickMetrics(BaseModel):
    """How well probabilities predict the clicks of some rows.

    Attributes:
        rows: rows.
        clicks: rows with a click.
        mean_probability: mean of the predicted probabilities.
        auc: area under the ROC curve, see `auc`.
        ad_auc: mean of the AUCs within each ad, see `grouped_auc`.
        user_auc: mean of the AUCs within each user; None where the data has no user id.
        pr_auc: area under the precision-recall curve (average precision).
        log_loss: mean negative log-likelihood in nats.
        calibration: clicks predicted by clicks observed; 1 is right.
        ece: expected calibration error, see `calibration_error`.
        precision: share of clicks among the rows at or above the operating point.
        recall: share of the clicks that are at or above the operating point.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    clicks: int
    mean_probability: float | None
    auc: Estimate
    ad_auc: float | None
    user_auc: float | None
    pr_auc: float | None
    log_loss: float | None
    calibration: float | None
    ece: float | None
    precision: float | None
    recall: float | None


def click_metrics(
    labels: Integers,
    scores: Floats,
    ads: Integers,
    users: Integers | None,
    *,
    confidence: float,
    operating_point: float,
) -> ClickMetrics:
    """Computes every metric of the rows.

    Args:
        labels: [N] 1 for a click, else 0.
        scores: [N] predicted probabilities.
        ads: [N] number of the row's ad.
        users: [N] number of the row's user, -1 if unknown; None where the data has no users.
        confidence: certainty of each bound of the AUC.
        operating_point: probability from which a click is predicted.
    """
    rows, clicks = len(labels), int(labels.sum())
    predicted = scores >= operating_point
    hits = float(labels[predicted].sum())
    return ClickMetrics(
        rows=rows,
        clicks=clicks,
        mean_probability=_ratio(scores.sum(), rows),
        auc=auc(labels, scores, confidence),
        ad_auc=grouped_auc(labels, scores, ads),
        user_auc=None if users is None else grouped_auc(labels, scores, users),
        pr_auc=average_precision(labels, scores),
        log_loss=log_loss(labels, scores),
        calibration=_ratio(scores.sum(), clicks),
        ece=calibration_error(labels, scores),
        precision=_ratio(hits, predicted.sum()),
        recall=_ratio(hits, clicks),
    )


def auc(labels: Integers, scores: Floats, confidence: float) -> Estimate:
    """Area under the ROC curve: how often a click scores above a non-click, a tie counting half.

    The variance is DeLong's (DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44, 1988), and the bounds are
    made on the logit scale, which covers better with few clicks. Rows count as independent.

    Returns:
        The AUC; with probability `confidence` it is above the lower bound, and with the same
        probability below the upper.
    """
    placed = _placements(labels, scores, np.zeros_like(labels))
    area, variance = _mean_and_variance(labels, placed)
    if area is None or variance is None:
        return Estimate(value=area)
    if area in (0, 1):
        return Estimate(value=area, low=area, high=area)
    odds = area / (1 - area)
    factor = math.exp(_quantile(confidence) * math.sqrt(variance) / (area * (1 - area)))
    return Estimate(
        value=area, low=odds / (odds + factor), high=odds * factor / (1 + odds * factor)
    )


def auc_difference(labels: Integers, scores: Floats, others: Floats, confidence: float) -> Estimate:
    """AUC of `scores` less AUC of `others` on the same rows, paired, as in DeLong 1988.

    Returns:
        The difference; with probability `confidence` it is above the lower bound, and with the same
        probability below the upper.
    """
    one_group = np.zeros_like(labels)
    placed = _placements(labels, scores, one_group) - _placements(labels, others, one_group)
    difference, variance = _mean_and_variance(labels, placed)
    if difference is None or variance is None:
        return Estimate(value=difference)
    margin = _quantile(confidence) * math.sqrt(variance)
    return Estimate(value=difference, low=difference - margin, high=difference + margin)


def grouped_auc(labels: Integers, scores: Floats, groups: Integers) -> float | None:
    """Mean of the AUCs within each group, weighted by rows; groups of one class do not count.

    As GAUC in Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.

    Args:
        labels: [N] of 0 and 1.
        scores: [N].
        groups: [N] numbers of the groups from 0; a row with -1 is in none.
    """
    grouped = groups >= 0
    labels, scores, groups = labels[grouped], scores[grouped], groups[grouped]
    placed = _placements(labels, scores, groups)
    rows, clicks = np.bincount(groups), np.bincount(groups, labels)
    counted = (clicks > 0) & (clicks < rows)
    if not counted.any():
        return None
    areas = np.bincount(groups, labels * placed)[counted] / clicks[counted]
    return float(np.average(areas, weights=rows[counted]))


def average_precision(labels: Integers, scores: Floats) -> float | None:
    """Area under the precision-recall curve: the mean over clicks of the precision at their score.

    Average precision as scikit-learn defines it: the curve is a staircase, not interpolated.
    """
    clicks = int(labels.sum())
    if not clicks:
        return None
    hits, predicted = cumulative_counts(labels, scores)
    return float(np.sum(np.diff(hits, prepend=0) * hits / predicted) / clicks)


def cumulative_counts(labels: Integers, scores: Floats) -> tuple[Floats, Floats]:
    """Returns clicks and rows at or above each distinct score, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(labels[order], dtype=np.float64)[last_of_tie]
    return hits, np.flatnonzero(last_of_tie) + np.float64(1)


def log_loss(labels: Integers, scores: Floats) -> float | None:
    """Mean negative log-likelihood in nats; a score is kept one float64 step off 0 and 1."""
    if not len(labels):
        return None
    step = np.finfo(np.float64).eps
    kept = np.clip(scores, step, 1 - step)
    return float(-np.mean(np.log(np.where(labels == 1, kept, 1 - kept))))


class Reliability(NamedTuple):
    """Bins of rows by score: rows, clicks and mean score of each."""

    rows: Integers
    clicks: Integers
    mean_score: Floats


def reliability(labels: Integers, scores: Floats) -> Reliability:
    """Sorts rows into ten bins between the deciles of their scores; equal scores share a bin.

    The bins are those of scikit-learn's `calibration_curve(strategy="quantile", n_bins=10)`.
    """
    edges = np.percentile(scores, np.linspace(0, 1, _RELIABILITY_BINS + 1)[1:-1] * 100)
    bins = np.searchsorted(edges, scores)
    rows = np.bincount(bins)
    used = rows > 0
    return Reliability(
        rows[used],
        np.bincount(bins[labels == 1], minlength=len(rows))[used],
        np.bincount(bins, scores)[used] / rows[used],
    )


def calibration_error(labels: Integers, scores: Floats) -> float | None:
    """Expected calibration error: mean over rows of |click rate - mean score| of the row's bin.

    Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI 2015, over bins of equally many rows: click probabilities crowd into few equally wide ones.
    """
    if not len(labels):
        return None
    bins = reliability(labels, scores)
    gaps = np.abs(bins.clicks - bins.rows * bins.mean_score)
    return float(gaps.sum() / len(labels))


def _placements(labels: Integers, scores: Floats, groups: Integers) -> Floats:
    """Returns how well each row [N] is placed among the other class of its group.

    For a click the share of non-clicks below it, for a non-click the share of clicks above it, a
    tie counting half; NaN in a group of one class. The mean over either class is the AUC. From
    midranks, as in Sun and Xu, "Fast Implementation of DeLong's Algorithm", IEEE Signal Processing
    Letters 21, 2014.
    """
    below = _midranks(scores, groups) - _midranks(scores, 2 * groups + labels)
    clicks = np.bincount(groups, labels)[groups]
    others = np.where(labels == 1, np.bincount(groups)[groups] - clicks, clicks)
    with np.errstate(invalid="ignore"):
        share = below / others
    return np.where(labels == 1, share, 1 - share)


def _midranks(scores: Floats, groups: Integers) -> Floats:
    """Returns each score's rank within its group, from 1, equal scores sharing their mean rank."""
    levels, level = np.unique(scores, return_inverse=True)
    key = groups.astype(np.int64) * len(levels) + level
    order = np.argsort(key)
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    sizes = np.diff(starts, append=len(key))
    sizes_of_groups = np.bincount(groups)
    ranks = np.empty(len(key))
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks - (np.cumsum(sizes_of_groups) - sizes_of_groups)[groups]


def _mean_and_variance(labels: Integers, placed: Floats) -> tuple[float | None, float | None]:
    """Returns the mean of placements and DeLong's variance of it."""
    clicks, others = placed[labels == 1], placed[labels == 0]
    if not len(clicks) or not len(others):
        return None, None
    mean = float(clicks.mean())
    if len(clicks) < 2 or len(others) < 2:
        return mean, None
    variance = clicks.var(ddof=1) / len(clicks) + others.var(ddof=1) / len(others)
    return mean, float(variance)


def _quantile(confidence: float) -> float:
    """Returns the standard normal quantile; up to one half nothing is taken off the estimate."""
    return NormalDist().inv_cdf(max(confidence, 0.5))


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
