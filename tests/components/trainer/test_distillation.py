"""Labels that a teacher moves: by how much, and towards the truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.errors import InputError
from components.trainer.distillation import distill
from components.trainer.impressions import (
    TEACHER_USER_ID,
    Impressions,
    ImpressionsWriter,
    batches,
    outcomes,
    relabel,
)
from components.trainer.settings import ModelSettings, TrainerSettings, teacher_settings
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import AD_ID, AD_OF, ADS, USER
from pipeline.config import load_config

USERS, AD_COUNT, ROWS = 60, 40, 12_000


def write(
    file: Path,
    positions: np.ndarray,
    users: np.ndarray,
    ads: np.ndarray,
    labels: np.ndarray,
    kept: float = 1.0,
) -> Impressions:
    """Writes rows of users who have a position for all, and an id for the teacher."""
    empty = Impressions(file, {USER: 1, TEACHER_USER_ID: 1}, kept_negatives=kept)
    with ImpressionsWriter(empty) as writer:
        keys = np.column_stack([positions, users + 1, ads]).astype(np.int32)
        writer.write(keys, labels, 1 - labels)
    return writer.written


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_labels_move_by_the_share(tmp_path: Path, share: float) -> None:
    draw = np.random.default_rng(1)
    labels, said = draw.integers(0, 2, 50), draw.random(50)
    rows = write(tmp_path / "train.tfrecord", *np.arange(150).reshape(3, 50), labels)
    moved = relabel(rows, said, share)
    assert list(moved.inputs) == [USER]
    clicks, others = outcomes(moved)
    np.testing.assert_allclose(clicks, (1 - share) * labels + share * said, atol=1e-6)
    np.testing.assert_allclose(clicks + others, 1, atol=1e-6)
    assert [file.name for file in tmp_path.iterdir()] == [moved.file.name]


def test_rows_that_only_the_teacher_tells_apart_become_one(tmp_path: Path) -> None:
    labels = np.array([1, 0, 0, 1])
    nobody, ads = np.zeros(4), np.array([0, 0, 0, 1])
    rows = write(tmp_path / "train.tfrecord", nobody, np.arange(4), ads, labels)
    folded = relabel(rows, np.array([0.5, 0.1, 0.3, 0.9]), 1.0)
    assert folded.weight == pytest.approx(4)
    clicks, others = outcomes(folded)
    assert sorted(zip(clicks.round(4), others.round(4), strict=True)) == [(0.9, 0.1), (0.9, 2.1)]


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_the_teacher_moves_labels_towards_the_truth(tmp_path: Path, kept: float) -> None:
    draw = np.random.default_rng(2)
    users, ads = draw.integers(0, USERS, ROWS), draw.integers(0, AD_COUNT, ROWS)
    logits = draw.normal(-1, 1.5, USERS)[users] + draw.normal(0, 1, AD_COUNT)[ads]
    labels = (draw.random(ROWS) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    there = (labels == 1) | (draw.random(ROWS) < kept)
    users, ads, labels, logits = users[there], ads[there], labels[there], logits[there]
    last = len(labels) // 10
    parts = {"train": slice(last, None), "validation": slice(0, last)}
    train, validation = (
        write(tmp_path / f"{name}.tfrecord", users[p], users[p], ads[p], labels[p], kept)
        for name, p in parts.items()
    )
    vectors = np.eye(AD_COUNT, dtype=np.float32)
    data = TrainingData(train, validation, {ADS: vectors}, user_width=USERS, user_ids=0, ad_ids=0)
    towers = ModelSettings(normalize=False, user_layers=(4,), item_layers=(8,), embedding=8)
    settings: dict[str, Any] = {"epochs": 20, "batch_size": 256, "learning_rate": 0.02}
    taught = distill(data, towers, TrainerSettings(**settings, distillation=0.99))

    assert AD_ID not in taught.ads
    assert taught.validation.weight == pytest.approx(last)
    assert outcomes(taught.validation)[0].sum() == labels[:last].sum()
    # The rows of a user and an ad are one by now.
    (inputs, said, _), *_ = batches(taught.impressions, data.ads, ROWS)
    of_ad = inputs[ADS].numpy()[inputs[AD_OF]].argmax(axis=1)
    cell = inputs[USER].numpy()[:, 0] * AD_COUNT + of_ad
    cells = users[last:] * AD_COUNT + ads[last:]
    odds = np.exp(logits[last:] - np.log(kept))  # among the rows that were kept
    count = np.bincount(cells)[cell]
    truth = np.bincount(cells, odds / (1 + odds))[cell] / count
    seen = np.bincount(cells, labels[last:])[cell] / count
    assert np.square(said - truth).mean() < 0.25 * np.square(seen - truth).mean()


def test_a_teacher_has_settings_of_its_own() -> None:
    given = {"model.dropout": 0.6, "model.user_layers": [64], "trainer.epochs": 3}
    towers = ModelSettings(dropout=0.1, embedding=8)
    model, trainer = teacher_settings(towers, TrainerSettings(epochs=9, seed=5, teacher=given))
    assert (model.dropout, model.user_layers, model.embedding) == (0.6, (64,), 8)
    assert (trainer.epochs, trainer.seed) == (3, 5)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model.dropot", 0.6, "trainer.teacher: model.dropot: expected a setting of model or"),
        ("dropout", 0.6, "trainer.teacher: dropout: expected a setting of model or trainer"),
        ("model.user_id", False, "trainer.teacher: model.user_id: expected a setting"),
        (
            "trainer.epochs",
            0,
            "trainer.teacher.trainer.epochs: expected greater than or equal to 1",
        ),
    ],
)
def test_a_wrong_setting_of_a_teacher_is_named(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "name: test\ndata:\n  input: data.csv\n  schema_file: schema.pbtxt\n"
        f"trainer:\n  teacher: {{{key}: {value}}}\n"
    )
    with pytest.raises(InputError, match=re.escape(said)):
        load_config(file)


def test_a_teacher_needs_users(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        "name: test\ndata:\n  input: data.csv\n  schema_file: schema.pbtxt\n"
        "trainer:\n  distillation: 0.5\n"
    )
    with pytest.raises(InputError, match=r"trainer\.distillation needs the name"):
        load_config(file)
