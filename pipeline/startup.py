"""What a process of this project sets before it imports TensorFlow."""

from __future__ import annotations

import gc
import os

_OBJECTS_A_LOOK = 100_000  # of Python's garbage collector


def set_up_process() -> None:
    """Sets what TensorFlow multiplies with, and how often Python looks for garbage."""
    # Of its two libraries, TensorFlow takes oneDNN by itself only where the processor has newer
    # instructions. With the other one, what a row's product is rounded to depends on its place
    # among other rows, and so an embedding on what else is embedded; it is slower, too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Most of what is made stays: modules, graphs. To look through it for garbage after every 700
    # objects takes a fifth of the time in which TFX is imported.
    gc.set_threshold(_OBJECTS_A_LOOK)
