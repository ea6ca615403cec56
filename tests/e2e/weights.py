"""The weights of pushed towers, to compare those of two runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


def tower_weights(serving_root: Path, tower: str) -> dict[str, np.ndarray]:
    """Returns the variables of a tower's version 1 by their names in its checkpoint."""
    file = serving_root / tower / "1" / "variables" / "variables"
    checkpoint = tf.train.load_checkpoint(str(file))
    names = [n for n in checkpoint.get_variable_to_shape_map() if "VARIABLE_VALUE" in n]
    assert names, f"{file} has no variables"
    return {name: checkpoint.get_tensor(name) for name in names}
