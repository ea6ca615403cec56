"""The benchmark of the settings: each is set back alone, and what that costs is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import settings
from components.trainer.settings import ModelSettings, TrainerSettings
from pipeline.config import load_config


@pytest.mark.parametrize("config", settings.WITHOUT)
def test_each_row_sets_one_setting_back_to_what_it_is_where_nothing_is_set(config: str) -> None:
    file = Path(f"pipeline/configs/{config}.yaml")
    ours = load_config(file).model_dump()
    unset = {"model": ModelSettings().model_dump(), "trainer": TrainerSettings().model_dump()}
    for override in settings.WITHOUT[config]:
        changed = load_config(file, [override]).model_dump()
        group, name = override.partition("=")[0].split(".")
        assert ours[group][name] != unset[group][name]
        assert changed[group][name] == unset[group][name]
        changed[group][name] = ours[group][name]
        assert changed == ours


def test_what_is_bought_is_the_auc_that_is_lost_without_it() -> None:
    whole = np.array([[0.79, 0.54, 0.01], [0.80, 0.53, 0.01]])
    less = np.array([[0.78, 0.55, 0.02], [0.78, 0.56, 0.03]])
    assert settings._cells(less, whole) == ["0.7800", "+0.0150 ± 0.0071", "0.5550", "0.0250"]
    assert settings._cells(whole, whole)[:2] == ["0.7950", ""]
