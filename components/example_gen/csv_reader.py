"""The one reader of input: checks it, finds one type a column, and reads rows of those types.

`check_input` goes over all files once and finds everything that is wrong; `read_batches` goes over
them again. Neither holds more than a block of rows, and what it must know of each distinct ad.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import pyarrow as pa

from components.errors import InputError
from components.example_gen.blocks import Block, Header, UnreadableError, column_of
from components.example_gen.column_counts import ColumnCounter
from components.example_gen.column_profile import ColumnProfile
from components.example_gen.csv_blocks import SEPARATORS
from components.example_gen.csv_types import NUMBER, Types, convert
from components.example_gen.input_files import read_blocks, read_header
from components.example_gen.layout import WHOLE, name_few, name_under
from components.example_gen.outcomes import impressions_and_clicks
from components.example_gen.read_span import COUNTS, ReadSpan, SpanFacts
from components.example_gen.settings import ReadingSettings
from components.example_gen.span_store import SpanStore, digest_of, reading_key
from components.example_gen.spans import Span, SpanLayout, find_input
from components.example_gen.split import Counts, SplitCounter, describe
from components.features import EVAL, TRAIN

__all__ = [
    "InputSummary",
    "check_files",
    "check_input",
    "examine_input",
    "read_batches",
    "require_splits",
]

_AS_IT_COMES = "as the input comes, in train/ and eval/"

_SHOWN_PROBLEMS = 20
_SHOWN_OF_A_KIND = 5


@dataclass(frozen=True)
class InputSummary:
    """What `check_input` found.

    Attributes:
        rows: Number of good rows.
        impressions: How many impressions they stand for.
        clicks: How many of these are clicked; 0 where that is not required.
        ads: Number of distinct ad ids; 0 where the ad id is not required.
        texts: Number of distinct texts; 0 where the text is not required.
        splits: Rows and clicks of `train` and `eval`, of input to train on.
        files: The same of each file.
        boundary: Time from which on rows are for evaluation, where time decides, in microseconds
            since 1970.
        split: How rows are split, and how many are for evaluation, in words.
        columns: What is known of each column.
        bad_rows: Number of rows that are set aside.
        warnings: What may be right and should be known.
        problems: Why the input cannot be used, of what `examine_input` found; else none.
    """

    rows: int
    impressions: int
    clicks: int
    ads: int
    texts: int
    splits: dict[str, Counts]
    files: dict[str, Counts]
    boundary: int | None
    split: str
    columns: dict[str, ColumnProfile]
    bad_rows: int
    warnings: list[str]
    problems: list[str]

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Type of every column, one of `csv_types.TYPES`."""
        return {name: column.type for name, column in self.columns.items()}


def check_input(
    path: Path,
    settings: ReadingSettings,
    required: Sequence[str] | None = None,
    store: SpanStore | None = None,
) -> InputSummary:
    """Checks the input at `path`.

    The text and the ids are text, the label is an integer where it is required, and the type of any
    other column is the narrowest that holds its values in all files.

    Args:
        path: A file, a folder of files, a folder with `train/` and `eval/`, or a pattern of spans.
        settings: How rows are read and split.
        required: The columns that must be there and good. None stands for input to train on: the
            named columns, at least one attribute, and both values of the label.
        store: Where what was read of spans is kept.

    Raises:
        InputError: The input cannot be used; everything that is wrong is in the message.
    """
    return _usable(examine_input(path, settings, required, store), settings, required)


def check_files(
    files: Mapping[str, Sequence[str]],
    base: str,
    settings: ReadingSettings,
    required: Sequence[str] | None = None,
) -> InputSummary:
    """Does what `check_input` does, for files that are already found under `base`, by split."""
    return _usable(_examine(files, base, settings, required), settings, required)


def examine_input(
    path: Path,
    settings: ReadingSettings,
    required: Sequence[str] | None = None,
    store: SpanStore | None = None,
) -> InputSummary:
    """Does what `check_input` does, and returns what is wrong beside what could be read.

    Raises:
        InputError: There is nothing to read at `path`.
    """
    layout = find_input(path, settings)
    if isinstance(layout, SpanLayout) and required is None:
        return examine_window(layout, settings, store)[0]
    ignored = layout.ignored()
    found = _examine(layout.files(), layout.base, settings.for_layout(layout), required)
    if ignored:
        found.warnings.append(f"not read, by their names: {name_few(ignored)}")
    return found


