"""Tuning: what it refuses, what it starts from, and that the best settings are a configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.errors import InputError
from components.trainer.impressions import Impressions, ImpressionsWriter
from components.trainer.training_data import FOLDER, TrainingData
from components.trainer.two_tower import ADS, USER
from pipeline.config import PipelineConfig, load_config
from pipeline.display import Display
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.tune import training_data, tune, write_settings
from pipeline.tune_space import Configure, check_space

Space = dict[str, Any]


@pytest.fixture
def configure(tmp_path: Path) -> Callable[[Space], Configure]:
    """Gives the settings of a configuration with a space, as the command does."""

    def with_space(space: Space) -> Configure:
        values = {
            "name": "small",
            "runs": str(tmp_path),
            "data": {"input": "data", "schema_file": "schema.pbtxt"},
            "model": {"user_layers": [4], "item_layers": [4], "embedding": 4},
            "trainer": {"epochs": 1, "batch_size": 64},
            "tune": {"space": space},
        }
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
        return lambda overrides: load_config(tmp_path / "small.yaml", overrides)

    return with_space


def write_run(config: PipelineConfig, validation_rows: int = 100) -> TrainingData:
    """Leaves what a run with a Trainer leaves; clicks depend on user and ad."""
    folder = config.folder / "1"
    output = folder / "model_run" / FOLDER
    output.mkdir(parents=True)
    draw = np.random.default_rng(1)

    def impressions(name: str, rows: int) -> Impressions:
        user, ad = draw.integers(0, 2, (2, rows), np.int32)
        clicks = (user == ad).astype(int)
        with ImpressionsWriter(Impressions(output / name, {USER: 1})) as writer:
            writer.write(np.column_stack([user, ad]), clicks, 1 - clicks)
        return writer.written

    data = TrainingData(
        impressions("train", 500),
        impressions("validation", validation_rows),
        {ADS: np.eye(2, dtype=np.float32)},
        user_width=2,
        user_unknown=[],
        user_ids=0,
        ad_ids=0,
    )
    data.save(output)
    trainer = NodeRecord(
        id="trainer", state="done", seconds=1, outputs={"model_run": str(output.parent)}
    )
    RunRecord(
        run_id="1",
        folder=folder,
        status="pushed",
        exit_code=0,
        config=config.model_dump(mode="json"),
        data={},
        nodes=[trainer],
    ).write()
    return data


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "tune.space: missing"),
        ({"data.input": ["a", "b"]}, "data.input cannot be tuned"),
        ({"model.user_id": [True, False]}, "model.user_id cannot be tuned"),
        ({"trainer.epoch": [1, 2]}, "trainer.epoch: no such setting"),
        ({"trainer.epochs": [1, 0]}, "trainer.epochs: "),
        ({"model.dropout": {"low": 0.1, "high": 1.5}}, "model.dropout: "),
        ({"model.dropout": {"low": 0.5, "high": 0.1}}, "low < high"),
        ({"trainer.learning_rate": {"low": 0, "high": 0.1, "log": True}}, "0 < low"),
        ({"trainer.epochs": [1]}, "tune.space.trainer.epochs"),
    ],
)
def test_a_space_that_cannot_be_tried_is_refused(
    configure: Callable[[Space], Configure], space: Space, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        check_space(configure(space))


def test_impressions_of_another_version_are_refused(
    configure: Callable[[Space], Configure],
) -> None:
    config = configure({})([])
    write_run(config)
    facts = config.folder / "1" / "model_run" / FOLDER / "facts.json"
    facts.write_text(facts.read_text().replace('"inputs"', '"columns"'))
    with pytest.raises(InputError, match=r"another version of twotower .* run once more"):
        training_data(config)


def test_without_a_run_there_is_nothing_to_tune_on(
    configure: Callable[[Space], Configure],
) -> None:
    with pytest.raises(InputError, match="`twotower run` comes first"):
        training_data(configure({})([]))


def test_a_run_with_other_ids_or_without_validation_is_refused(
    configure: Callable[[Space], Configure],
) -> None:
    config = configure({})([])
    write_run(config, validation_rows=0)
    with pytest.raises(InputError, match="no validation rows"):
        training_data(config)
    with pytest.raises(InputError, match=r"model\.user_id and model\.ad_id"):
        training_data(configure({})(["model.ad_id=true"]))


def test_training_data_comes_back_as_it_was(configure: Callable[[Space], Configure]) -> None:
    config = configure({})([])
    written, read = write_run(config), training_data(config)
    assert (read.impressions, read.validation) == (written.impressions, written.validation)
    assert (read.user_width, read.user_ids, read.ad_ids) == (2, 0, 0)
    np.testing.assert_array_equal(read.ads[ADS], written.ads[ADS])


def test_the_best_settings_come_first_and_run_as_a_configuration(
    configure: Callable[[Space], Configure], tmp_path: Path
) -> None:
    space = {
        "trainer.epochs": {"low": 1, "high": 3},
        "trainer.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "model.user_layers": [[4], [8, 4], []],
    }
    choose = configure(space)
    write_run(choose([]))
    tried = tune(choose, 3, Display())
    losses = [trial.log_loss for trial in tried]
    assert len(tried) == 4  # with the settings as they are
    assert losses == sorted(losses)
    assert len(set(losses)) > 1
    assert choose([]) in [trial.config for trial in tried]
    for trial in tried:
        assert 1 <= trial.config.trainer.epochs <= 3
        assert trial.config.model.user_layers in [(4,), (8, 4), ()]
    write_settings(tried[0].config, tmp_path / "best.yaml")
    assert load_config(tmp_path / "best.yaml") == tried[0].config
