"""The one reader of input: checks it, finds one type a column, and reads rows of those types.

`check_input` goes over all files once and finds everything that is wrong; `read_batches` goes over
them again. Neither holds more than a block of rows, and what it must know of each distinct ad.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from components.errors import InputError
from components.example_gen.blocks import UnreadableError, column_of
from components.example_gen.check import Check, InputSummary, check_parts, listed
from components.example_gen.csv_types import Types, convert
from components.example_gen.input_files import read_blocks
from components.example_gen.layout import name_few
from components.example_gen.parts import Part, find_parts
from components.example_gen.read_span import COUNTS, ReadSpan
from components.example_gen.settings import ReadingSettings
from components.example_gen.span_store import SpanStore, digest_of, reading_key
from components.example_gen.spans import Span, SpanLayout, find_input
from components.features import EVAL, TRAIN
from components.run import Run, in_threads

__all__ = [
    "InputSummary",
    "check_files",
    "check_input",
    "examine_input",
    "read_batches",
    "require_splits",
]

_SHOWN_PROBLEMS = 20


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
    parts: Mapping[str, Sequence[Part]],
    base: str,
    settings: ReadingSettings,
    required: Sequence[str] | None = None,
    run: Run = in_threads,
) -> InputSummary:
    """Does what `check_input` does, for files under `base` that are already found and parted."""
    check = check_parts(parts, base, settings, required, run)
    return _usable(check.summary(), settings, required)


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
    parts, settings = find_parts(layout.files()), settings.for_layout(layout)
    found = check_parts(parts, layout.base, settings, required).summary()
    if ignored:
        found.warnings.append(f"not read, by their names: {name_few(ignored)}")
    return found


def check_window(
    layout: SpanLayout, settings: ReadingSettings, store: SpanStore, run: Run = in_threads
) -> tuple[InputSummary, list[ReadSpan]]:
    """Does what `check_input` does, for a window; returns beside it what was read of each span."""
    found, spans = examine_window(layout, settings, store, run)
    return _usable(found, settings, None), spans


def examine_window(
    layout: SpanLayout, settings: ReadingSettings, store: SpanStore | None, run: Run = in_threads
) -> tuple[InputSummary, list[ReadSpan]]:
    """Does what `examine_input` does, for a window of which each span is read once and kept.

    Args:
        layout: Where the spans are.
        settings: How they are read.
        store: Where they are kept; None to read all of them.
        run: Reads those that are not kept.
    """
    settings, window = settings.for_layout(layout), layout.window()
    spans = [
        _read_span(span, split, layout.base, settings, store, run)
        for split, some in ((TRAIN, window.train), (EVAL, window.eval))
        for span in some
    ]
    check = Check(layout.base, settings, None, (TRAIN, EVAL))
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
    span: Span,
    split: str,
    base: str,
    settings: ReadingSettings,
    store: SpanStore | None,
    run: Run,
) -> ReadSpan:
    """Returns what is in a span, as it is kept or as its files have it."""
    digest = digest_of(span, base)
    key = reading_key(digest, settings)
    kept = None if store is None else store.find(COUNTS, key)
    if kept is not None:
        return ReadSpan.load(kept, span, split, digest)
    parts = find_parts({split: span.files}, run)
    check = check_parts(parts, base, settings, None, run, count_values=True)
    read = ReadSpan(span, split, digest, check.facts(), check.values(), check.problems_of_files())
    if store is not None and not read.problems:
        store.keep(COUNTS, key, read.save)
    return read


def _usable(
    summary: InputSummary, settings: ReadingSettings, required: Sequence[str] | None
) -> InputSummary:
    """Returns the summary of input that can be used."""
    if summary.problems:
        shown = listed(summary.problems[:_SHOWN_PROBLEMS], len(summary.problems))
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
