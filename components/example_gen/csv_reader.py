"""The one reader of CSV input: checks it, finds one type a column, and reads rows of those types.

`check_input` goes over all files once and finds everything that is wrong; `read_batches` goes over
them again. Neither holds more than a block of rows, and what it must know of each distinct ad.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import InputError
from components.example_gen.csv_blocks import Block, read_blocks, read_header
from components.example_gen.csv_records import MalformedCsvError
from components.example_gen.csv_types import (
    INTEGER,
    MISSING,
    TEXT,
    Types,
    convert,
    narrowest_type,
    widest_type,
)
from components.example_gen.layout import WHOLE, find_layout, name_under
from components.example_gen.settings import ReadingSettings
from components.example_gen.split import Counts, SplitCounter, describe

__all__ = [
    "InputSummary",
    "check_files",
    "check_input",
    "read_batches",
]

_AS_IT_COMES = "as the input comes, in train/ and eval/"

_SHOWN_PROBLEMS = 20
_SHOWN_OF_A_KIND = 5


@dataclass(frozen=True)
class InputSummary:
    """What `check_input` found.

    Attributes:
        rows: Number of good rows.
        clicks: How many of them are clicked; 0 where the label is not required.
        ads: Number of distinct ad ids; 0 where the ad id is not required.
        texts: Number of distinct texts; 0 where the text is not required.
        splits: Rows and clicks of `train` and `eval`, of input to train on.
        boundary: Time from which on rows are for evaluation, where time decides, in microseconds
            since 1970.
        split: How rows are split, and how many are for evaluation, in words.
        types: Type of every column, one of `csv_types.TYPES`.
        bad_rows: Number of rows that are set aside.
        warnings: What may be right and should be known.
    """

    rows: int
    clicks: int
    ads: int
    texts: int
    splits: dict[str, Counts]
    boundary: int | None
    split: str
    types: dict[str, pa.DataType]
    bad_rows: int
    warnings: list[str]


def check_input(
    path: Path, settings: ReadingSettings, required: Sequence[str] | None = None
) -> InputSummary:
    """Checks the CSV input at `path`.

    The text and the ids are text, the label is an integer where it is required, and the type of any
    other column is the narrowest that holds its values in all files.

    Args:
        path: A file, a folder of files, or a folder with `train/` and `eval/`.
        settings: How rows are read and split.
        required: The columns that must be there and good. None stands for input to train on: the
            named columns, at least one attribute, and both values of the label in each split.

    Raises:
        InputError: The input cannot be used; everything that is wrong is in the message.
    """
    layout = find_layout(path)
    return check_files(layout.files(), layout.base, settings.for_layout(layout), required)


def check_files(
    files: Mapping[str, Sequence[str]],
    base: str,
    settings: ReadingSettings,
    required: Sequence[str] | None = None,
) -> InputSummary:
    """Does what `check_input` does, for files that are already found under `base`, by split."""
    check = _Check(base, settings, required)
    for split, paths in files.items():
        check.read_split(split, paths)
    return check.summary()


def require_splits(summary: InputSummary) -> None:
    """Checks that a model can be trained on one split of the input and judged on the other.

    Raises:
        InputError: A split has no rows, or none that is clicked, or none that is not.
    """
    problems = [
        f"{split}: {counts.clicks:,} clicks in {counts.rows:,} rows"
        for split, counts in summary.splits.items()
        if counts.clicks in (0, counts.rows)
    ]
    if problems:
        raise InputError(
            f"the input cannot be split: {', '.join(problems)}; expected rows with and without a "
            "click in each; change data.split or data.eval_share, or bring more rows"
        )


def read_batches(
    files: Iterable[str], settings: ReadingSettings, types: Types, required: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of files that `check_input` accepted, with the columns and types of `types`.

    Raises:
        InputError: A value is not of the type asked for, or a file has changed and has a bad row.
    """
    for file in files:
        for block in read_blocks(file, settings, required):
            if block.bad:
                raise InputError(f"{file}, line {block.bad[0].line}: {block.bad[0].flaws[0]}")
            if len(block.good):
                yield pa.record_batch(
                    {
                        name: _convert(block.good[name], data_type, settings.missing, file, name)
                        for name, data_type in types.items()
                    }
                )


def _convert(
    values: pa.ChunkedArray, data_type: pa.DataType, marks: Sequence[str], file: str, column: str
) -> pa.Array:
    try:
        return convert(values.combine_chunks(), data_type, marks)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file}, column {column}: expected {data_type} values; {error}") from None