def check_window(
    layout: SpanLayout, settings: ReadingSettings, store: SpanStore
) -> tuple[InputSummary, list[ReadSpan]]:
    """Does what `check_input` does, for a window; returns beside it what was read of each span."""
    found, spans = examine_window(layout, settings, store)
    return _usable(found, settings, None), spans


def examine_window(
    layout: SpanLayout, settings: ReadingSettings, store: SpanStore | None
) -> tuple[InputSummary, list[ReadSpan]]:
    """Does what `examine_input` does, for a window of which each span is read once and kept.

    Args:
        layout: Where the spans are.
        settings: How they are read.
        store: Where they are kept; None to read all of them.
    """
    settings, window = settings.for_layout(layout), layout.window()
    spans = [
        _read_span(span, split, layout.base, settings, store)
        for split, some in ((TRAIN, window.train), (EVAL, window.eval))
        for span in some
    ]
    check = _Check(layout.base, settings, None)
    check.add_window(spans)
    found = check.summary()
    warnings, problems = layout.findings()
    if store is not None:
        changed = store.changed({read.span.name: read.digest for read in spans})
        if changed:
            warnings.append(f"changed since they were read, and read again: {name_few(changed)}")
    found.warnings.extend(warnings)
    found.problems.extend(problems)
    return replace(found, split=layout.describe()), spans


def _read_span(
    span: Span, split: str, base: str, settings: ReadingSettings, store: SpanStore | None
) -> ReadSpan:
    """Returns what is in a span, as it is kept or as its files have it."""
    digest = digest_of(span, base)
    key = reading_key(digest, settings)
    kept = None if store is None else store.find(COUNTS, key)
    if kept is not None:
        return ReadSpan.load(kept, span, split, digest)
    read = _Check(base, settings, None, ColumnCounter()).read_span(span, split, digest)
    if store is not None and not read.problems:
        store.keep(COUNTS, key, read.save)
    return read


def _examine(
    files: Mapping[str, Sequence[str]],
    base: str,
    settings: ReadingSettings,
    required: Sequence[str] | None,
) -> InputSummary:
    check = _Check(base, settings, required)
    for split, paths in files.items():
        check.read_split(split, paths)
    return check.summary()


def _usable(
    summary: InputSummary, settings: ReadingSettings, required: Sequence[str] | None
) -> InputSummary:
    """Returns the summary of input that can be used."""
    if summary.problems:
        shown = _listed(summary.problems[:_SHOWN_PROBLEMS], len(summary.problems))
        lines = ["the input cannot be used:", *shown]
        if summary.bad_rows and required is None and settings.bad_rows == "refuse":
            lines.append("correct the rows, or set data.bad_rows to quarantine to leave them out")
        raise InputError("\n  ".join(lines))
    return summary


def require_splits(summary: InputSummary) -> None:
    """Checks that a model can be trained on one split of the input and judged on the other.

    Raises:
        InputError: A split has no rows, or none that is clicked, or none that is not.
    """
    problems = [
        f"{split}: {counts.clicks:,} clicks in {counts.impressions:,} impressions"
        for split, counts in summary.splits.items()
        if counts.clicks in (0, counts.impressions)
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
        try:
            for block in read_blocks(file, settings, required):
                if block.bad:
                    raise InputError(f"{file}, line {block.bad[0].line}: {block.bad[0].flaws[0]}")
                if len(block.good):
                    yield pa.record_batch(
                        {
                            name: _convert(block.good, name, data_type, settings.missing, file)
                            for name, data_type in types.items()
                        }
                    )
        except UnreadableError as error:
            raise InputError(f"{file}: {error}") from None


def _convert(
    rows: pa.Table, name: str, data_type: pa.DataType, marks: Sequence[str], file: str
) -> pa.Array:
    try:
        return convert(column_of(rows, name), data_type, marks)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file}, column {name}: expected {data_type} values; {error}") from None


