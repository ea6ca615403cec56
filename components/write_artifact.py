"""Writes files of artifacts, wherever they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from tfx.dsl.io import fileio


def write_file(folder: str, name: str, content: bytes) -> None:
    """Writes the file `name` of an artifact's folder."""
    with open_to_write(folder, name) as file:
        file.write(content)


def write_table(folder: str, name: str, table: pa.Table) -> None:
    """Writes a table as the Parquet file `name` of an artifact's folder."""
    with open_to_write(folder, name) as file:
        pq.write_table(table, file)


@contextmanager
def open_to_write(folder: str, name: str) -> Iterator[IO[bytes]]:
    """Opens a new file of an artifact's folder, which is there whole once it is closed."""
    path = f"{folder}/{name}"
    fileio.makedirs(path.rpartition("/")[0])
    with tempfile.NamedTemporaryFile() as file:
        yield file.file
        file.flush()
        fileio.copy(file.name, path, overwrite=True)
