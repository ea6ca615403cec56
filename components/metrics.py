"""Metrics of predicted click probabilities, exact and in NumPy, with intervals for AUC.

Every function takes `labels` [N] of 0 and 1, `scores` [N] and, where rows stand for more than
themselves, their `weights`. What a set of rows does not define (AUC of one class, calibration
without a click) is None.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict

_RELIABILITY_BINS = 10


def _whole(count: float) -> int | float:
    return int(count) if count == int(count) else count


# A number of rows, each counted by its weight.
Count = Annotated[int | float, BeforeValidator(_whole)]

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]


class Weights(NamedTuple):
    """How much each row stands for.

    Attributes:
        sums: [N] sum of the weights of the impressions that a row stands for.
        squares: [N] sum of their squares, which say how much chance is in them: three impressions
            folded into one row have 3 and 3, one impression with a weight of 3 has 3 and 9.
    """

    sums: Floats
    squares: Floats

    @staticmethod
    def ones(count: int) -> Weights:
        """Returns the weights of rows that stand for themselves."""
        return Weights(np.ones(count), np.ones(count))

    def of(self, rows: NDArray[np.bool_] | Integers) -> Weights:
        """Returns those of some rows."""
        return Weights(self.sums[rows], self.squares[rows])


class Estimate(BaseModel):
    """An estimate and its one-sided confidence bounds.

    Attributes:
        value: the estimate; None where it is undefined, as an AUC is without a click.
        low: lower bound, at the confidence that was asked for; None where there is none.
        high: upper bound, likewise.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None = None
    high: float | None = None


class ClickMetrics(BaseModel):
    """How well probabilities predict the clicks of some rows.

    Attributes:
        rows: rows, each counted by its weight.
        clicks: rows with a click, likewise.
        mean_probability: mean of the predicted probabilities.
        auc: area under the ROC curve, see `auc`.
        ad_auc: mean of the AUCs within each ad, see `grouped_auc`.
        user_auc: mean of the AUCs within each user; None where the data has no user id.
        pr_auc: area under the precision-recall curve (average precision).
        log_loss: mean negative log-likelihood in nats.
        normalized_entropy: log loss by that of the click rate alone, see `normalized_entropy`.
        calibration: clicks predicted by clicks observed; 1 is right.
        ece: expected calibration error, see `calibration_error`.
        precision: share of clicks among the rows at or above the operating point.
        recall: share of the clicks that are at or above the operating point.
        named: the metrics that the settings name, by their names in TFMA's results.
    """

    model_config = ConfigDict(frozen=True)

    rows: Count
    clicks: Count
    mean_probability: float | None
    auc: Estimate
    ad_auc: float | None
    user_auc: float | None
    pr_auc: float | None
    log_loss: float | None
    normalized_entropy: float | None
    calibration: float | None
    ece: float | None
    precision: float | None
    recall: float | None
    named: dict[str, float] = {}

    def value(self, name: str) -> float | None:
        """Returns a metric by its field or by its name in TFMA's results; None if undefined."""
        found = self.named.get(name, getattr(self, name, None))
        return found.value if isinstance(found, Estimate) else found


def auc(
    labels: Integers, scores: Floats, confidence: float, weights: Weights | None = None
) -> Estimate:
    """Area under the ROC curve: how often a click scores above a non-click, a tie counting half.

    The variance is DeLong's (DeLong, DeLong, Clarke-Pearson, "Comparing the areas under two or more
    correlated receiver operating characteristic curves", Biometrics 44, 1988), and the bounds are
    made on the logit scale, which covers better with few clicks. Rows count as independent.

    Returns:
        The AUC; with probability `confidence` it is above the lower bound, and with the same
        probability below the upper.
    """
    weights = weights or Weights.ones(len(labels))
    placed = _placements(labels, scores, np.zeros_like(labels), weights.sums)
    area, variance = _mean_and_variance(labels, placed, weights)
    if area is None or variance is None:
        return Estimate(value=area)
    if area in (0, 1):
        return Estimate(value=area, low=area, high=area)
    odds = area / (1 - area)
    factor = math.exp(_quantile(confidence) * math.sqrt(variance) / (area * (1 - area)))
    return Estimate(
        value=area, low=odds / (odds + factor), high=odds * factor / (1 + odds * factor)
    )


def auc_difference(
    labels: Integers,
    scores: Floats,
    others: Floats,
    confidence: float,
    weights: Weights | None = None,
) -> Estimate:
    """AUC of `scores` less AUC of `others` on the same rows, paired, as in DeLong 1988.

    Returns:
        The difference; with probability `confidence` it is above the lower bound, and with the same
        probability below the upper.
    """
    weights = weights or Weights.ones(len(labels))
    one_group = np.zeros_like(labels)
    placed = _placements(labels, scores, one_group, weights.sums)
    placed -= _placements(labels, others, one_group, weights.sums)
    difference, variance = _mean_and_variance(labels, placed, weights)
    if difference is None or variance is None:
        return Estimate(value=difference)
    margin = _quantile(confidence) * math.sqrt(variance)
    return Estimate(value=difference, low=difference - margin, high=difference + margin)


