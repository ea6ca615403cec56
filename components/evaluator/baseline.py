"""Finds the model in service and whether it can score the same rows as the new one."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import tensorflow as tf
from apache_beam.utils.shared import Shared

from components.evaluator.scoring import SharedModel
from components.features import CLICK_MODEL
from components.serving_root import newest


@dataclass(frozen=True)
class Baseline:
    """The model in service.

    Attributes:
        folder: where it is; None if no model is in service.
        problem: why it cannot score the rows; empty if it can.
        model: the model, if it can.
    """

    folder: str | None
    problem: str = ""
    model: SharedModel | None = None


def find_baseline(serving_root: str, schema: pa.Schema, handle: Shared) -> Baseline:
    """Returns the click model in service, tried on rows of a schema.

    A model that is absent, cannot be read or does not fit the rows is no error: what is wrong is
    told as the baseline's problem.

    Args:
        serving_root: where models are pushed to.
        schema: of the rows.
        handle: of the models that a process has loaded.
    """
    version = newest(serving_root)
    if version is None:
        return Baseline(None, f"none to compare with: {serving_root} has no {CLICK_MODEL} yet")
    folder = version.folders[CLICK_MODEL]
    shared = SharedModel(folder, handle)
    try:
        model = shared.load()
        misfit = model.misfit(schema)
        if misfit:
            return Baseline(folder, misfit)
        model.score(pa.table([pa.nulls(1, field.type) for field in schema], schema=schema))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, tf.errors.OpError) as error:
        return Baseline(folder, f"it cannot be used: {error}".splitlines()[0])
    return Baseline(folder, model=shared)
