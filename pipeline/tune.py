"""Looks for better settings of the model and its training, on the data of the newest run.

Trials start from what that run's Trainer trained on: no CSV is read, nothing is embedded again. The
rows that early stopping watches judge them; the eval split stays unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner  # type: ignore[import-untyped]
import numpy as np
import yaml

from components.errors import InputError
from components.metrics import auc, log_loss, normalized_entropy
from components.output_file import write_text
from components.trainer.training import predict, train
from components.trainer.training_data import FOLDER, TrainingData
from pipeline.config import PipelineConfig
from pipeline.display import Display
from pipeline.quiet import output_to
from pipeline.runs import find_runs
from pipeline.settings import Range
from pipeline.tune_space import Configure


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        config: the settings.
        log_loss: mean negative log-likelihood of the validation rows.
        auc: area under the ROC curve of the same.
        normalized_entropy: log loss by that of the click rate alone.
    """

    config: PipelineConfig
    log_loss: float
    auc: float
    normalized_entropy: float

    def __str__(self) -> str:
        return f"log loss {self.log_loss:.4f}, NE {self.normalized_entropy:.4f}, AUC {self.auc:.4f}"


def tune(configure: Configure, trials: int, display: Display) -> list[Trial]:
    """Tries settings, each time those that promise most (Bayesian optimisation).

    Args:
        configure: gives the settings with overrides on top; see `tune_space.check_space`.
        trials: how many to try, beside the settings as they are.
        display: shows the progress.

    Returns:
        The trials, the one with the least log loss first.

    Raises:
        InputError: there is no run to start from, or its data does not fit the settings.
    """
    config = configure([])
    data = training_data(config)
    folder = config.folder / "tune"
    folder.mkdir(exist_ok=True)
    tried = []

    def attempt(name: str, overrides: list[str]) -> Trial:
        with display.step(name) as step, output_to(folder / "tune.log"):
            trial = try_settings(configure(overrides), data)
            step.note = f"{trial}  {' '.join(overrides)}"
        tried.append(trial)
        return trial

    attempt("as they are", [])
    _Tuner(config, trials, folder, attempt).search(verbose=0)
    return sorted(tried, key=lambda trial: np.nan_to_num(trial.log_loss, nan=np.inf))


def training_data(config: PipelineConfig) -> TrainingData:
    """Returns what the newest run of the pipeline trained on.

    Raises:
        InputError: no run got so far, or its settings differ in what its data depends on.
    """
    for record in reversed(find_runs(config.folder)):
        folder = record.output("trainer", "model_run")
        if folder is not None and (folder / FOLDER).exists():
            break
    else:
        raise InputError(f"{config.folder}: no run that trained; `twotower run` comes first")
    data = TrainingData.load(folder / FOLDER)
    uses_ids = data.user_ids > 0, data.ad_ids > 0
    if uses_ids != (config.model.user_id, config.model.ad_id):
        raise InputError(
            f"run {record.run_id} had other values of model.user_id and model.ad_id; run once more"
        )
    if not data.validation.rows:
        raise InputError(
            f"run {record.run_id} has no validation rows, which judge the trials; "
            "set trainer.validation_share above 0 and run once more"
        )
    return data


def try_settings(config: PipelineConfig, data: TrainingData) -> Trial:
    """Trains with the settings and measures on the validation rows."""
    keras.utils.set_random_seed(config.trainer.seed)
    model = data.two_tower(config.model)
    train(model, data, config.trainer)
    labels, probabilities, weights = predict(model, data.validation, data.ads).by_label()
    return Trial(
        config,
        log_loss=log_loss(labels, probabilities, weights) or np.nan,
        auc=auc(labels, probabilities, 0.5, weights).value or np.nan,
        normalized_entropy=normalized_entropy(labels, probabilities, weights) or np.nan,
    )


def write_settings(config: PipelineConfig, file: Path) -> None:
    """Writes the settings that are not the defaults as YAML."""
    values = config.model_dump(mode="json", exclude_unset=True)
    write_text(file, yaml.safe_dump(values, sort_keys=False))


class _Tuner(keras_tuner.BayesianOptimization):
    """Draws settings from the space of `config` and hands them to `attempt`."""

    def __init__(
        self,
        config: PipelineConfig,
        trials: int,
        folder: Path,
        attempt: Callable[[str, list[str]], Trial],
    ) -> None:
        super().__init__(
            max_trials=trials,
            seed=config.trainer.seed,
            hyperparameters=_hyperparameters(config),
            directory=str(folder),
            project_name="trials",
            overwrite=True,
        )
        self._attempt = attempt
        self._names = (f"trial {number} of {trials}" for number in range(1, trials + 1))

    def run_trial(self, trial: Any, **_: Any) -> float:
        """Returns what is to be made small."""
        overrides = [f"{key}={value}" for key, value in trial.hyperparameters.values.items()]
        return self._attempt(next(self._names), overrides).log_loss


def _hyperparameters(config: PipelineConfig) -> keras_tuner.HyperParameters:
    space = keras_tuner.HyperParameters()
    for key, values in config.tune.space.items():
        if not isinstance(values, Range):
            # As YAML, for a choice may be a list.
            space.Choice(key, [json.dumps(value) for value in values])
            continue
        is_whole = isinstance(values.low, int) and isinstance(values.high, int)
        draw = space.Int if is_whole else space.Float
        draw(key, values.low, values.high, sampling="log" if values.log else "linear")
    return space
