"""What is known of an input, of which pieces are checked by themselves and put together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, zip_longest

import pyarrow as pa

from components.example_gen.blocks import BadRow, Block, Header, UnreadableError, column_of
from components.example_gen.column_counts import ROWS, VALUE, ColumnCounter, ColumnCounts
from components.example_gen.column_profile import ColumnProfile
from components.example_gen.csv_blocks import SEPARATORS
from components.example_gen.csv_types import NUMBER
from components.example_gen.input_files import read_blocks, read_header
from components.example_gen.layout import WHOLE, name_few, name_under
from components.example_gen.outcomes import are_clicked, impressions_and_clicks
from components.example_gen.parts import Part, Piece
from components.example_gen.read_span import ReadSpan, SpanFacts
from components.example_gen.settings import ReadingSettings
from components.example_gen.split import Counts, SplitCounter, describe
from components.run import Run, in_threads

_AS_IT_COMES = "as the input comes, in train/ and eval/"

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


def check_parts(
    parts: Mapping[str, Sequence[Part]],
    base: str,
    settings: ReadingSettings,
    required: Sequence[str] | None,
    run: Run = in_threads,
    *,
    count_values: bool = False,
) -> Check:
    """Checks the parts of an input.

    Args:
        parts: By split.
        base: Folder of its files.
        settings: How they are read.
        required: See `csv_reader.check_input`.
        run: Does the work.
        count_values: Whether to count the values of the good rows.
    """
    whole = Check(base, settings, required, parts, ColumnCounter() if count_values else None)
    check = partial(
        _check_part, base=base, settings=settings, required=required, count_values=count_values
    )
    for checks in run(check, [*chain.from_iterable(parts.values())]):
        for of_piece in checks:
            whole.merge(of_piece)
    return whole


def _check_part(
    part: Part,
    *,
    base: str,
    settings: ReadingSettings,
    required: Sequence[str] | None,
    count_values: bool,
) -> list[Check]:
    """Checks the pieces of a part, each by itself."""
    checks = []
    for piece in part.pieces:
        values = ColumnCounter() if count_values else None
        check = Check(base, settings, required, [part.split], values)
        check.read(piece, part.split)
        checks.append(check)
    return checks


class Check:
    """What is known of an input that is being checked, or of a piece of it.

    Args:
        base: Folder of its files.
        settings: How they are read.
        required: See `csv_reader.check_input`.
        splits: What the input comes in.
        values: Counts the values of the good rows, if it is there.
    """

    def __init__(
        self,
        base: str,
        settings: ReadingSettings,
        required: Sequence[str] | None,
        splits: Iterable[str],
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
        self._splits = dict.fromkeys(splits, Counts())
        self._files: dict[str, Counts] = {}
        self._counter = SplitCounter(settings)
        self._bad_rows = 0
        self._texts_of: dict[bytes | None, set[int]] = defaultdict(set)  # hashes, by ad id
        self._of_files: dict[str, _FileProblems] = {}
        self._of_spans: list[str] = []  # problems

    def read(self, piece: Piece, split: str) -> None:
        """Checks a piece of a file."""
        found = self._of_files[piece.file] = _FileProblems(split)
        try:
            header = read_header(piece.file, self._settings)
            found.of_header += self._problems_of_header(header)
            if not found.of_header:
                self._headers[piece.file] = header
                for block in read_blocks(
                    piece.file, self._settings, self._required, where=piece.where
                ):
                    self._count(block, piece.file, split)
                    self._bad_rows += len(block.bad)
                    found.add([] if self._set_aside else block.bad)
        except UnreadableError as error:
            found.unreadable = error

    def merge(self, other: Check) -> None:
        """Takes in the check of a piece, after those of the pieces before it."""
        for file, problems in other._of_files.items():
            mine = self._of_files.setdefault(file, _FileProblems(problems.split))
            if mine.unreadable is not None:
                return  # what follows may not be what it seems
            mine.merge(problems)
        self._headers |= other._headers
        for split, counts in other._splits.items():
            self._splits[split] += counts
        for file, counts in other._files.items():
            self._files[file] = self._files.get(file, Counts()) + counts
        for name, column in other._columns.items():
            if name in self._columns:
                self._columns[name].merge(column)
            else:
                self._columns[name] = column
        self._counter.merge(other._counter)
        self._bad_rows += other._bad_rows
        for ad, texts in other._texts_of.items():
            self._texts_of[ad] |= texts
        if self._values is not None and other._values is not None:
            self._values.merge(other._values)

    def add_window(self, spans: Sequence[ReadSpan]) -> None:
        """Takes in spans that were read, each by itself, in place of their files."""
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
                values, rows = (table[each].combine_chunks() for each in (VALUE, ROWS))
                self._columns[name].add_counted(values, rows)
            self._of_spans += read.problems

    def problems_of_files(self) -> list[str]:
        """Returns why files cannot be used."""
        found = self._of_files.items()
        return [line for file, problems in found for line in problems.lines(file)]

    def values(self) -> ColumnCounts:
        """Returns how often each value occurs in the good rows, where that is counted."""
        assert self._values is not None
        counts = self._values.counts()
        assert counts is not None  # of any number of values
        return counts

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
        problems = self._problems()
        if self._settings.absent_columns == "refuse":
            problems += [
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
            warnings=[*self._warnings(), *([] if problems else absent)],
            problems=problems,
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
            named = listed([ad.decode() for ad in ads[:_SHOWN_OF_A_KIND]], len(ads))
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

    def _problems(self) -> list[str]:
        """Returns why the input cannot be used, split by split."""
        problems = list(self._of_spans)
        for split, counts in self._splits.items():
            files = {f: found for f, found in self._of_files.items() if found.split == split}
            for file, found in files.items():
                problems += found.lines(file)
            # What is missing from the rest may be in what could not be read.
            if not self._of_spans and all(found.were_read for found in files.values()):
                problems += self._problems_of_split(split, counts)
        return problems

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
            self._values.add(rows, are_clicked(rows, self._names))
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


def listed(items: Sequence[str], count: int) -> list[str]:
    """Returns `items`, the first of `count`, and how many more there are."""
    return [*items, *([f"and {count - len(items):,} more"] if count > len(items) else [])]


@dataclass
class _FileProblems:
    """Why a file, or a piece of it, cannot be used.

    Attributes:
        split: What it is for.
        of_header: What is wrong with its header.
        unreadable: Why nothing could be read, or nothing after some line.
        counts: Flaws of rows, by column and what is expected there.
        shown: What the first few of them are.
    """

    split: str
    of_header: list[str] = field(default_factory=list)
    unreadable: UnreadableError | None = None
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def were_read(self) -> bool:
        """Whether all rows were."""
        return not self.of_header and self.unreadable is None

    def add(self, rows: Iterable[BadRow]) -> None:
        """Takes in bad rows."""
        for row in rows:
            for flaw in row.flaws:
                kind = (flaw.column, flaw.expected)
                self.counts[kind] += 1
                if self.counts[kind] <= _SHOWN_OF_A_KIND:
                    self.shown[kind].append(f"{flaw.actual} on line {row.line}")

    def merge(self, other: _FileProblems) -> None:
        """Takes in those of the next piece of the file."""
        self.of_header = self.of_header or other.of_header
        self.unreadable = other.unreadable
        self.counts += other.counts
        for kind, shown in other.shown.items():
            self.shown[kind] = [*self.shown[kind], *shown][:_SHOWN_OF_A_KIND]

    def lines(self, file: str) -> Iterator[str]:
        """Yields them as lines of text."""
        for problem in self.of_header:
            yield f"{file}, line 1: {problem}"
        if self.unreadable is None:
            yield from self._of_rows(file)
        elif self.unreadable.line is None:
            yield f"{file}: {self.unreadable}"
        else:
            yield f"{file}, {self.unreadable}; nothing after it was checked"

    def _of_rows(self, file: str) -> Iterator[str]:
        for (column, expected), found in self.shown.items():
            where = f"{file}, column {column}" if column else file
            got = listed(found, self.counts[column, expected])
            yield f"{where}: expected {expected}, got {', '.join(got)}"
