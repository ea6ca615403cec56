"""Calibration against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from components.trainer.training import platt


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
