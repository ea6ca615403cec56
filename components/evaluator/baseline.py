"""Finds the model in service and lets it score the same rows as the new one."""

from __future__ import annotations

import pyarrow as pa
import tensorflow as tf

from components.evaluator.measure import Baseline
from components.evaluator.score import ClickModel
from components.features import CLICK_MODEL
from components.metrics import is_probability
from components.serving_root import newest


def score_baseline(serving_root: str, rows: pa.Table) -> Baseline:
    """Scores `rows` with the click model in service.

    A model that is absent, cannot be read or does not fit the rows is no error: what is wrong is
    told as the baseline's problem.
    """
    version = newest(serving_root)
    if version is None:
        return Baseline(None, f"none to compare with: {serving_root} has no {CLICK_MODEL} yet")
    folder = version.folders[CLICK_MODEL]
    try:
        model = ClickModel(folder)
        misfit = model.misfit(rows)
        if misfit:
            return Baseline(folder, misfit)
        scores = model.score(rows)
    except (OSError, KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        return Baseline(folder, f"it cannot be used: {error}".splitlines()[0])
    if not is_probability(scores).all():
        return Baseline(folder, "it gives rows no probability from 0 to 1")
    return Baseline(folder, scores=scores)
