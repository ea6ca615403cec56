"""Values that no training row has are answered with what the remaining attributes say alone."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from components.trainer.impressions import Impressions, ImpressionsWriter
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import train
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import AD_OF, ADS, USER, TwoTower

ROWS, SHOWN = 200_000, 5
UNKNOWN = [0, 5]  # of a device, 1 to 4, and a gender, 6 and 7
DEVICE = np.array([-1.2, -0.4, 0.4, 1.2])  # what they add to the log-odds of a click
GENDER = np.array([-0.5, 0.5])
AD = np.linspace(-0.5, 0.5, SHOWN)
# Devices by gender: who knows one knows something of the other.
JOINT = np.array([[0.15, 0.15, 0.1, 0.1], [0.05, 0.1, 0.15, 0.2]])
CLICK = 1 / (1 + np.exp(1.8 - GENDER[:, None, None] - DEVICE[None, :, None] - AD))

Predict = Callable[[int, int], np.ndarray]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    draw = np.random.default_rng(1)
    gender, device = np.divmod(draw.choice(8, ROWS, p=JOINT.ravel()), 4)
    ad = draw.integers(0, SHOWN, ROWS)
    clicks = (draw.random(ROWS) < CLICK[gender, device, ad]).astype(int)
    keys = np.stack([1 + device, 6 + gender, ad], axis=1).astype(np.int32)
    folder = tmp_path_factory.mktemp("rows")

    def impressions(name: str, part: slice) -> Impressions:
        with ImpressionsWriter(Impressions(folder / name, {USER: 2})) as writer:
            writer.write(keys[part], clicks[part], 1 - clicks[part])
        return writer.written

    return TrainingData(
        impressions("train", slice(ROWS * 9 // 10)),
        impressions("validation", slice(ROWS * 9 // 10, ROWS)),
        {ADS: np.eye(SHOWN, dtype=np.float32)},
        user_width=8,
        user_ids=0,
        ad_ids=0,
        user_unknown=UNKNOWN,
    )


def trained(data: TrainingData, value_dropout: float) -> Predict:
    keras.utils.set_random_seed(1)
    settings = ModelSettings(
        user_layers=(16,), item_layers=(), normalize=False, value_dropout=value_dropout
    )
    model: TwoTower = data.two_tower(settings)
    train(
        model,
        data,
        TrainerSettings(learning_rate=0.01, batch_size=4096, schedule="cosine", epochs=10),
    )

    def predict(device: int, gender: int) -> np.ndarray:
        inputs = {
            USER: np.full((SHOWN, 2), [device, gender], np.int32),
            ADS: data.ads[ADS],
            AD_OF: np.arange(SHOWN),
        }
        return 1 / (1 + np.exp(-np.asarray(model(inputs))))

    return predict


@pytest.fixture(scope="module")
def predict(data: TrainingData) -> Predict:
    return trained(data, ModelSettings().value_dropout)


def test_an_unknown_value_leaves_what_the_other_says(predict: Predict) -> None:
    known = np.array(
        [[predict(1 + device, 6 + gender).mean() for device in range(4)] for gender in range(2)]
    )
    by_gender = np.average(known, axis=1, weights=JOINT)
    by_device = np.average(known, axis=0, weights=JOINT)
    for found, alone, share in (
        ([predict(0, 6 + gender).mean() for gender in range(2)], by_gender, JOINT.sum(axis=1)),
        ([predict(1 + device, 5).mean() for device in range(4)], by_device, JOINT.sum(axis=0)),
    ):
        error = np.abs(found / alone - 1)
        assert np.average(error, weights=share) < 0.05
        assert error.max() < 0.1


def test_where_nothing_is_known_the_answer_is_that_of_all_users(predict: Predict) -> None:
    alone = np.average(CLICK.reshape(8, SHOWN), axis=0, weights=JOINT.ravel())
    np.testing.assert_allclose(predict(0, 5).mean(), alone.mean(), rtol=0.05)


def test_without_dropped_values_the_answers_are_those_of_untrained_weights(
    data: TrainingData,
) -> None:
    alone = np.average(CLICK.reshape(8, SHOWN), axis=0, weights=JOINT.ravel())
    assert abs(trained(data, 0.0)(0, 5).mean() / alone.mean() - 1) > 0.2


def test_what_is_known_is_answered_as_well_as_without(predict: Predict, data: TrainingData) -> None:
    without = trained(data, 0.0)
    for device, gender in np.ndindex(4, 2):
        truth = CLICK[gender, device]
        ours, theirs = (each(1 + device, 6 + gender) for each in (predict, without))
        assert np.abs(ours - truth).mean() < np.abs(theirs - truth).mean() + 0.01
