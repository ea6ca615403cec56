"""Files that commands write: there whole under their name, or as they were before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import InputError

_PARTIAL = ".partial"


@contextmanager
def output_file(path: Path, inputs: Iterable[Path | str] = ()) -> Iterator[Path]:
    """Yields a path beside `path` to write to; it becomes `path` when the context ends well.

    Folders that are missing are made. What a killed process left beside `path` is removed.

    Args:
        path: the file; a link stays a link.
        inputs: what is read meanwhile.

    Raises:
        InputError: `path` is one of the inputs, a folder, or cannot be written to.
    """
    for each in inputs:
        if path.exists() and Path(each).exists() and path.samefile(each):
            raise InputError(f"{path}: is read from and cannot be written to; name another file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a file to write")
    if path.exists() and not path.is_file():  # a device or a pipe
        yield path
        return
    with _beside(path) as partial:
        with partial.open("w"):
            pass
        yield partial
        _flush(partial)


def write_text(path: Path, content: str) -> None:
    """Writes a text file as `output_file` does.

    Raises:
        InputError: `path` cannot be written to.
    """
    with output_file(path) as partial:
        partial.write_text(content, encoding="utf-8")


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path` to write to; it becomes `path` when the context ends well.

    Raises:
        InputError: something is in `path`, or it cannot be written to.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path}: expected an empty folder, or none yet")
    with _beside(path) as partial:
        partial.mkdir()
        yield partial


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yields a path in the folder of `path` that is renamed to it, or removed after an error."""
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield partial
        partial.replace(path)
    except BaseException as error:
        _remove(partial)
        if isinstance(error, OSError) and error.filename in (str(partial), str(path.parent)):
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        raise


def _remove_abandoned(path: Path) -> None:
    prefix = f".{path.name}."
    for left in path.parent.glob(f".*{_PARTIAL}"):
        process = left.name.removeprefix(prefix).removesuffix(_PARTIAL)
        if process.isdigit() and not Path("/proc", process).exists():
            _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
