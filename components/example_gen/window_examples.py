"""The Examples of a window of spans: each span's are made once, and kept for the next run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tfx.dsl.io import fileio

from components.example_gen.check import InputSummary
from components.example_gen.column_counts import put_together
from components.example_gen.counts_file import write_counts
from components.example_gen.csv_reader import check_window, require_splits
from components.example_gen.examples import write_examples
from components.example_gen.layout import name_under
from components.example_gen.parts import find_parts
from components.example_gen.read_span import COUNTS, ReadSpan
from components.example_gen.settings import ReadingSettings
from components.example_gen.shards import shard_name
from components.example_gen.span_store import SpanStore, hash_of, reading_key
from components.example_gen.spans import SpanLayout
from components.run import Run

_LOGGER = logging.getLogger(__name__)

_EXAMPLES = "examples"  # the kind of what is kept, see SpanStore
_WORK = ".span"  # in an artifact, for the files of a span


def write(
    layout: SpanLayout,
    settings: ReadingSettings,
    store_folder: str | None,
    artifact: str,
    folders: Mapping[str, str],
    run: Run,
) -> dict[str, list[str]]:
    """Writes the Examples of a window, and how often each value occurs in each split.

    Args:
        layout: Where the spans are.
        settings: How they are read.
        store_folder: Where they are kept; None to keep nothing.
        artifact: Folder of the Examples artifact.
        folders: Those in it, by split.
        run: Reads and writes what is not kept.

    Returns:
        Files with rows that are set aside, by split.

    Raises:
        InputError: The window cannot be used.
    """
    with ExitStack() as stack:
        if store_folder is None:
            store_folder = stack.enter_context(TemporaryDirectory())
        store = SpanStore(Path(store_folder))
        summary, spans = check_window(layout, settings, store, run)
        require_splits(summary)
        for warning in summary.warnings:
            _LOGGER.warning("%s", warning)
        make = partial(_write_span, artifact, layout.base, settings, summary, run)
        kept = {read.span.name: _examples_key(read, settings, summary) for read in spans}
        for split, folder in folders.items():
            of_split = [read for read in spans if read.split == split]
            files = [
                file
                for read in of_split
                for file in sorted(
                    store.keep(_EXAMPLES, kept[read.span.name], partial(make, read)).iterdir()
                )
            ]
            fileio.makedirs(folder)
            for number, file in enumerate(files):
                _link(file, f"{folder}/{shard_name(number, len(files))}")
            counts = put_together(read.values for read in of_split)
            counts = counts.converted(summary.types, settings.missing)
            write_counts(artifact, split, counts)
        store.prune(_EXAMPLES, {*kept.values()})
        store.prune(COUNTS, {reading_key(read.digest, settings) for read in spans})
    return {
        read.span.name: [f"{layout.base}/{name}" for name in read.facts.files]
        for read in spans
        if read.facts.bad_rows
    }


def _examples_key(read: ReadSpan, settings: ReadingSettings, summary: InputSummary) -> str:
    types = [f"{name}: {each}" for name, each in sorted(summary.types.items())]
    return hash_of(reading_key(read.digest, settings), *types)


def _write_span(
    artifact: str,
    base: str,
    settings: ReadingSettings,
    summary: InputSummary,
    run: Run,
    read: ReadSpan,
    folder: Path,
) -> None:
    """Writes the Examples of a span into a folder, by way of one that workers reach, too."""
    work, files = f"{artifact}/{_WORK}", {read.split: read.span.files}
    write_examples(find_parts(files, run), base, settings, summary, {read.split: work}, run)
    for name in fileio.listdir(work):
        fileio.copy(f"{work}/{name}", str(folder / name))
    fileio.rmtree(work)
    rows = sum(counts.rows for counts in read.facts.files.values())
    names = ", ".join(name_under(base, file) for file in read.span.files)
    _LOGGER.info("read %s rows of %s: %s", f"{rows:,}", read.span.name, names)


def _link(file: Path, place: str) -> None:
    """Gives a file that never changes another name, or copies it to another file system."""
    try:
        os.link(file, place)
    except OSError:
        fileio.copy(str(file), place)
