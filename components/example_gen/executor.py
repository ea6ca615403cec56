"""Writes CSV files as gzipped TFRecords of tf.Examples: TFX's CsvExampleGen, by columns."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Any

from google.protobuf import struct_pb2
from pydantic import BaseModel
from tfx import types
from tfx.components.example_gen import utils
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.beam_run import RunningExecutor
from components.example_gen import window_examples
from components.example_gen.counts_file import write_counts
from components.example_gen.csv_reader import check_files, require_splits
from components.example_gen.examples import write_examples
from components.example_gen.filesystem import list_files
from components.example_gen.input_files import read_blocks, read_header
from components.example_gen.layout import Layout, is_data
from components.example_gen.parts import Part, find_parts
from components.example_gen.settings import ReadingSettings, WindowSettings
from components.example_gen.spans import SpanLayout
from components.run import Run

_LOGGER = logging.getLogger(__name__)

QUARANTINE_FILE = "quarantine.csv"

_Kind = tuple[str, ...]  # of files: the separator and the names of the columns

UNTIL = "until"  # a property of the node: the newest span to read, "" for the newest there is


class ColumnarCsvExecutor(RunningExecutor):
    """Executor of FileBasedExampleGen for CSV files.

    The tf.Examples are those of CsvExampleGen. Three things differ from it: rows that are still to
    be split are, as `components.example_gen.split` says, which does not depend on the label, as a
    hash of the whole row does; the text and the ids are strings even where all look like numbers;
    and the rows are not shuffled: a part of the input is a shard.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the Examples artifact; `quarantine.csv` in its root holds the rows set aside.

        Raises:
            InputError: The input cannot be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        input_config, output_config = _configs(exec_properties)
        packed = unpack(exec_properties)
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        splits = utils.generate_output_split_names(input_config, output_config)
        artifact.split_names = artifact_utils.encode_split_names(splits)
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        folders = {split: artifact_utils.get_split_uri([artifact], split) for split in splits}
        settings, run = packed.settings, self._run(f"{artifact.uri}/.work")
        if packed.pattern is not None:
            window = packed.window.as_of(exec_properties[UNTIL])
            layout = SpanLayout.of(f"{base}/{packed.pattern}", window)
            bad = window_examples.write(layout, settings, packed.store, artifact.uri, folders, run)
            _write_quarantine(artifact.uri, find_parts(bad, run), settings, run)
            return

        parts = find_parts(_find_files(base, input_config), run)
        summary = check_files(parts, base, settings, run=run)
        require_splits(summary)
        for warning in summary.warnings:
            _LOGGER.warning("%s", warning)
        counters = write_examples(parts, base, settings, summary, folders, run, count_values=True)
        for split, counter in counters.items():
            if (counts := counter.counts()) is not None:
                counts = counts.converted(summary.types, settings.missing)
                write_counts(artifact.uri, split, counts)
        if summary.bad_rows:
            _write_quarantine(artifact.uri, parts, settings, run)


def _find_files(base: str, input_config: example_gen_pb2.Input) -> dict[str, list[str]]:
    """Returns the files that are read, by split, wherever they are."""
    layout = Layout(base, {split.name: split.pattern for split in input_config.splits})
    return {
        split: [
            file
            for file in list_files(base, pattern)
            if layout.is_file or is_data(file.rpartition("/")[2])
        ]
        for split, pattern in layout.patterns.items()
    }


class Packed(BaseModel):
    """What a node has to know beside the folder of the files.

    Attributes:
        settings: How they are read and split.
        fingerprint: Of their content; "" where it is not known.
        pattern: Of the spans under the folder, of input in spans.
        window: Which of these are read, but for the newest one.
        store: Folder where what is made of a span is kept for the next run.
    """

    settings: ReadingSettings
    fingerprint: str
    pattern: str | None = None
    window: WindowSettings = WindowSettings()
    store: str | None = None


def pack(packed: Packed) -> example_gen_pb2.CustomConfig:
    """Packs what a node has to know into one of its properties."""
    config, values = example_gen_pb2.CustomConfig(), struct_pb2.Struct()
    values["packed"] = packed.model_dump_json()  # a Struct by itself has no whole numbers
    config.custom_config.Pack(values)
    return config


def unpack(exec_properties: Mapping[str, Any]) -> Packed:
    """Returns what `pack` has packed into a node's properties."""
    config, values = example_gen_pb2.CustomConfig(), struct_pb2.Struct()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], config)
    config.custom_config.Unpack(values)
    return Packed.model_validate_json(values["packed"])


def _configs(
    exec_properties: Mapping[str, Any],
) -> tuple[example_gen_pb2.Input, example_gen_pb2.Output]:
    configs = example_gen_pb2.Input(), example_gen_pb2.Output()
    keys = standard_component_specs.INPUT_CONFIG_KEY, standard_component_specs.OUTPUT_CONFIG_KEY
    for key, config in zip(keys, configs, strict=True):
        proto_utils.json_to_proto(exec_properties[key], config)
    return configs


def _write_quarantine(
    folder: str, parts: Mapping[str, Sequence[Part]], settings: ReadingSettings, run: Run
) -> None:
    """Writes the bad rows as they stand in their files, after columns that say what is wrong.

    The rows of files with other columns or another separator go into a file of their own.
    """
    opened: dict[_Kind, Any] = {}
    with ExitStack() as stack:
        of_parts = run(partial(_bad_rows, settings), [*chain.from_iterable(parts.values())])
        for kind, lines in chain.from_iterable(of_parts):
            if kind not in opened:
                number = f"-{len(opened) + 1}" if opened else ""
                name = QUARANTINE_FILE.replace(".", f"{number}.")
                opened[kind] = stack.enter_context(fileio.open(f"{folder}/{name}", "wb"))
                separator, *names = kind
                opened[kind].write(_csv_line(["file", "line", "reason", *names], separator) + b"\n")
            opened[kind].write(lines)


def _bad_rows(settings: ReadingSettings, part: Part) -> list[tuple[_Kind, bytes]]:
    """Returns the lines for the bad rows of each piece of a part that has some."""
    found = []
    for piece in part.pieces:
        header = read_header(piece.file, settings)
        kind = separator, *_ = header.separator or ",", *header.names
        lines = b""
        for block in read_blocks(piece.file, settings, settings.required(), where=piece.where):
            for row in block.bad:
                reason = "; ".join(map(str, row.flaws))
                beginning = _csv_line([piece.file, row.line, reason], separator)
                lines += beginning + separator.encode() + row.raw + b"\n"
        if lines:
            found.append((kind, lines))
    return found


def _csv_line(fields: Iterable[Any], separator: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow(fields)
    return line.getvalue().encode()
