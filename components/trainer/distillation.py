"""Labels that are partly the probabilities of a teacher, which knows users and ads by their ids.

Towers without ids learn an ad from its text and a user from a few attributes; each click tells
them little, and the teacher's probability, which rests on all that the user and the ad did, more.
Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; with columns that
only the teacher is given, as in Xu et al., "Privileged Features Distillation at Taobao
Recommendations", KDD 2020.
"""

from __future__ import annotations

import math
from dataclasses import replace

import keras
import numpy as np

from components.trainer.impressions import TEACHER_USER_ID, Impressions, relabel, values_of
from components.trainer.settings import ModelSettings, TrainerSettings, teacher_settings
from components.trainer.training import predict, sigmoid, train
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import AD_ID, ADS, USER_ID


def distill(data: TrainingData, model: ModelSettings, settings: TrainerSettings) -> TrainingData:
    """Trains a teacher, and returns the data with labels that are partly its probabilities.

    The teacher is towers that know each ad by its number, and each user where the data has
    TEACHER_USER_ID. Validation keeps its labels.

    Args:
        data: what to learn from; its files are replaced.
        model: the settings of the towers.
        settings: of their training, with what is other for the teacher, and its share of a label.
    """
    seen = _seen_by_teacher(data)
    of_towers, of_training = teacher_settings(model, settings)
    keras.utils.set_random_seed(of_training.seed)
    teacher = seen.two_tower(of_towers)
    train(teacher, seen, of_training)
    logits = predict(teacher, seen.impressions, seen.ads).logits.astype(np.float64)
    logits -= math.log(data.impressions.kept_negatives)  # among those that were kept
    return replace(
        data,
        impressions=relabel(data.impressions, sigmoid(logits), settings.distillation),
        validation=relabel(data.validation, None, 0),
    )


def _seen_by_teacher(data: TrainingData) -> TrainingData:
    """Returns the data with the ids that only the teacher is given as the model's inputs."""
    ads, ad_ids, user_ids = dict(data.ads), data.ad_ids, data.user_ids
    if AD_ID not in ads:
        ads[AD_ID] = np.arange(1, len(ads[ADS]) + 1, dtype=np.int32)
        ad_ids = len(ads[ADS]) + 1
    if TEACHER_USER_ID in data.impressions.inputs:
        parts = (values_of(part, TEACHER_USER_ID) for part in (data.impressions, data.validation))
        user_ids = 1 + max(int(numbers.max(initial=0)) for numbers in parts)
    return replace(
        data,
        impressions=_with_user_id(data.impressions),
        validation=_with_user_id(data.validation),
        ads=ads,
        ad_ids=ad_ids,
        user_ids=user_ids,
    )


def _with_user_id(impressions: Impressions) -> Impressions:
    names = {TEACHER_USER_ID: USER_ID}
    inputs = {names.get(name, name): width for name, width in impressions.inputs.items()}
    return replace(impressions, inputs=inputs)
