"""A warm start predicts as the pushed model does, and never begins worse than a cold one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from components.features import ITEM_TOWER, MODELS, USER_TOWER, Columns
from components.trainer.export import Exporter
from components.trainer.input_data import training_data, write_compact
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import predict, train
from components.trainer.training_data import TrainingData
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import TwoTower
from components.trainer.warm_start import warm_start

Rows = list[dict[str, Any]]

CATALOGUE = {"message_id": [b"1"], "text": [b"An ad"]}
SMALL = ModelSettings(user_layers=(8,), item_layers=(6,), embedding=4)


@pytest.fixture(scope="module")
def graph_folder(analyse: Callable[..., Path], rows: Rows) -> Path:
    return analyse(rows)


@pytest.fixture(scope="module")
def transform(graph_folder: Path) -> TransformGraph:
    return TransformGraph(str(graph_folder), Columns())


@pytest.fixture(scope="module")
def data(
    graph_folder: Path, transform: TransformGraph, tmp_path_factory: pytest.TempPathFactory
) -> TrainingData:
    impressions, validation, ads = write_compact(
        [str(graph_folder.parent / "examples.gz")],
        tmp_path_factory.mktemp("compact"),
        transform,
        Columns(),
        validation_share=0.2,
        seed=1,
    )
    return training_data(impressions, validation, ads, transform)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "centred"])
def settings(request: pytest.FixtureRequest) -> ModelSettings:
    return SMALL.model_copy(update={"center_embeddings": request.param})


@pytest.fixture(scope="module")
def trained(data: TrainingData, settings: ModelSettings) -> TwoTower:
    keras.utils.set_random_seed(1)
    model = data.two_tower(settings)
    train(model, data, TrainerSettings(epochs=5, batch_size=16))
    return model


@pytest.fixture(scope="module")
def pushed(
    trained: TwoTower, transform: TransformGraph, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A serving root with the trained model as version 3."""
    folder = tmp_path_factory.mktemp("pushed")
    Exporter(trained, transform, Columns()).export(folder / "models", CATALOGUE)
    root = folder / "root"
    for model in MODELS:
        shutil.copytree(folder / "models" / model, root / model / "3")
    return root


@pytest.fixture
def fresh(data: TrainingData, settings: ModelSettings) -> TwoTower:
    keras.utils.set_random_seed(2)
    return data.two_tower(settings)


def test_a_warm_start_predicts_as_the_pushed_model(
    fresh: TwoTower, trained: TwoTower, data: TrainingData, pushed: Path
) -> None:
    expected, *_ = predict(trained, data.validation, data.ads)
    assert not np.allclose(predict(fresh, data.validation, data.ads)[0], expected, atol=1e-3)
    assert warm_start(fresh, data, pushed) == 3
    np.testing.assert_allclose(predict(fresh, data.validation, data.ads)[0], expected, atol=1e-5)


def test_without_a_pushed_model_the_start_is_cold(
    fresh: TwoTower, data: TrainingData, tmp_path: Path
) -> None:
    before = fresh.get_weights()
    assert warm_start(fresh, data, tmp_path) is None
    for one, other in zip(before, fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_other_shapes_stay_as_they_are(data: TrainingData, pushed: Path) -> None:
    keras.utils.set_random_seed(2)
    wider = data.two_tower(SMALL.model_copy(update={"user_layers": (9,)}))
    kernel = wider.user_tower.hidden[0].get_weights()[0]
    # Whether it is kept or not, nothing of another shape can have been taken.
    warm_start(wider, data, pushed)
    np.testing.assert_array_equal(wider.user_tower.hidden[0].get_weights()[0], kernel)


def test_weights_that_predict_worse_are_not_kept(
    fresh: TwoTower,
    data: TrainingData,
    settings: ModelSettings,
    trained: TwoTower,
    transform: TransformGraph,
    tmp_path: Path,
) -> None:
    wrong = data.two_tower(settings)
    wrong.set_weights(trained.get_weights())
    weight, bias = wrong.click.get_weights()
    wrong.click.set_weights([weight, bias + 9.0])  # almost everything is a click
    Exporter(wrong, transform, Columns()).export(tmp_path / "models", CATALOGUE)
    for model in MODELS:
        shutil.copytree(tmp_path / "models" / model, tmp_path / "root" / model / "1")
    before = fresh.get_weights()
    assert warm_start(fresh, data, tmp_path / "root") is None
    for one, other in zip(before, fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_user_tower_alone_is_no_version(
    fresh: TwoTower, data: TrainingData, pushed: Path, tmp_path: Path
) -> None:
    shutil.copytree(pushed / USER_TOWER, tmp_path / USER_TOWER)
    assert not (tmp_path / ITEM_TOWER).exists()
    assert warm_start(fresh, data, tmp_path) is None
