"""TFRecord files: length, its checksum, the record, its checksum, and so on."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


def read(path: Path) -> Iterator[bytes]:
    """Reads the records of a file.

    Raises:
        ValueError: the file ends within a record, or a checksum is wrong.
    """
    with path.open("rb") as file:
        while header := file.read(_HEADER.size):
            start = file.tell() - len(header)
            length = _length(header)
            if length is None or length > path.stat().st_size:
                raise ValueError(f"corrupted record at {start}")
            record, footer = file.read(length), file.read(_FOOTER.size)
            if footer != _FOOTER.pack(_checksum(record)):
                raise ValueError(f"corrupted record at {start}")
            yield record


def append(file: BinaryIO, record: bytes) -> None:
    """Writes one record at the end of a file."""
    length = struct.pack("<Q", len(record))
    header = length + _FOOTER.pack(_checksum(length))
    file.write(header + record + _FOOTER.pack(_checksum(record)))


def end_of_whole_records(file: BinaryIO) -> int:
    """Returns where the last record ends that was written whole."""
    size = file.seek(0, os.SEEK_END)
    end = file.seek(0)
    while len(header := file.read(_HEADER.size)) == _HEADER.size:
        length = _length(header)
        if length is None or end + _HEADER.size + length + _FOOTER.size > size:
            break
        end = file.seek(length + _FOOTER.size, os.SEEK_CUR)
    return end


def _length(header: bytes) -> int | None:
    if len(header) < _HEADER.size:
        return None
    length, checksum = _HEADER.unpack(header)
    return length if checksum == _checksum(header[:8]) else None


def _checksum(data: bytes) -> int:
    """The masked CRC-32C of TFRecord files."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