def grouped_auc(
    labels: Integers, scores: Floats, groups: Integers, weights: Weights | None = None
) -> float | None:
    """Mean of the AUCs within each group, weighted by rows; groups of one class do not count.

    As GAUC in Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.

    Args:
        labels: [N] of 0 and 1.
        scores: [N].
        groups: [N] numbers of the groups from 0; a row with -1 is in none.
        weights: of the rows.
    """
    sums = (weights or Weights.ones(len(labels))).sums
    grouped = groups >= 0
    if not grouped.all():
        labels, groups = labels[grouped], groups[grouped]
        scores, sums = scores[grouped], sums[grouped]
    placed = _placements(labels, scores, groups, sums)
    rows, clicks = np.bincount(groups, sums), np.bincount(groups, sums * labels)
    counted = (clicks > 0) & (clicks < rows)
    if not counted.any():
        return None
    placed_clicks = np.where(labels == 1, sums * placed, 0)
    areas = np.bincount(groups, placed_clicks)[counted] / clicks[counted]
    return float(np.average(areas, weights=rows[counted]))


def average_precision(
    labels: Integers, scores: Floats, weights: Weights | None = None
) -> float | None:
    """Area under the precision-recall curve: the mean over clicks of the precision at their score.

    Average precision as scikit-learn defines it: the curve is a staircase, not interpolated.
    """
    if not labels.any():
        return None
    hits, predicted = cumulative_counts(labels, scores, weights)
    return float(np.sum(np.diff(hits, prepend=0) * hits / predicted) / hits[-1])


def cumulative_counts(
    labels: Integers, scores: Floats, weights: Weights | None = None
) -> tuple[Floats, Floats]:
    """Returns clicks and rows at or above each distinct score, from the highest score down."""
    sums = (weights or Weights.ones(len(labels))).sums
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum((labels * sums)[order])[last_of_tie]
    return hits, np.cumsum(sums[order])[last_of_tie]


def log_loss(labels: Integers, scores: Floats, weights: Weights | None = None) -> float | None:
    """Mean negative log-likelihood in nats; a score is kept one float64 step off 0 and 1."""
    if not len(labels):
        return None
    step = np.finfo(np.float64).eps
    kept = np.clip(scores, step, 1 - step)
    losses = -np.log(np.where(labels == 1, kept, 1 - kept))
    return float(np.average(losses, weights=None if weights is None else weights.sums))


def normalized_entropy(
    labels: Integers, scores: Floats, weights: Weights | None = None
) -> float | None:
    """Log loss by the log loss of predicting the click rate for every row; below 1 is worth it.

    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, equation
    1. It compares models across click rates, as log loss does not.
    """
    loss = log_loss(labels, scores, weights)
    rate = np.average(labels, weights=None if weights is None else weights.sums) if loss else 0
    if loss is None or not 0 < rate < 1:
        return None
    return float(loss / -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate)))


def calibration_interval(
    calibration: float | None, clicks: float, confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """Returns what clicks predicted by clicks observed may be, were as many observed again.

    The number of clicks counts as a Poisson's. Each end holds with the probability `confidence`.
    """
    if calibration is None:
        return None, None
    factor = math.exp(_quantile(confidence) / math.sqrt(clicks))
    return calibration / factor, calibration * factor


class Reliability(NamedTuple):
    """Bins of rows by score, as a reliability diagram shows them.

    Attributes:
        rows: [bins] rows of each bin, by their weights.
        clicks: [bins] rows with a click, likewise.
        mean_score: [bins] mean predicted probability.
    """

    rows: Floats
    clicks: Floats
    mean_score: Floats


def reliability(labels: Integers, scores: Floats, weights: Weights | None = None) -> Reliability:
    """Sorts rows into ten bins between the deciles of their scores; equal scores share a bin.

    The bins are those of scikit-learn's `calibration_curve(strategy="quantile", n_bins=10)`.
    """
    sums = (weights or Weights.ones(len(labels))).sums
    percents = np.linspace(0, 1, _RELIABILITY_BINS + 1)[1:-1] * 100
    edges = quantiles(scores, percents / 100, weights)
    bins = np.searchsorted(edges, scores)
    rows, clicks, total = (_sums(bins, sums * each) for each in (1, labels, scores))
    used = rows > 0
    return Reliability(rows[used], clicks[used], total[used] / rows[used])


def quantiles(scores: Floats, shares: Floats, weights: Weights | None = None) -> Floats:
    """Returns the scores below which are `shares` of the rows, as NumPy interpolates them."""
    if weights is None:
        return np.quantile(scores, shares)
    order = np.argsort(scores)
    above = np.cumsum(weights.sums[order])
    place = shares * (above[-1] - 1)
    low, high = (
        scores[order][np.minimum(np.searchsorted(above, at, side="right"), len(order) - 1)]
        for at in (np.floor(place), np.ceil(place))
    )
    part = place - np.floor(place)
    # From the nearer end, as NumPy does it: whether a score is at an edge depends on the last bit.
    return np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))


