"""One process at a time in a folder; the system lets go when that process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds a folder for as long as this process lives and the context lasts.

    Args:
        folder: that exists.
        wait: until nobody else holds it.

    Yields:
        Whether nobody else holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