class _Check:
    """What is known of an input that is being checked.

    Args:
        base: Folder of its files.
        settings: How they are read.
        required: See `check_input`.
        values: Counts the values of the good rows, if it is there.
    """

    def __init__(
        self,
        base: str,
        settings: ReadingSettings,
        required: Sequence[str] | None,
        values: ColumnCounter | None = None,
    ) -> None:
        self._values = values
        self._base = base
        self._settings = settings
        self._names = settings.columns
        self._set_aside = settings.bad_rows == "quarantine"
        self._is_training = required is None
        self._required = settings.required() if required is None else required
        self._headers: dict[str, Header] = {}  # by file
        self._columns: dict[str, ColumnProfile] = {}
        self._splits: dict[str, Counts] = {}
        self._files: dict[str, Counts] = {}
        self._counter = SplitCounter(settings)
        self._bad_rows = 0
        self._texts_of: dict[bytes | None, set[int]] = defaultdict(set)  # hashes, by ad id
        self._problems: list[str] = []

    def read_span(self, span: Span, split: str, digest: str) -> ReadSpan:
        """Checks the files of a span, of which a split may have several."""
        self._splits[split] = Counts()
        for file in span.files:
            self._read_file(file, split)
        assert self._values is not None
        counts = self._values.counts()
        return ReadSpan(span, split, digest, self.facts(), counts, self._problems)

    def read_split(self, split: str, files: Sequence[str]) -> None:
        """Checks the files of a split, and the split as a whole."""
        self._splits[split] = Counts()
        were_read = [self._read_file(file, split) for file in files]
        if all(were_read):  # else what is missing from the rest may be in there
            self._problems += self._problems_of_split(split, self._splits[split])

    def add_window(self, spans: Sequence[ReadSpan]) -> None:
        """Takes in spans that were read, each by itself, in place of their files."""
        self._splits = dict.fromkeys((TRAIN, EVAL), Counts())
        for read in spans:
            self._splits[read.split] += sum(read.facts.files.values(), Counts())
            for name, counts in read.facts.files.items():
                self._files[f"{self._base}/{name}"] = counts
            for name, header in read.facts.headers.items():
                self._headers[f"{self._base}/{name}"] = header
            self._bad_rows += read.facts.bad_rows
            for ad, texts in read.facts.texts_of.items():
                self._texts_of[ad.encode()].update(texts)
            for name, table in read.values.columns.items():
                if name not in self._columns:
                    self._columns[name] = self._profile(name)
                values, rows = (table[each].combine_chunks() for each in table.column_names)
                self._columns[name].add_counted(values, rows)
            self._problems += read.problems
        if not self._problems:
            for split, found in self._splits.items():
                self._problems += self._problems_of_split(split, found)

    def facts(self) -> SpanFacts:
        """Returns what was found, with the names that files have under the folder."""
        return SpanFacts(
            headers={name_under(self._base, file): each for file, each in self._headers.items()},
            files={name_under(self._base, file): each for file, each in self._files.items()},
            bad_rows=self._bad_rows,
            texts_of={(ad or b"").decode(): sorted(texts) for ad, texts in self._texts_of.items()},
        )

    def summary(self) -> InputSummary:
        """Returns what was found."""
        absent = list(self._absent_columns())
        if self._settings.absent_columns == "refuse":
            self._problems += [
                f"{each}; data.absent_columns: missing lets it be missing there" for each in absent
            ]
        found = sum(self._splits.values(), Counts())
        is_whole = WHOLE in self._splits
        boundary = self._counter.boundary() if is_whole and found.rows else None
        splits = self._counter.counts(boundary) if is_whole else self._splits
        for column in self._columns.values():
            column.add_missing(found.rows - column.rows)
        return InputSummary(
            rows=found.rows,
            impressions=found.impressions,
            clicks=found.clicks,
            ads=len(self._texts_of) if self._names.ad_id in self._required else 0,
            texts=len(set().union(*self._texts_of.values())),
            splits=splits,
            files=self._files,
            boundary=boundary,
            split=describe(self._settings, splits, boundary) if is_whole else _AS_IT_COMES,
            columns=self._columns,
            bad_rows=self._bad_rows,
            warnings=[*self._warnings(), *([] if self._problems else absent)],
            problems=self._problems,
        )

    def _warnings(self) -> Iterator[str]:
        for file, header in self._headers.items():
            if header.spaced:
                names = name_few(map(repr, header.spaced))
                yield f"{file}: spaces around the names of columns are dropped: {names}"
            if header.separator not in ("", ",", self._settings.separator):
                yield f"{file}: {header.separator!r} separates its fields, by its header"
        for name, column in self._columns.items():
            yield from column.warnings(name)
        for name in self._settings.columns.attributes(self._columns):
            separator = self._columns[name].several_values()
            if separator is not None:
                yield (
                    f"column {name} looks as if a row had several values, with {separator} between "
                    f"them; if so, data.multi_valued: {{{name}: {separator!r}}}"
                )
        ads = [ad for ad, texts in self._texts_of.items() if ad and len(texts) > 1]
        if ads:
            named = _listed([ad.decode() for ad in ads[:_SHOWN_OF_A_KIND]], len(ads))
            yield (
                f"{self._names.ad_id} with more than one {' or '.join(self._names.ad_texts)} "
                f"(each row's own counts): {', '.join(named)}"
            )

    def _absent_columns(self) -> Iterator[str]:
        """Yields the columns that some files have and others lack, but those that all must have."""
        files_with: dict[str, list[str]] = defaultdict(list)
        for file, header in self._headers.items():
            for name in header.names:
                files_with[name].append(file)
        for name, files in files_with.items():
            if len(files) < len(self._headers) and name not in self._required:
                lacking = [file for file in self._headers if file not in files]
                yield (
                    f"column {name} is in {name_few(files[:1])} and not in {name_few(lacking)} "
                    f"({len(lacking):,} of {len(self._headers):,} files lack it)"
                )

    def _problems_of_split(self, split: str, found: Counts) -> Iterator[str]:
        where = "" if split == WHOLE else f"{split}: "
        if not found.rows:
            yield f"{where}no good row; expected at least one below the header"
        elif self._is_training and found.clicks in (0, found.impressions):
            problem = f"column {self._names.label} is {int(found.clicks > 0)} in all "
            if self._names.is_counted:
                problem = f"columns {self._names.impressions} and {self._names.clicks} have "
                problem += f"{found.clicks:,} clicks in {found.impressions:,} impressions of "
            yield (
                f"{where}{problem}{found.rows:,} good rows; clicks can be learned where there are "
                "impressions with and without"
            )

    def _read_file(self, file: str, split: str) -> bool:
        """Returns whether the file could be read to its end."""
        try:
            header = read_header(file, self._settings)
            problems = self._problems_of_header(header)
            self._problems += [f"{file}, line 1: {problem}" for problem in problems]
            if not problems:
                self._headers[file] = header
                self._read_rows(file, split)
        except UnreadableError as error:
            if error.line is None:
                self._problems.append(f"{file}: {error}")
            else:
                self._problems.append(f"{file}, {error}; nothing after it was checked")
            return False
        return not problems

    def _problems_of_header(self, header: Header) -> list[str]:
        names = header.names
        if not names:
            return ["no header; expected the names of the columns"]
        problems = [f"no column {name}" for name in self._required if name not in names]
        if self._is_training and not self._names.user_attributes(names):
            prefix = self._names.attribute_prefix
            problems.append(f"no attribute; expected a column that begins with {prefix}")
        for name, count in Counter(names).items():
            if not name:
                problems.append(f"column {names.index(name) + 1} has no name")
            elif count > 1:
                problems.append(f"column {name} is there {count} times")
        for other in SEPARATORS if problems and header.separator else ():
            if {*self._required} <= {*header.separator.join(names).split(other)}:
                problems.append(f"{other!r} may separate its fields, not {header.separator!r}")
        return problems

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
        counts = impressions_and_clicks(rows, self._names, self._required)
        found = Counts.of(*counts)
        self._splits[split] += found
        self._files[file] = self._files.get(file, Counts()) + found
        if self._is_training and split == WHOLE:
            self._counter.add(name_under(self._base, file), block, *counts)
        for name in rows.column_names:
            if name not in self._columns:
                self._columns[name] = self._profile(name)
            self._columns[name].add(column_of(rows, name))
        if self._values is not None:
            self._values.add(rows)
        self._count_ads(rows)

    def _profile(self, name: str) -> ColumnProfile:
        is_text = name in self._settings.as_text()
        profile = ColumnProfile(is_text=is_text, marks=self._settings.missing)
        if name == self._names.weight:
            profile.type = NUMBER  # whole numbers too, so that its type is always the same
        return profile

    def _count_ads(self, rows: pa.Table) -> None:
        ad_id, texts = self._names.ad_id, self._names.ad_texts
        names = [name for name in (ad_id, *texts) if name in self._required]
        if not names:
            return
        distinct = rows.group_by(names).aggregate([]).to_pydict()
        columns_of_texts = [distinct[name] for name in texts if name in names]
        for ad, its_texts in zip_longest(
            distinct.get(ad_id, []), zip(*columns_of_texts, strict=True)
        ):
            self._texts_of[ad].update([_hash(its_texts)] if columns_of_texts else [])


def _hash(texts: Sequence[bytes]) -> int:
    """Returns a number that is the same in every process."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        digest.update(len(text).to_bytes(8) + text)
    return int.from_bytes(digest.digest())


def _listed(items: Sequence[str], count: int) -> list[str]:
    """Returns `items`, the first of `count`, and how many more there are."""
    return [*items, *([f"and {count - len(items):,} more"] if count > len(items) else [])]
