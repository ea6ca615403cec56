"""Folders of artifacts, wherever they are, as folders of this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfx.utils import io_utils


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """Yields a folder of this machine with what is at `uri`, which may be of an object store."""
    if "://" not in uri:
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory() as folder:
        io_utils.copy_dir(uri, folder)
        yield Path(folder)
