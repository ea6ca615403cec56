"""Predictions of one row and of a CSV are those of the pushed click model."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.errors import InputError
from components.features import CLICK_MODEL, PROBABILITY
from serving.predict import Predictor
from tests.serving import small_models
from tests.serving.small_models import CATALOGUE, push, users, write_csv

AD, TEXT = next(iter(CATALOGUE.items()))


@pytest.fixture
def root(request: pytest.FixtureRequest, analyse: Callable[..., Path], tmp_path: Path) -> Path:
    """Pushed models; parametrised with True, they use ids."""
    ids = getattr(request, "param", False)
    return push(small_models.exports(analyse, ids=ids), tmp_path / "root")


def directly(root: Path, **values: Any) -> np.ndarray:
    model = tf.saved_model.load(str(root / CLICK_MODEL / "1"))
    function = model.signatures["serving_default"]
    specs = function.structured_input_signature[1]
    inputs = {name: tf.constant(values[name], spec.dtype) for name, spec in specs.items()}
    return function(**inputs)[PROBABILITY].numpy()


@pytest.mark.parametrize("root", [False, True], ids=["content", "ids"], indirect=True)
def test_what_is_not_given_is_missing(root: Path) -> None:
    nothing = {"att_age": [""], "user_id": [""], "message_id": [""], "att_days": [np.nan]}
    expected = directly(root, **nothing | {"att_age": ["old"]}, text=[TEXT])
    assert Predictor(root).one({"att_age": "old"}, TEXT) == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.parametrize("root", [True], indirect=True)
def test_ids_count_where_the_model_takes_them(root: Path) -> None:
    given = {"user_id": "user-3", "message_id": AD, "att_days": "12"}
    known = {name: [value] for name, value in given.items()} | {"att_days": [12.0]}
    expected = directly(root, **known, att_age=[""], text=[TEXT])
    assert Predictor(root).one(given, TEXT) == pytest.approx(expected[0], abs=1e-6)


def test_what_the_model_does_not_take_is_refused(root: Path) -> None:
    predictor = Predictor(root)
    with pytest.raises(InputError, match="no attribute att_hat, message_id in the model; it has a"):
        predictor.one({"att_hat": "top", "message_id": AD}, TEXT)
    with pytest.raises(InputError, match="att_days=long: the model expects a number"):
        predictor.one({"att_days": "long"}, TEXT)


@pytest.mark.parametrize("root", [False, True], ids=["content", "ids"], indirect=True)
def test_a_csv_gets_a_column(root: Path, tmp_path: Path) -> None:
    ads = list(CATALOGUE.items())
    given = [
        user | {"message_id": ad, "text": text, "note": 'has a "quote"'}
        for user, (ad, text) in zip(users(30), 3 * ads, strict=False)
    ]
    out = tmp_path / "out.csv"
    assert Predictor(root).csv(write_csv(tmp_path / "in.csv", given), out) == len(given)
    with out.open(newline="") as file:
        predicted = list(csv.DictReader(file))
    assert [row["note"] for row in predicted] == ['has a "quote"'] * len(given)
    columns = {name: ["" if row[name] is None else row[name] for row in given] for name in given[0]}
    columns["att_days"] = [np.nan if row["att_days"] is None else row["att_days"] for row in given]
    np.testing.assert_allclose(
        [float(row[PROBABILITY]) for row in predicted], directly(root, **columns), atol=1e-6
    )


def test_values_come_out_as_they_went_in(root: Path, tmp_path: Path) -> None:
    odd = ["007", "123456789", "1e308", "-0", "1.10", " 5", "9007199254740993", ""]
    rows = [
        {"att_age": "old", "att_days": value, "text": TEXT, "note": f" {value}\t"} for value in odd
    ]
    out = tmp_path / "out.csv"
    Predictor(root).csv(write_csv(tmp_path / "in.csv", rows), out)
    with out.open(newline="") as file:
        predicted = list(csv.DictReader(file))
    assert [{name: row[name] for name in rows[0]} for row in predicted] == rows
    assert all(0 < float(row[PROBABILITY]) < 1 for row in predicted)
