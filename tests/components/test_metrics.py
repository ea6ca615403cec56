"""Metrics against scikit-learn and definitions, their bounds against simulation."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from components.metrics import (
    Weights,
    auc,
    auc_difference,
    average_precision,
    calibration_error,
    cumulative_counts,
    grouped_auc,
    log_loss,
    normalized_entropy,
    reliability,
)

NEAR = 1e-6


@st.composite
def scored_rows(draw):
    """Labels of both classes with scores; a coarse grid makes many ties, a fine one few."""
    count = draw(st.integers(4, 120))
    grid = draw(st.sampled_from([3, 20, 10**6]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random(count) < draw(st.floats(0.05, 0.95))).astype(np.int64)
    labels[:4] = 0, 1, 0, 1
    return labels, rng.integers(0, grid + 1, count) / grid


@given(scored_rows())
@settings(max_examples=200, deadline=None)
def test_ranking_metrics_equal_scikit_learn(rows):
    labels, scores = rows
    assert auc(labels, scores, 0.95).value == pytest.approx(
        sk.roc_auc_score(labels, scores), abs=NEAR
    )
    assert average_precision(labels, scores) == pytest.approx(
        sk.average_precision_score(labels, scores), abs=NEAR
    )


@given(scored_rows())
@settings(max_examples=100, deadline=None)
def test_probability_metrics_equal_scikit_learn(rows):
    labels, scores = rows
    assert log_loss(labels, scores) == pytest.approx(sk.log_loss(labels, scores), abs=NEAR)


@given(scored_rows())
@settings(max_examples=100, deadline=None)
def test_calibration_error_equals_scikit_learns_curve_weighted_by_rows(rows):
    labels, scores = rows
    bins = reliability(labels, scores)
    observed, predicted = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(bins.clicks / bins.rows, observed, atol=NEAR)
    np.testing.assert_allclose(bins.mean_score, predicted, atol=NEAR)
    expected = np.sum(np.abs(observed - predicted) * bins.rows) / len(labels)
    assert calibration_error(labels, scores) == pytest.approx(expected, abs=NEAR)


@given(scored_rows(), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_grouped_auc_is_the_weighted_mean_of_the_groups(rows, groups):
    labels, scores = rows
    group = np.random.default_rng(len(labels)).integers(-1, groups, len(labels))
    counted = [
        (sk.roc_auc_score(labels[group == number], scores[group == number]), sum(group == number))
        for number in range(groups)
        if 0 < labels[group == number].sum() < sum(group == number)
    ]
    measured = grouped_auc(labels, scores, group)
    if counted:
        areas, weights = zip(*counted, strict=True)
        assert measured == pytest.approx(np.average(areas, weights=weights), abs=NEAR)
    else:
        assert measured is None


@given(scored_rows())
@settings(max_examples=50, deadline=None)
def test_cumulative_counts_are_the_roc_curve(rows):
    labels, scores = rows
    hits, predicted = cumulative_counts(labels, scores)
    false_rate, true_rate, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(hits / labels.sum(), true_rate[1:])
    np.testing.assert_allclose((predicted - hits) / (labels == 0).sum(), false_rate[1:])


def test_one_class_and_no_rows_leave_metrics_undefined():
    ones, nothing = np.ones(3, np.int64), np.zeros(0, np.int64)
    half = np.full(3, 0.5)
    assert auc(ones, half, 0.95).value is None
    assert average_precision(np.zeros(3, np.int64), half) is None
    for measure in (log_loss, calibration_error, average_precision):
        assert measure(nothing, nothing.astype(float)) is None
    assert auc(nothing, nothing.astype(float), 0.95).value is None
    assert grouped_auc(nothing, nothing.astype(float), nothing) is None


def test_one_click_has_an_auc_but_no_bounds():
    lonely = auc(np.array([1, 0, 0]), np.array([0.5, 0.1, 0.9]), 0.95)
    assert (lonely.value, lonely.low, lonely.high) == (0.5, None, None)


def delong_by_definition(labels, *scores):
    """The estimator of DeLong 1988 from the full matrix of comparisons."""
    placed = []
    for score in scores:
        clicks, others = score[labels == 1], score[labels == 0]
        above = (clicks[:, None] > others) + 0.5 * (clicks[:, None] == others)
        placed.append((above.mean(axis=1), above.mean(axis=0)))
    by_click = np.atleast_2d(np.cov([clicks for clicks, _ in placed]))
    by_other = np.atleast_2d(np.cov([others for _, others in placed]))
    areas = np.array([clicks.mean() for clicks, _ in placed])
    return areas, by_click / (labels == 1).sum() + by_other / (labels == 0).sum()


@given(scored_rows())
@settings(max_examples=100, deadline=None)
def test_bounds_follow_delong_by_definition(rows):
    labels, scores = rows
    others = np.random.default_rng(1).permutation(scores)
    areas, covariance = delong_by_definition(labels, scores, others)
    z = NormalDist().inv_cdf(0.9)

    difference = auc_difference(labels, scores, others, 0.9)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    margin = z * math.sqrt(max(variance, 0))
    assert difference.value == pytest.approx(areas[0] - areas[1], abs=1e-9)
    assert difference.low == pytest.approx(areas[0] - areas[1] - margin, abs=1e-7)
    assert difference.high == pytest.approx(areas[0] - areas[1] + margin, abs=1e-7)

    area = auc(labels, scores, 0.9)
    if 0 < areas[0] < 1:
        logit = math.log(areas[0] / (1 - areas[0]))
        step = z * math.sqrt(covariance[0, 0]) / (areas[0] * (1 - areas[0]))
        assert area.low == pytest.approx(1 / (1 + math.exp(step - logit)), abs=1e-9)
        assert area.high == pytest.approx(1 / (1 + math.exp(-step - logit)), abs=1e-9)


def test_bounds_agree_with_a_bootstrap():
    rng = np.random.default_rng(3)
    labels = (rng.random(2000) < 0.12).astype(np.int64)
    better = rng.normal(labels, 1)
    worse = better + rng.normal(0, 0.7, len(labels))
    areas, drops = [], []
    for _ in range(400):
        again = rng.integers(0, len(labels), len(labels))
        first = sk.roc_auc_score(labels[again], better[again])
        areas.append(first)
        drops.append(first - sk.roc_auc_score(labels[again], worse[again]))
    area = auc(labels, better, 0.95)
    drop = auc_difference(labels, better, worse, 0.95)
    assert [area.low, area.high] == pytest.approx(np.quantile(areas, [0.05, 0.95]), abs=0.004)
    assert [drop.low, drop.high] == pytest.approx(np.quantile(drops, [0.05, 0.95]), abs=0.003)


@pytest.mark.parametrize(("clicks", "separation"), [(30, 0.4), (30, 1.0), (300, 1.0)])
def test_bounds_cover_as_often_as_promised(clicks, separation):
    """Scores are normal, `separation` apart: the true AUC is known exactly."""
    rng = np.random.default_rng(clicks)
    truth = NormalDist().cdf(separation / math.sqrt(2))
    labels = np.repeat([1, 0], [clicks, 7 * clicks])
    runs = 800
    bounds = [auc(labels, rng.normal(labels * separation, 1), 0.9) for _ in range(runs)]
    below = np.mean([bound.low <= truth for bound in bounds])
    above = np.mean([bound.high >= truth for bound in bounds])
    assert below == pytest.approx(0.9, abs=0.035)
    assert above == pytest.approx(0.9, abs=0.035)


def test_bounds_of_the_difference_cover_as_often_as_promised():
    """Both models see a shared signal through noise of their own: their AUCs correlate."""
    rng = np.random.default_rng(7)
    labels = np.repeat([1, 0], [60, 420])
    shared = 1.0 / math.sqrt(1 + 0.5**2)
    first, second = (NormalDist().cdf(shift * shared / math.sqrt(2)) for shift in (1.0, 0.8))
    covered = []
    for _ in range(800):
        common = rng.normal(0, 1, len(labels))
        better = labels * 1.0 + common + rng.normal(0, 0.5, len(labels))
        worse = labels * 0.8 + common + rng.normal(0, 0.5, len(labels))
        bounds = auc_difference(labels, better, worse, 0.9)
        covered.append((bounds.low <= first - second, bounds.high >= first - second))
    assert np.mean(covered, axis=0) == pytest.approx([0.9, 0.9], abs=0.035)


def test_certainty_of_up_to_one_half_takes_nothing_off():
    labels = np.array([1, 0, 1, 0, 0])
    area = auc(labels, np.array([0.9, 0.2, 0.4, 0.5, 0.1]), 0)
    assert area.low == pytest.approx(area.value) == pytest.approx(area.high)


@given(scored_rows(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_folded_rows_are_worth_what_they_stand_for(rows, seed):
    """Every metric of rows with counts is that of the rows written out."""
    labels, scores = rows
    counts = np.random.default_rng(seed).integers(1, 6, len(labels))
    weights = Weights(counts.astype(float), counts.astype(float))
    groups = np.arange(len(labels)) % 3
    others = scores[::-1]

    def measured(labels, scores, others, groups, weights):
        return [
            *dict(auc(labels, scores, 0.9, weights)).values(),
            *dict(auc_difference(labels, scores, others, 0.9, weights)).values(),
            grouped_auc(labels, scores, groups, weights),
            average_precision(labels, scores, weights),
            log_loss(labels, scores, weights),
            normalized_entropy(labels, scores, weights),
            calibration_error(labels, scores, weights),
        ]

    written_out = [np.repeat(column, counts) for column in (labels, scores, others, groups)]
    for folded, plain in zip(
        measured(labels, scores, others, groups, weights),
        measured(*written_out, None),
        strict=True,
    ):
        assert folded == (plain if plain is None else pytest.approx(plain, abs=1e-9))


def test_weights_move_the_estimate_and_say_less_than_as_many_rows():
    rng = np.random.default_rng(5)
    labels = np.repeat([1, 0], [200, 400])
    scores = rng.normal(labels, 1)
    thinned = Weights(np.where(labels == 1, 1.0, 10.0), np.where(labels == 1, 1.0, 100.0))
    weighted, plain = (auc(labels, scores, 0.9, weights) for weights in (thinned, None))
    assert weighted.value == pytest.approx(
        sk.roc_auc_score(labels, scores, sample_weight=thinned.sums), abs=NEAR
    )
    assert weighted.high - weighted.low == pytest.approx(plain.high - plain.low, rel=1e-6)


@given(scored_rows())
@settings(max_examples=50, deadline=None)
def test_normalized_entropy_is_log_loss_by_that_of_the_click_rate(rows):
    labels, scores = rows
    of_the_rate = sk.log_loss(labels, np.full(len(labels), labels.mean()))
    expected = sk.log_loss(labels, scores) / of_the_rate
    assert normalized_entropy(labels, scores) == pytest.approx(expected, rel=NEAR)


def test_normalized_entropy_needs_both_classes():
    half = np.full(3, 0.5)
    assert normalized_entropy(np.zeros(3, np.int64), half) is None
    assert normalized_entropy(np.ones(3, np.int64), half) is None
    assert normalized_entropy(np.zeros(0, np.int64), np.zeros(0)) is None