def calibration_error(
    labels: Integers, scores: Floats, weights: Weights | None = None
) -> float | None:
    """Expected calibration error: mean over rows of |click rate - mean score| of the row's bin.

    Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
    AAAI 2015, over bins of equally many rows: click probabilities crowd into few equally wide ones.
    """
    if not len(labels):
        return None
    bins = reliability(labels, scores, weights)
    gaps = np.abs(bins.clicks - bins.rows * bins.mean_score)
    return float(gaps.sum() / bins.rows.sum())


def is_probability(scores: Floats) -> NDArray[np.bool_]:
    """Says which scores [N] are numbers from 0 to 1."""
    return (scores >= 0) & (scores <= 1)


def _placements(labels: Integers, scores: Floats, groups: Integers, sums: Floats) -> Floats:
    """Returns how well each row [N] is placed among the other class of its group.

    For a click the share of non-clicks below it, for a non-click the share of clicks above it, a
    tie counting half; NaN in a group of one class. The mean over either class is the AUC. By
    cumulative sums, as Sun and Xu, "Fast Implementation of DeLong's Algorithm", IEEE Signal
    Processing Letters 21, 2014, do it by midranks.
    """
    order = np.lexsort((scores, groups)) if groups.any() else np.argsort(scores)
    starts = _starts_of_ties(scores[order], groups[order])
    sizes = np.diff(starts, append=len(order))
    of_group = groups[order[starts]]
    is_click = (labels == 1)[order]
    clicks = _sums_of_ties(np.where(is_click, sums[order], 0), starts)
    others = _sums_of_ties(np.where(is_click, 0, sums[order]), starts)

    def share_below(weight: Floats) -> Floats:
        total = np.bincount(of_group, weight)
        before = np.cumsum(total) - total
        # In place: these are as long as the rows.
        share = np.cumsum(weight)
        share -= weight / 2
        share -= before[of_group]
        with np.errstate(invalid="ignore"):
            share /= total[of_group]
        return share

    shares = np.repeat(share_below(others), sizes)
    shares[~is_click] = 1 - np.repeat(share_below(clicks), sizes)[~is_click]
    placed = np.empty(len(order))
    placed[order] = shares
    return placed


def _starts_of_ties(ranked: Floats, groups: Integers) -> Integers:
    """Returns where in sorted rows another score or another group begins."""
    is_new = np.diff(groups, prepend=-1) != 0
    is_new |= np.diff(ranked, prepend=np.nan) != 0
    return np.flatnonzero(is_new)


def _sums_of_ties(weights: Floats, starts: Integers) -> Floats:
    return np.add.reduceat(weights, starts) if len(starts) else np.zeros(0)


def _mean_and_variance(
    labels: Integers, placed: Floats, weights: Weights
) -> tuple[float | None, float | None]:
    """Returns the mean of placements and DeLong's variance of it."""
    of_clicks, of_others = (_of_a_class(placed, weights, labels == label) for label in (1, 0))
    if of_clicks is None or of_others is None:
        return None, None
    (mean, variance), (_, other) = of_clicks, of_others
    return mean, None if variance is None or other is None else variance + other


def _of_a_class(
    placed: Floats, weights: Weights, rows: NDArray[np.bool_]
) -> tuple[float, float | None] | None:
    """Returns the weighted mean of some placements and its variance; None without any."""
    sums, squares = weights.of(rows)
    total = sums.sum()
    if not total:
        return None
    mean = float(placed[rows] @ sums / total)
    count = total**2 / squares.sum()  # by which Kish corrects for unequal weights
    if count < 1 + 1e-9:
        return mean, None
    spread = float(((placed[rows] - mean) ** 2) @ squares) / total**2
    return mean, spread * count / (count - 1)


def _quantile(confidence: float) -> float:
    """Returns the standard normal quantile; up to one half nothing is taken off the estimate."""
    return NormalDist().inv_cdf(max(confidence, 0.5))


def _sums(bins: Integers, weights: Floats) -> Floats:
    return np.bincount(bins, weights).astype(np.float64)
