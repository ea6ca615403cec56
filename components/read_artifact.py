"""Reads files of artifacts, wherever they are, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from pyarrow import fs


def read_file(folder: str, name: str) -> bytes:
    """Reads the file `name` of an artifact's folder, a path or a URI as gs://bucket/folder.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if "://" not in folder:
        return (Path(folder) / name).read_bytes()
    system, path = fs.FileSystem.from_uri(f"{folder}/{name}")
    with system.open_input_stream(path) as file:
        return bytes(file.read())
