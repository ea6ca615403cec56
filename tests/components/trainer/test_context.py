"""A log in which better ads were shown lower: what is learned of them, and what is served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import spearmanr

from components.errors import InputError
from components.evaluator.score import ClickModel
from components.features import (
    AS_SHOWN_SIGNATURE,
    CLICK_MODEL,
    MODELS,
    PROBABILITY,
    RAW_SIGNATURE,
    Columns,
)
from components.trainer.context import leave_context_out, served_position
from components.trainer.export import Exporter
from components.trainer.impressions import Impressions, ImpressionsWriter, batches, fold
from components.trainer.serving_ops import unsupported_ops
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import predict, train
from components.trainer.training_data import TrainingData
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import AD_OF, ADS, CONTEXT, USER, TwoTower

ADS_SHOWN = POSITIONS = 10
QUALITY = np.linspace(-3.0, -1.0, ADS_SHOWN)  # log-odds of a click in the middle of the page
LIFT = np.linspace(2.0, -2.0, POSITIONS)  # what a position adds, from the top down
SMALL = ModelSettings(user_layers=(), item_layers=(), embedding=4, normalize=False)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """The better an ad, the lower it was shown, give or take some positions."""
    draw = np.random.default_rng(1)
    rows = 300_000
    ad = draw.integers(0, ADS_SHOWN, rows)
    position = np.clip(np.round(ad + draw.normal(0, 2, rows)), 0, POSITIONS - 1).astype(int)
    clicks = (draw.random(rows) < sigmoid(QUALITY[ad] + LIFT[position])).astype(int)
    keys = np.stack([np.zeros(rows), position, ad], axis=1).astype(np.int32)
    file = tmp_path_factory.mktemp("log") / "rows"
    with ImpressionsWriter(Impressions(file, {USER: 1, CONTEXT: 1})) as writer:
        writer.write(keys, clicks, 1 - clicks)
    impressions = fold(writer.written)
    ads = {ADS: np.eye(ADS_SHOWN, dtype=np.float32)}
    return TrainingData(
        impressions,
        Impressions(file, {USER: 1, CONTEXT: 1}),
        ads,
        user_width=1,
        user_ids=0,
        ad_ids=0,
        context_width=POSITIONS + 1,  # the last is one that nobody has seen
    )


@pytest.fixture(scope="module")
def trained(log: TrainingData) -> list[np.ndarray]:
    """The weights after training."""
    keras.utils.set_random_seed(1)
    model = log.two_tower(SMALL)
    how = TrainerSettings(epochs=5, schedule="cosine", learning_rate=0.05, patience=200)
    train(model, log, how)
    return model.get_weights()


@pytest.fixture
def model(log: TrainingData, trained: list[np.ndarray]) -> TwoTower:
    model = log.two_tower(SMALL)
    model.set_weights(trained)
    return model


def served(model: TwoTower) -> np.ndarray:
    """The probability of each ad, as the exports give it."""
    users = model.user_logit_embedding(*model.user_tower(np.zeros((ADS_SHOWN, 1), np.int32)))
    ads = model.item_logit_embedding(*model.item_tower(np.eye(ADS_SHOWN, dtype=np.float32)))
    return sigmoid((np.asarray(users) * np.asarray(ads)).sum(axis=1))


def test_the_order_served_is_that_of_quality(log: TrainingData, model: TwoTower) -> None:
    _, clicks, others = predict(model, log.impressions, log.ads)
    keys = np.concatenate(
        [inputs[ADS].numpy().argmax(1)[inputs[AD_OF]] for inputs, *_ in batches_of(log)]
    )
    rates = np.bincount(keys, clicks) / np.bincount(keys, clicks + others)
    assert spearmanr(rates, QUALITY).statistic < -0.9
    leave_context_out(model, log, None)
    assert spearmanr(served(model), QUALITY).statistic > 0.9


def batches_of(log: TrainingData) -> tf.data.Dataset:
    return batches(log.impressions, log.ads, 1000)


def test_the_average_is_over_positions_drawn_by_chance(log: TrainingData, model: TwoTower) -> None:
    positions = np.concatenate([inputs[CONTEXT][:, 0] for inputs, *_ in batches_of(log)])
    _, clicks, others = predict(model, log.impressions, log.ads)
    shares = np.bincount(positions, clicks + others) / log.impressions.weight
    truth = sigmoid(QUALITY[:, None] + LIFT) @ shares
    leave_context_out(model, log, None)
    assert served(model).mean() == pytest.approx(truth.mean(), rel=0.05)
    np.testing.assert_allclose(served(model), truth, rtol=0.2)


@pytest.mark.parametrize("position", [0, 4, 9])
def test_a_position_may_be_served_instead(
    log: TrainingData, model: TwoTower, position: int
) -> None:
    leave_context_out(model, log, (0, position))
    np.testing.assert_allclose(served(model), sigmoid(QUALITY + LIFT[position]), rtol=0.25)


def test_where_the_context_is_given_nothing_changes(log: TrainingData, model: TwoTower) -> None:
    before = predict(model, log.impressions, log.ads).logits
    leave_context_out(model, log, None)
    np.testing.assert_allclose(predict(model, log.impressions, log.ads).logits, before, atol=1e-4)
    assert np.asarray(model.context.table)[-1] == 0  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def transform(analyse: Callable[..., Path], rows: list[dict[str, Any]]) -> TransformGraph:
    shown = [
        row | {"place": f"{number % 3}", "page": f"page {number % 7}"}
        for number, row in enumerate(rows)
    ]
    columns = Columns(position="place")
    graph = analyse(shown, columns=columns.model_dump(), training_only=("page",))
    return TransformGraph(str(graph), columns, ("page",))


def test_exports_take_no_position_but_clicks_are_judged_by_theirs(
    transform: TransformGraph, tmp_path: Path
) -> None:
    model = TwoTower(transform.user_width, 6, embedding=4, context_width=transform.context_width)
    biases = np.random.default_rng(1).normal(size=transform.context_width)
    model.context.table.assign(biases)  # type: ignore[union-attr]
    Exporter(model, transform, Columns(position="place")).export(
        tmp_path, {"message_id": [b"1"], "text": [b"An ad"]}
    )
    user = {"att_age": ["old"] * 4, "att_days": [5.0] * 4}
    shown = user | {"text": ["An ad"] * 4, "place": ["0", "2", "", "new"], "page": ["page 3"] * 4}
    signatures = tf.saved_model.load(str(tmp_path / CLICK_MODEL)).signatures
    answers = {}
    for name in (RAW_SIGNATURE, AS_SHOWN_SIGNATURE):
        specs = signatures[name].structured_input_signature[1]
        inputs = {key: tf.constant(shown[key], spec.dtype) for key, spec in specs.items()}
        assert ("place" in specs, "page" in specs) == (name == AS_SHOWN_SIGNATURE,) * 2
        answers[name] = signatures[name](**inputs)[PROBABILITY].numpy().astype(np.float64)
    raw = {key: tf.constant(shown[key]) for key in ("place", "page")}
    ones = transform.context(transform.from_request(raw))[CONTEXT].numpy()
    assert ones.shape == (4, 2)
    logits = [np.log(each / (1 - each)) for each in answers.values()]
    np.testing.assert_allclose(logits[1] - logits[0], biases[ones].sum(1), atol=1e-4)
    assert set(ClickModel(str(tmp_path / CLICK_MODEL)).inputs) == set(shown)
    assert all(unsupported_ops(tmp_path / name) == [] for name in MODELS)


def test_a_served_position_is_one_of_the_training_data(transform: TransformGraph) -> None:
    columns = Columns(position="place")
    found = {served_position(transform, columns, value) for value in "012"}
    assert len(found) == 3
    assert len({column for column, _ in found}) == 1
    with pytest.raises(InputError, match=r"model.served_position: .* place .* got '7'"):
        served_position(transform, columns, "7")
