"""TensorFlow's protos without the rest of its Python."""

from __future__ import annotations

import importlib.util
import sys


def import_protos_only() -> None:
    """Lets TensorFlow's protos be imported without running tensorflow/__init__.py.

    That file imports all of TensorFlow's Python and Keras, four fifths of the time that a server
    takes to start, and the server needs none of it. For a process of its own: nothing else in it
    may use TensorFlow's Python. Does nothing where that has been imported already.
    """
    spec = importlib.util.find_spec("tensorflow")
    if spec is not None:
        sys.modules.setdefault("tensorflow", importlib.util.module_from_spec(spec))
