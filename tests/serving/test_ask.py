"""From pushed models to an answer over gRPC, in one command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components import features
from components.errors import InputError
from pipeline.cli import app
from serving.ask import ask
from twotower_client import Ad


@pytest.fixture
def models(push: Callable[..., Path], tmp_path: Path) -> Path:
    def with_columns(folder: Path) -> None:
        file = folder / features.COLUMNS_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(features.Columns().model_dump_json())

    push(features.CLICK_MODEL, 3, with_columns)
    for model in (features.ITEM_TOWER, features.USER_TOWER, features.RECOMMENDER):
        push(model, 3)
    return tmp_path / "models"


def test_the_newest_models_answer(models: Path) -> None:
    answer = ask(models, {"att_income": "7"}, "pasta", best=2)
    assert answer.probability == pytest.approx(1 / (1 + len("pasta") + 3))
    assert answer.version == 3
    assert answer.best == [
        Ad("a", "text of a", pytest.approx(0.4)),
        Ad("b", "text of b", pytest.approx(0.3)),
    ]


def test_what_cannot_be_answered_is_said(models: Path, push: Any) -> None:
    with pytest.raises(InputError, match=r"att_hat .* it has att_age, att_income"):
        ask(models, {"att_hat": "top"}, "pasta")
    (models / features.RECOMMENDER).rename(models.parent / "gone")
    with pytest.raises(InputError, match=features.RECOMMENDER):
        ask(models, {}, "pasta", best=1)
    with pytest.raises(InputError, match="twotower run"):
        ask(models.parent / "none", {}, "pasta")


def test_command(models: Path) -> None:
    arguments = ["--models", str(models), "--attributes", "att_age=25-34", "--text", "pasta"]
    result = CliRunner().invoke(app, ["ask", *arguments, "--best", "2"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "click probability 0.1111, says version 3",
        "its best running ads for this user:",
        "0.4000  a  text of a",
        "0.3000  b  text of b",
    ]
