"""Where the input's files are: a file, a folder of files, or a folder already split in two."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from components.errors import InputError
from components.features import EVAL, TRAIN

WHOLE = "whole"  # the one pattern of input that is still to be split

# How the names of files end that are read, in lower or upper case.
PARQUET = ".parquet"
GZIP = ".gz"
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", PARQUET)

_ALL = "*"
_HIDDEN = (".", "_")  # as Hadoop and Spark begin the names of files that hold no data
_SHOWN = 5


@dataclass(frozen=True)
class Layout:
    """The files of an input.

    Attributes:
        base: Folder that the patterns are relative to.
        patterns: Glob pattern of the files of each split, `train` and `eval`; of all files, under
            `WHOLE`, where the input is not split yet. Of the files in a folder, `is_data` says
            which are read.
    """

    base: str
    patterns: dict[str, str]

    @property
    def is_split(self) -> bool:
        """Whether the input comes as `train` and `eval`."""
        return WHOLE not in self.patterns

    @property
    def is_file(self) -> bool:
        """Whether the input is one file, which is read whatever its name."""
        return not self.is_split and not self.patterns[WHOLE].endswith(_ALL)

    def files(self) -> dict[str, list[str]]:
        """Returns the files of each pattern that are read, in alphabetical order."""
        return {
            split: sorted(
                str(path)
                for path in Path(self.base).glob(pattern)
                if path.is_file() and (self.is_file or is_data(path.name))
            )
            for split, pattern in self.patterns.items()
        }

    def fingerprint(self) -> str:
        """Returns a hash of the names and the content of the files that are read."""
        digest = hashlib.sha256()
        for file in chain.from_iterable(self.files().values()):
            with Path(file).open("rb") as content:
                of_content = hashlib.file_digest(content, "sha256").hexdigest()
            digest.update(f"{name_under(self.base, file)}\n{of_content}\n".encode())
        return digest.hexdigest()[:16]

    def ignored(self) -> list[str]:
        """Returns what is in the input's folders and is not read, as names under `base`."""
        if self.is_file:
            return []
        base = Path(self.base)
        folders = [base, *(base / split for split in self.patterns if self.is_split)]
        read = {*map(Path, chain.from_iterable(self.files().values())), *folders}
        return [
            f"{path.relative_to(base)}{'/' if path.is_dir() else ''}"
            for folder in folders
            for path in sorted(folder.iterdir())
            if path not in read
            and (not path.name.startswith(_HIDDEN) or path.name.lower().endswith(ENDINGS))
        ]


def folder_layout(base: str, is_split: bool) -> Layout:
    """Returns the layout of a folder, which may be one that this machine does not see."""
    splits = {split: f"{split}/{_ALL}" for split in (TRAIN, EVAL)}
    return Layout(base, splits if is_split else {WHOLE: _ALL})


def is_data(name: str) -> bool:
    """Whether a file of a folder is read, by its name."""
    return not name.startswith(_HIDDEN) and name.lower().endswith(ENDINGS)


def name_under(base: str, file: str) -> str:
    """Returns the name of a file under the input's folder, which is the same on every machine."""
    return file.removeprefix(base).lstrip("/")


def name_few(names: Iterable[str]) -> str:
    """Names the first few, and says how many more there are."""
    names = list(names)
    more = [f"and {len(names) - _SHOWN:,} more"] if len(names) > _SHOWN else []
    return ", ".join(names[:_SHOWN] + more)


def find_layout(path: Path) -> Layout:
    """Finds out how the input at `path` is laid out.

    Raises:
        InputError: There is nothing at `path`, a folder has no file in it that is read, or one of
            `train/` and `eval/` is there without the other.
    """
    if path.is_file():
        return Layout(str(path.parent), {WHOLE: glob.escape(path.name)})
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; give a CSV file or a folder of them")
    splits = [split for split in (TRAIN, EVAL) if (path / split).is_dir()]
    if len(splits) == 1:
        missing = EVAL if splits == [TRAIN] else TRAIN
        raise InputError(
            f"{path}: has {splits[0]}/ but no {missing}/; give both, or a folder of CSV files"
        )
    layout = folder_layout(str(path), is_split=bool(splits))
    for split, files in layout.files().items():
        if not files:
            folder = path / split if layout.is_split else path
            inside = [f"{each.name}{'/' if each.is_dir() else ''}" for each in folder.iterdir()]
            found = f"; there are {name_few(sorted(inside))}" if inside else ""
            raise InputError(
                f"{folder}: no file in it ends in .csv, or {', '.join(ENDINGS[1:])}{found}"
            )
    return layout
