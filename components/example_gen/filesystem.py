"""Folders and files of the input, on a disk or in an object store."""

from __future__ import annotations

import fnmatch

from pyarrow import fs

from components.errors import InputError


def locate(place: str) -> tuple[fs.FileSystem, str]:
    """Returns the file system of a path or URI, and the place's name in it."""
    return fs.FileSystem.from_uri(place) if "://" in place else (fs.LocalFileSystem(), place)


def list_files(folder: str, pattern: str) -> list[str]:
    """Returns the files of a folder whose names fit a pattern, in alphabetical order.

    Args:
        folder: Path, or URI in `gs://` or `s3://`. `AWS_ENDPOINT_URL` in the environment is the
            address of a store that is not Amazon's.
        pattern: As `fnmatch` has it, behind the name of a folder in this one, if any.

    Raises:
        InputError: The folder is not there or cannot be listed.
    """
    inside, _, name = f"{folder.rstrip('/')}/{pattern}".rpartition("/")
    try:
        system, path = locate(inside)
        listed = system.get_file_info(fs.FileSelector(path))
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{inside}: cannot be listed ({reason}); expected a folder that is mounted, or one in "
            "gs:// or s3:// that this account may read"
        ) from None
    names = fnmatch.filter((info.base_name for info in listed if info.is_file), name)
    return [f"{inside}/{name}" for name in sorted(names)]
