"""What a process of this project sets before it imports TensorFlow."""

from __future__ import annotations

import gc
import os

_OBJECTS_A_LOOK = 100_000  # of Python's garbage collector


def look_for_less_garbage() -> None:
    """Lets Python's garbage collector look at what was made less often."""
    # Most of what is made stays: modules, graphs. To look through it for garbage after every 700
    # objects takes a fifth of the time in which TFX is imported.
    gc.set_threshold(_OBJECTS_A_LOOK)


def multiply_with_onednn() -> None:
    """Lets TensorFlow, which is imported after this, multiply with oneDNN on every processor.

    By itself, TensorFlow takes oneDNN only where the processor has newer instructions. With its
    other library, what a row's product is rounded to depends on the row's place among others, and
    so an embedding on what else is embedded. Where someone has set the variable, it stays.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
