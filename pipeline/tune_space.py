"""The space that `twotower tune` looks in, checked before anything slow begins."""

from __future__ import annotations

import json
from collections.abc import Callable

from components.errors import InputError
from pipeline.config import PipelineConfig
from pipeline.settings import Range

# Gives the settings with `key=value` overrides on top.
Configure = Callable[[list[str]], PipelineConfig]

# What the training data of a run was made by cannot be varied after it.
_FIXED = (
    *("model.user_id", "model.ad_id", "model.training_only", "model.served_position"),
    *("trainer.validation_share", "trainer.keep_negatives", "trainer.distillation"),
    *("trainer.teacher", "trainer.warm_start", "trainer.refit"),
)


def check_space(configure: Configure) -> None:
    """Checks that every value of the space, or both ends of a range, can be set.

    Raises:
        InputError: one cannot, or there is no space at all.
    """
    space = configure([]).tune.space
    if not space:
        raise InputError("tune.space: missing; it says which settings to vary, and in what bounds")
    for key, values in space.items():
        if not key.startswith(("model.", "trainer.")) or key in _FIXED:
            raise InputError(
                f"tune.space: {key} cannot be tuned; settings of model and trainer can, but for "
                f"{', '.join(_FIXED)}"
            )
        for value in (values.low, values.high) if isinstance(values, Range) else values:
            configure([f"{key}={json.dumps(value)}"])
