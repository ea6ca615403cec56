"""Settings: what is wrong is said all at once, with the key, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.errors import InputError
from pipeline.config import PipelineConfig, describe, load_config

CONFIGS = sorted((Path(__file__).parents[2] / "pipeline/configs").glob("*.yaml"))
LEAST = "name: demo\ndata:\n  input: data\n  schema_file: schema.pbtxt\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_that_comes_along_is_valid_and_is_named_like_its_file(path: Path) -> None:
    assert load_config(path).name == path.stem


def test_overrides_win_and_keep_their_yaml_types(file: Path) -> None:
    config = load_config(
        file, ["trainer.epochs=5", "data.columns.label=bought", "model.user_layers=[64, 64]"]
    )
    assert config.trainer.epochs == 5
    assert config.data.columns.label == "bought"
    assert config.model.user_layers == (64, 64)


def test_a_pair_is_made_of_two_texts(file: Path) -> None:
    pair = ["text_encoder.pair=true"]
    two = load_config(file, ["data.columns.text=[headline, body]", *pair])
    assert two.data.columns.ad_texts == ["headline", "body"]
    for texts in ([], ["data.columns.text=[headline, body, footer]"]):
        with pytest.raises(InputError, match=r"pair needs two columns in data\.columns\.text, not"):
            load_config(file, [*texts, *pair])


def test_every_problem_is_named_at_once(file: Path) -> None:
    file.write_text("name: Demo!\ntrainer:\n  epochs: many\n  epoch: 3\ndata:\n  input: x\n")
    with pytest.raises(InputError) as caught:
        load_config(file)
    message = str(caught.value)
    assert str(file) in message
    assert "name:" in message
    assert "trainer.epochs:" in message
    assert "'many'" in message
    assert "trainer.epoch: no such setting; there are: batch_size, " in message
    assert "data.schema_file: missing" in message


@pytest.mark.parametrize("override", ["trainer.epochs", "=5", "name.first=x", "trainer.epochs=[1"])
def test_an_override_that_is_none_is_refused(file: Path, override: str) -> None:
    with pytest.raises(InputError, match=r"^--set "):
        load_config(file, [override])


@pytest.mark.parametrize("content", ["", "- a list", "a: [", "!!python/object/apply:os.getcwd []"])
def test_a_file_that_holds_no_settings_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(InputError, match=str(file)):
        load_config(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "nowhere.yaml")


def test_every_setting_is_described_and_the_description_reads_back(file: Path) -> None:
    config = load_config(file)
    described = list(describe(config))
    assert all(meaning for _, _, meaning in described)
    assert {key: value for key, value, _ in described}["trainer.epochs"] == 20
    assert PipelineConfig.model_validate(yaml.safe_load(config.model_dump_json())) == config


@pytest.mark.parametrize(
    ("old", "new"),
    [("centre", "center_embeddings"), ("normalise", "normalize")],
)
def test_a_renamed_key_is_read_and_its_new_name_is_told(file: Path, old: str, new: str) -> None:
    file.write_text(f"{LEAST}model:\n  {old}: false\n")
    with pytest.warns(FutureWarning, match=f"model.{old} is called model.{new} now"):
        config = load_config(file, [f"model.{old}=true"])
    assert getattr(config.model, new) is True
