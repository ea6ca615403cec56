"""Calibration and scores against scikit-learn's, and training on a thinned log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from components.metrics import log_loss, normalized_entropy
from components.trainer.impressions import Impressions, ImpressionsWriter
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import (
    ClickLoss,
    Scores,
    passes_an_epoch,
    platt,
    predict,
    rows_a_step,
    train,
)
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import ADS, USER


@pytest.mark.parametrize(("scale", "shift"), [(0.3, -2.0), (1.0, 0.0), (4.0, 1.0)])
def test_platt_fits_scale_and_shift_as_logistic_regression_does(scale: float, shift: float) -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=5000)
    labels = (draw.random(5000) < 1 / (1 + np.exp(-(scale * logits + shift)))).astype(np.float32)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], labels)
    found = platt(logits.astype(np.float32), labels)
    assert found == pytest.approx((expected.coef_[0, 0], expected.intercept_[0]), abs=1e-4)


def test_platt_never_turns_the_order_round() -> None:
    logits = np.linspace(-2, 2, 100)
    assert platt(logits, (logits < 0).astype(np.float32))[0] >= 0


def test_scores_are_measured_by_their_weights() -> None:
    draw = np.random.default_rng(1)
    logits = np.round(draw.normal(size=200), 1)
    clicks, others = draw.integers(0, 4, 200), draw.integers(0, 4, 200)
    labels, probabilities, weights = Scores(logits, clicks, others).by_label()
    repeated = np.repeat([1, 0], [clicks.sum(), others.sum()])
    scores = np.concatenate([np.repeat(logits, clicks), np.repeat(logits, others)])
    assert roc_auc_score(labels, probabilities, sample_weight=weights.sums) == pytest.approx(
        roc_auc_score(repeated, scores)
    )
    assert log_loss(labels, probabilities, weights) == pytest.approx(
        sklearn_log_loss(repeated, 1 / (1 + np.exp(-scores)))
    )


@given(probability=st.floats(0.01, 0.99), kept=st.floats(0.01, 1))
@settings(deadline=None)
def test_the_correction_is_that_of_the_paper(probability: float, kept: float) -> None:
    # He et al., section 6.3: q = p / (p + (1 - p) / w), of the prediction p on the thinned log.
    corrected = probability / (probability + (1 - probability) / kept)
    logit = np.log(corrected / (1 - corrected))
    loss = ClickLoss(kept)(np.ones(1, np.float32), np.array([logit], np.float32))
    assert float(loss) == pytest.approx(-np.log(probability), abs=1e-4)


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_thinned_log_gives_the_probabilities_of_all(tmp_path: Path, calibrate: bool) -> None:
    draw = np.random.default_rng(1)
    truth = np.array([[0.004, 0.02], [0.03, 0.008]])

    def write(name: str, rows: int, kept: float) -> Impressions:
        keys = draw.integers(0, 2, (rows, 2), np.int32)
        clicks = draw.random(rows) < truth[keys[:, 0], keys[:, 1]]
        there = clicks | (draw.random(rows) < kept)
        empty = Impressions(tmp_path / name, {USER: 1}, kept_negatives=kept)
        with ImpressionsWriter(empty) as writer:
            writer.write(keys[there], clicks[there], ~clicks[there])
        return writer.written

    ads = {ADS: np.eye(2, dtype=np.float32)}
    thinned = write("train", 200_000, 0.05), write("validation", 100_000, 0.05)
    data = TrainingData(*thinned, ads, user_width=2, user_ids=0, ad_ids=0)
    model = data.two_tower(ModelSettings(normalize=False, user_layers=(), item_layers=()))
    how = TrainerSettings(epochs=4, batch_size=128, schedule="cosine", calibrate=calibrate)
    train(model, data, how)
    whole = write("whole", 200_000, 1.0)
    found = predict(model, whole, ads)
    predicted = 1 / (1 + np.exp(-found.logits))
    assert predicted.sum() / found.clicks.sum() == pytest.approx(1, abs=0.1)
    assert normalized_entropy(*found.by_label()) < 0.97
    # What is measured on the thinned rows is what would be measured on all.
    on_thinned = log_loss(*predict(model, data.validation, ads).by_label())
    assert on_thinned == pytest.approx(log_loss(*found.by_label()), rel=0.1)


@pytest.mark.parametrize(
    ("rows", "weight", "expected", "passes"),
    [
        (50_000, 50_000, 1000, 1),
        (50_001, 50_001, 1000, 1),
        (500, 500, 1000, 1),
        (2000, 5e6, 20, 4),
        (90, 5e6, 16, 67),
        (90, 20_000, 16, 4),
        (400_000, 5e6, 1000, 1),
    ],
)
def test_an_epoch_over_folded_rows_keeps_steps_to_learn_in(
    tmp_path: Path, rows: int, weight: float, expected: int, passes: int
) -> None:
    impressions = Impressions(tmp_path, {USER: 1}, rows=rows, weight=weight)
    assert rows_a_step(impressions, 1000) == expected
    assert passes_an_epoch(impressions, 1000) == passes
