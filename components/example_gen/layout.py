"""Where the input's CSV files are: a file, a folder of files, or a folder already split in two."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.features import EVAL, TRAIN

WHOLE = "whole"  # the one pattern of input that is still to be split


@dataclass(frozen=True)
class Layout:
    """The CSV files of an input.

    Attributes:
        base: Folder that the patterns are relative to.
        patterns: Glob pattern of the files of each split, `train` and `eval`; of all files, under
            `WHOLE`, where the input is not split yet.
    """

    base: str
    patterns: dict[str, str]

    @property
    def is_split(self) -> bool:
        """Whether the input comes as `train` and `eval`."""
        return WHOLE not in self.patterns

    def files(self) -> dict[str, list[str]]:
        """Returns the files of each pattern, in alphabetical order."""
        return {
            split: sorted(str(file) for file in Path(self.base).glob(pattern))
            for split, pattern in self.patterns.items()
        }


def name_under(base: str, file: str) -> str:
    """Returns the name of a file under the input's folder, which is the same on every machine."""
    return file.removeprefix(base).lstrip("/")


def find_layout(path: Path) -> Layout:
    """Finds out how the input at `path` is laid out.

    Raises:
        InputError: There is nothing at `path`, a folder has no CSV file in it, or one of `train/`
            and `eval/` is there without the other.
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
    folders = [path / split for split in splits] or [path]
    for folder in folders:
        if not any(folder.glob("*.csv")):
            raise InputError(f"{folder}: no file in it ends in .csv")
    return Layout(str(path), {s: f"{s}/*.csv" for s in splits} or {WHOLE: "*.csv"})
