"""Parts of an input that can be read by themselves, and by any number of workers.

They depend on the files alone, so what is made of them is the same on one worker and on many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
import pyarrow as pa

from components.example_gen import parquet_blocks
from components.example_gen.blocks import WHOLE_FILE, Range
from components.example_gen.csv_ranges import LOOK_BACK, Scan, cut, scan
from components.example_gen.csv_records import BYTE_ORDER_MARK
from components.example_gen.filesystem import locate
from components.example_gen.layout import GZIP, PARQUET
from components.run import Run, in_threads

RANGE_BYTES = 16 << 20  # of a CSV file that are looked through at once
_MOST_PARTS = 256  # of a split; beyond, parts become larger
_MOST_SHARDS = 64  # of a part
_GZIP_RATIO = 5  # of a CSV's bytes to those in gzip, about


@dataclass(frozen=True)
class Piece:
    """A range of a file.

    Attributes:
        file: Path or URI.
        where: The range.
        size: Its bytes, about; those of a CSV where it is compressed.
    """

    file: str
    where: Range
    size: int


@dataclass(frozen=True)
class Part:
    """Some consecutive pieces of a split's files, in the order of the files.

    Attributes:
        split: The split.
        pieces: The pieces.
        shards: Files that its Examples go into.
    """

    split: str
    pieces: tuple[Piece, ...]
    shards: int


def find_parts(files: Mapping[str, Sequence[str]], run: Run = in_threads) -> dict[str, list[Part]]:
    """Parts an input, by split.

    A CSV file is cut between rows, which takes a look through the large ones; a Parquet file
    between row groups; a compressed CSV not at all.

    Args:
        files: By split.
        run: Does the work.
    """
    sizes = {file: _size(file) for file in chain.from_iterable(files.values())}
    large = {file: size for file, size in sizes.items() if _is_cut(file) and size > RANGE_BYTES}
    pieces = {file: [Piece(file, WHOLE_FILE, size)] for file, size in sizes.items()}
    pieces |= _cut_csv(large, run)
    pieces |= {file: _cut_parquet(file) for file in sizes if _is_parquet(file)}
    return {
        split: list(_pack(split, [piece for file in some for piece in pieces[file]]))
        for split, some in files.items()
    }


def _size(file: str) -> int:
    """Returns the bytes of a file; 0 where it cannot be read, which whoever reads it will say."""
    try:
        system, path = locate(file)
        size = system.get_file_info(path).size or 0
    except (OSError, pa.ArrowException):
        return 0
    return size * _GZIP_RATIO if file.lower().endswith(GZIP) else size


def _is_parquet(file: str) -> bool:
    return file.lower().endswith(PARQUET)


def _is_cut(file: str) -> bool:
    return not file.lower().endswith((GZIP, PARQUET))


def _cut_parquet(file: str) -> list[Piece]:
    try:
        system, path = locate(file)
        with system.open_input_file(path) as source:
            found = list(parquet_blocks.ranges(source, RANGE_BYTES))
    except (OSError, pa.ArrowException):
        found = [(WHOLE_FILE, 0)]
    return [Piece(file, where, size) for where, size in found]


def _cut_csv(sizes: Mapping[str, int], run: Run) -> dict[str, list[Piece]]:
    places = [
        (file, start) for file, size in sizes.items() for start in range(0, size, RANGE_BYTES)
    ]
    scans: dict[str, list[Scan | None]] = defaultdict(list)
    for (file, _), found in zip(places, run(_scan, places), strict=True):
        scans[file].append(found)
    return {file: list(_pieces(file, size, scans[file])) for file, size in sizes.items()}


def _scan(place: tuple[str, int]) -> Scan | None:
    """Looks through a file from a byte on; None where it cannot be read."""
    file, start = place
    try:
        system, path = locate(file)
        with system.open_input_file(path) as source:
            if start == 0:
                return scan(
                    b"\n" * LOOK_BACK + source.read(RANGE_BYTES).removeprefix(BYTE_ORDER_MARK)
                )
            return scan(source.read_at(RANGE_BYTES + LOOK_BACK, start - LOOK_BACK))
    except (OSError, pa.ArrowException):
        return None


def _pieces(file: str, size: int, scans: Sequence[Scan | None]) -> Iterator[Piece]:
    whole = [found for found in scans if found is not None]
    if len(whole) < len(scans):
        yield Piece(file, WHOLE_FILE, size)
        return
    for where in cut(range(0, size, RANGE_BYTES), whole):
        yield Piece(file, where, (where.end or size) - where.start)


def _pack(split: str, pieces: Sequence[Piece]) -> Iterator[Part]:
    """Puts consecutive pieces together into parts of about the same size."""
    size = max(RANGE_BYTES, sum(piece.size for piece in pieces) // _MOST_PARTS)
    ends = np.cumsum([piece.size for piece in pieces])
    for _, some in groupby(zip(pieces, ends, strict=True), lambda each: (each[1] - 1) // size):
        yield _part(split, [piece for piece, _ in some], size)


def _part(split: str, pieces: Sequence[Piece], size: int) -> Part:
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].file == piece.file:
            first = joined.pop()
            where = first.where._replace(end=piece.where.end)
            piece = Piece(piece.file, where, first.size + piece.size)
        joined.append(piece)
    shards = min(max(1, sum(piece.size for piece in pieces) // size), _MOST_SHARDS)
    return Part(split, tuple(joined), shards)
