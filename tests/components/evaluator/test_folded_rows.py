"""Folded rows: exact while they may be, rounded by the rows alone beyond."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from components import metrics
from components.evaluator.folded_rows import FoldedRows, hash_groups
from components.metrics import Weights


def rows_of(count, seed=0, clicks=0.1):
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < clicks).astype(np.int64)
    scores = 1 / (1 + np.exp(2.2 - 0.5 * labels - rng.normal(0, 1, count)))
    return labels, scores.astype(np.float32).astype(np.float64)


def fold(labels, *scores, groups=None, parts=1, most=1 << 20, order=None):
    """Folds rows in parts, merged in an order."""
    whole = FoldedRows(len(scores), most)
    pieces = np.array_split(np.arange(len(labels)), parts)
    for place in order if order is not None else range(parts):
        rows = pieces[place]
        part = FoldedRows(len(scores), most)
        part.add(
            labels[rows],
            [score[rows] for score in scores],
            Weights.ones(len(rows)),
            None if groups is None else groups[rows],
        )
        whole.merge(part)
    return pickle.loads(pickle.dumps(whole)).unfolded  # as on the way to another worker


@given(st.integers(0, 300), st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_nothing_is_lost_while_there_are_few(count, seed, parts):
    labels, scores = rows_of(count, seed)
    folded = fold(labels, scores, parts=parts)
    written_out = [
        np.repeat(column, folded.weights.sums.astype(int))
        for column in (folded.labels, folded.scores[0])
    ]
    given_rows = sorted(zip(labels, scores, strict=True))
    assert sorted(zip(*written_out, strict=True)) == given_rows
    assert folded.level == 0


def test_two_models_keep_their_scores_paired():
    labels, scores = rows_of(2000)
    others = scores[::-1].copy()
    folded = fold(labels, scores, others, parts=3)
    pairs = zip(folded.labels, *folded.scores, strict=True)
    assert sorted(pairs) == sorted(zip(labels, scores, others, strict=True))
    assert metrics.auc_difference(
        folded.labels, *folded.scores, confidence=0.9, weights=folded.weights
    ).value == pytest.approx(sk.roc_auc_score(labels, scores) - sk.roc_auc_score(labels, others))


def test_rows_without_a_probability_are_counted_and_left_out():
    labels, scores = rows_of(10)
    scores[:3] = np.nan, -0.1, 1.5
    folded = fold(labels, scores)
    assert folded.unusable == 3
    assert folded.weights.sums.sum() == 7


def test_many_are_rounded_to_less_than_a_millionth_of_auc():
    labels, scores = rows_of(400_000)
    exact, rounded = fold(labels, scores), fold(labels, scores, most=1 << 16)
    assert exact.level == 0 < rounded.level
    assert len(rounded.labels) <= 1 << 16
    for measure, most in (
        (metrics.log_loss, 1e-6),
        (metrics.normalized_entropy, 1e-6),
        (metrics.average_precision, 1e-5),  # a staircase: each tie is a step
        (metrics.calibration_error, 1e-5),  # rows at an edge of a bin change sides
    ):
        assert measure(rounded.labels, rounded.scores[0], rounded.weights) == pytest.approx(
            measure(labels, scores), abs=most
        )
    area = metrics.auc(rounded.labels, rounded.scores[0], 0.95, rounded.weights)
    assert area.value == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-6)
    assert area.low == pytest.approx(metrics.auc(labels, scores, 0.95).low, abs=1e-6)


@given(st.permutations(range(6)))
def test_rounding_does_not_depend_on_who_added_what(order):
    labels, scores = rows_of(6000, seed=1)
    groups = hash_groups(np.array([f"user {number % 900}" for number in range(6000)], object))
    straight, shuffled = (
        fold(labels, scores, groups=groups, parts=6, most=500, order=turn) for turn in (None, order)
    )
    assert straight.level == shuffled.level > 0
    for first, second in zip(straight[:4], shuffled[:4], strict=True):
        np.testing.assert_array_equal(first, second)


def test_of_too_many_groups_whole_ones_stay():
    """The AUC within users is then that of a part of them, drawn by a hash."""
    labels, scores = rows_of(60_000, clicks=0.5)
    users = np.arange(60_000) % 6000
    groups = hash_groups(users.astype(str).astype(object))
    sample = fold(labels, scores, groups=groups, most=20_000)
    sizes = np.bincount(sample.groups, sample.weights.sums)
    assert set(sizes) == {10}
    assert 1000 < len(sizes) < 2500
    assert metrics.grouped_auc(
        sample.labels, sample.scores[0], sample.groups, sample.weights
    ) == pytest.approx(metrics.grouped_auc(labels, scores, users), abs=0.02)
