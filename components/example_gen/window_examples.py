"""The Examples of a window of spans: each span's are made once, and kept for the next run."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tfx.dsl.io import fileio

from components.example_gen.column_counts import ColumnCounts, put_together
from components.example_gen.csv_reader import InputSummary, check_window, require_splits
from components.example_gen.examples import examples_by_split
from components.example_gen.layout import name_under
from components.example_gen.read_span import COUNTS, ReadSpan
from components.example_gen.settings import ReadingSettings
from components.example_gen.shards import SplitWriter, shard_name
from components.example_gen.span_store import SpanStore, hash_of, reading_key
from components.example_gen.spans import SpanLayout

_LOGGER = logging.getLogger(__name__)

_EXAMPLES = "examples"  # the kind of what is kept, see SpanStore
_OWN_STORE = ".spans"  # of an artifact where nothing is kept


def write(
    layout: SpanLayout,
    settings: ReadingSettings,
    store_folder: str | None,
    artifact: str,
    folders: Mapping[str, str],
) -> dict[str, list[str]]:
    """Writes the Examples of a window, and how often each value occurs in each split.

    Args:
        layout: Where the spans are.
        settings: How they are read.
        store_folder: Where they are kept; None to keep nothing.
        artifact: Folder of the Examples artifact.
        folders: Those in it, by split.

    Returns:
        Files with rows that are set aside, by split.

    Raises:
        InputError: The window cannot be used.
    """
    store = SpanStore(Path(store_folder or f"{artifact}/{_OWN_STORE}"))
    summary, spans = check_window(layout, settings, store)
    require_splits(summary)
    for warning in summary.warnings:
        _LOGGER.warning("%s", warning)
    keys = {}
    for split, folder in folders.items():
        of_split = [read for read in spans if read.split == split]
        files = []
        for read in of_split:
            kept, key = _keep_examples(store, read, layout.base, settings, summary)
            keys[read.span.name] = key
            files += sorted(kept.iterdir())
        fileio.makedirs(folder)
        for number, file in enumerate(files):
            _link(file, Path(folder, shard_name(number, len(files))))
        counts = put_together(read.values for read in of_split)
        counts = counts.converted(summary.types, settings.missing)
        with fileio.open(_counts_file(artifact, split), "wb") as output:
            output.write(counts.to_bytes())
    if store_folder is None:
        shutil.rmtree(Path(artifact, _OWN_STORE))
    else:
        store.prune(_EXAMPLES, {*keys.values()})
        store.prune(COUNTS, {reading_key(read.digest, settings) for read in spans})
    return {
        read.span.name: [f"{layout.base}/{name}" for name in read.facts.files]
        for read in spans
        if read.facts.bad_rows
    }


def read_counts(artifact: str, split: str) -> ColumnCounts | None:
    """Returns how often each value occurs in a split of Examples; None where that is not known.

    Args:
        artifact: Folder of the Examples artifact.
        split: Its name.
    """
    file = _counts_file(artifact, split)
    if not fileio.exists(file):
        return None
    with fileio.open(file, "rb") as content:
        return ColumnCounts.from_bytes(content.read())


def _counts_file(artifact: str, split: str) -> str:
    return f"{artifact}/counts-{split}.arrow"


def _keep_examples(
    store: SpanStore, read: ReadSpan, base: str, settings: ReadingSettings, summary: InputSummary
) -> tuple[Path, str]:
    """Returns the folder with the Examples of a span, and its key."""
    types = [f"{name}: {each}" for name, each in sorted(summary.types.items())]
    key = hash_of(reading_key(read.digest, settings), *types)

    def make(folder: Path) -> None:
        rows = sum(counts.rows for counts in read.facts.files.values())
        files = {read.split: read.span.files}
        with closing(SplitWriter({read.split: str(folder)}, rows)) as writer:
            for examples in examples_by_split(files, base, settings, summary):
                writer.write(examples)
        names = ", ".join(name_under(base, file) for file in read.span.files)
        _LOGGER.info("read %s rows of %s: %s", f"{rows:,}", read.span.name, names)

    return store.keep(_EXAMPLES, key, make), key


def _link(file: Path, place: Path) -> None:
    """Gives a file that never changes another name, or copies it to another file system."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
