"""Packages that libraries import where they are installed, and nothing here has a use for.

Keras looks for scikit-learn, Beam for databases and queues, TensorFlow for virtual machines,
IPython for completions, and each does without what is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGES = (
    "google.cloud.bigquery",
    "google.cloud.bigquery_storage_v1",
    "google.cloud.pubsub",
    "googleapiclient.discovery",
    "jedi",
    "pymongo",
    "sklearn",
)


@contextmanager
def unused_left_out() -> Iterator[None]:
    """Lets what is imported within the context do without these packages."""
    absent = [name for name in _PACKAGES if name not in sys.modules]
    # None is what Python's import system takes for a module that cannot be imported.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