class _Check:
    """What is known of an input that is being checked."""

    def __init__(
        self, base: str, settings: ReadingSettings, required: Sequence[str] | None
    ) -> None:
        self._base = base
        self._settings = settings
        self._columns = settings.columns
        self._set_aside = settings.bad_rows == "quarantine"
        self._is_training = required is None
        self._required = settings.required() if required is None else required
        self._first: tuple[str, list[str]] | None = None  # file and its header
        self._types: dict[str, pa.DataType] = {}
        self._splits: dict[str, Counts] = {}
        self._counter = SplitCounter(settings)
        self._bad_rows = 0
        self._texts_of: dict[bytes | None, set[int]] = defaultdict(set)  # hashes, by ad id
        self._problems: list[str] = []

    def read_split(self, split: str, files: Sequence[str]) -> None:
        """Checks the files of a split, and the split as a whole."""
        self._splits[split] = Counts()
        were_read = [self._read_file(file, split) for file in files]
        if all(were_read):  # else what is missing from the rest may be in there
            self._problems += self._problems_of_split(split, self._splits[split])

    def summary(self) -> InputSummary:
        """Returns the summary.

        Raises:
            InputError: There was a problem.
        """
        if self._problems:
            shown = _listed(self._problems[:_SHOWN_PROBLEMS], len(self._problems))
            lines = ["the input cannot be used:", *shown]
            if self._bad_rows and self._is_training and not self._set_aside:
                lines.append(
                    "correct the rows, or set data.bad_rows to quarantine to leave them out"
                )
            raise InputError("\n  ".join(lines))
        has_ids = self._columns.ad_id in self._required
        found = sum(self._splits.values(), Counts())
        is_whole = WHOLE in self._splits
        boundary = self._counter.boundary() if is_whole else None
        splits = self._counter.counts(boundary) if is_whole else self._splits
        return InputSummary(
            rows=found.rows,
            clicks=found.clicks,
            ads=len(self._texts_of) if has_ids else 0,
            texts=len(set().union(*self._texts_of.values())),
            splits=splits,
            boundary=boundary,
            split=describe(self._settings, splits, boundary) if is_whole else _AS_IT_COMES,
            types=self._types,
            bad_rows=self._bad_rows,
            warnings=list(self._warnings()),
        )

    def _warnings(self) -> Iterator[str]:
        for name, data_type in self._types.items():
            if data_type == MISSING:
                yield f"column {name} has no value in any row"
        ads = [ad for ad, texts in self._texts_of.items() if ad and len(texts) > 1]
        if ads:
            named = _listed([ad.decode() for ad in ads[:_SHOWN_OF_A_KIND]], len(ads))
            yield (
                f"{self._columns.ad_id} with more than one {self._columns.text} "
                f"(each row's own counts): {', '.join(named)}"
            )

    def _problems_of_split(self, split: str, found: Counts) -> Iterator[str]:
        where = "" if split == WHOLE else f"{split}: "
        if not found.rows:
            yield f"{where}no good row; expected at least one below the header"
        elif self._is_training and found.clicks in (0, found.rows):
            yield (
                f"{where}column {self._columns.label} is {int(found.clicks > 0)} in all "
                f"{found.rows:,} good rows; clicks can be learned where there are both 0 and 1"
            )

    def _read_file(self, file: str, split: str) -> bool:
        """Returns whether the file could be read to its end."""
        try:
            header = read_header(file)
            problems = self._problems_of_header(file, header)
            self._problems += [f"{file}, line 1: {problem}" for problem in problems]
            if not problems:
                self._read_rows(file, split)
        except MalformedCsvError as error:
            self._problems.append(f"{file}, {error}; nothing after it was checked")
            return False
        return not problems

    def _problems_of_header(self, file: str, header: list[str]) -> list[str]:
        if not header:
            return ["no header; expected the names of the columns"]
        problems = [f"no column {name}" for name in self._required if name not in header]
        if self._is_training and not self._columns.attributes(header):
            problems.append(
                f"no attribute; expected a column that begins with {self._columns.attribute_prefix}"
            )
        for name, count in Counter(header).items():
            if not name:
                problems.append(f"column {header.index(name) + 1} has no name")
            elif count > 1:
                problems.append(f"column {name} is there {count} times")
        if problems:
            return problems
        self._first = self._first or (file, header)
        first_file, first_header = self._first
        if header != first_header:
            return [f"expected the columns of {first_file}, in the same order"]
        return []

    def _read_rows(self, file: str, split: str) -> None:
        shown: dict[tuple[str, str], list[str]] = defaultdict(list)
        counts: Counter[tuple[str, str]] = Counter()
        for block in read_blocks(file, self._settings, self._required):
            self._count(block, file, split)
            self._bad_rows += len(block.bad)
            for row in [] if self._set_aside else block.bad:
                for flaw in row.flaws:
                    kind = (flaw.column, flaw.expected)
                    counts[kind] += 1
                    if counts[kind] <= _SHOWN_OF_A_KIND:
                        shown[kind].append(f"{flaw.actual} on line {row.line}")
        for (column, expected), found in shown.items():
            where = f"{file}, column {column}" if column else file
            got = _listed(found, counts[column, expected])
            self._problems.append(f"{where}: expected {expected}, got {', '.join(got)}")

    def _count(self, block: Block, file: str, split: str) -> None:
        rows = block.good
        clicked = np.zeros(len(rows), bool)
        if self._columns.label in self._required:
            clicked = pc.equal(rows[self._columns.label], b"1").to_numpy()
        self._splits[split] += Counts(len(rows), int(clicked.sum()))
        if self._is_training and split == WHOLE:
            self._counter.add(name_under(self._base, file), block, clicked)
        for name in rows.column_names:
            known = self._types.get(name, MISSING)
            if known != TEXT:
                self._types[name] = widest_type(known, self._type(name, rows[name]))
        self._count_ads(rows)

    def _type(self, name: str, values: pa.ChunkedArray) -> pa.DataType:
        if name in self._settings.as_text():
            return TEXT
        if name == self._columns.label and name in self._required:
            return INTEGER
        return narrowest_type(values, self._settings.missing)

    def _count_ads(self, rows: pa.Table) -> None:
        ad_id, text = self._columns.ad_id, self._columns.text
        names = [name for name in (ad_id, text) if name in self._required]
        if not names:
            return
        distinct = rows.group_by(names).aggregate([]).to_pydict()
        for ad, its_text in zip_longest(distinct.get(ad_id, []), distinct.get(text, [])):
            self._texts_of[ad].update([hash(its_text)] if text in names else [])


def _listed(items: Sequence[str], count: int) -> list[str]:
    """Returns `items`, the first of `count`, and how many more there are."""
    return [*items, *([f"and {count - len(items):,} more"] if count > len(items) else [])]
