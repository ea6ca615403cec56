"""What is found out before a graph is built, so that building it reads no file."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import components
from components.errors import InputError
from components.example_gen.csv_reader import InputSummary, check_input, require_splits
from components.example_gen.layout import Layout, folder_layout
from components.example_gen.span_store import SpanStore
from components.example_gen.spans import SpanLayout, as_of_newest, find_input, is_pattern
from components.output_file import output_file
from components.pusher.cache_key import push_cache_key
from components.pusher.work_folder import check_root, existing
from components.schema_gate.schema_file import check_schema
from pipeline.config import PipelineConfig

# Bytes that a run may write, a rough guess: a share of the input's as artifacts, and beside them
# four exports with a text encoder each; then a copy of these in the serving root.
_ARTIFACTS_BY_INPUT = 0.5
_ARTIFACTS = 1.0e9
_PUSH = 0.5e9

SPAN_STORE = "spans"  # in a pipeline's folder, see components.example_gen.span_store

IMAGE_FOLDER = Path("/opt/twotower/app")  # where the Dockerfile puts the project


@dataclass(frozen=True)
class Prepared:
    """What the graph's nodes depend on beside the settings.

    Attributes:
        layout: where the input's files are.
        data_fingerprint: of their content; "" where only the nodes see them.
        span_store: folder where what is made of the input's spans is kept, if there are any.
        schema_file: a copy of the curated schema, under a name that changes with its content.
        encoder_folder: the compiled text encoder.
        encoder_fingerprint: of its weights and graph.
        code_fingerprint: of the components' code.
        push_cache_key: see `components.pusher.cache_key`.
        push_again: whether a model that was withdrawn is pushed again.
    """

    layout: Layout
    data_fingerprint: str
    span_store: str | None
    schema_file: str
    encoder_folder: str
    encoder_fingerprint: str
    code_fingerprint: str
    push_cache_key: str
    push_again: bool


def as_of_newest_span(config: PipelineConfig) -> PipelineConfig:
    """Returns settings that say which span is the newest: one that comes meanwhile is not read.

    Raises:
        InputError: the input has no spans where they were expected.
    """
    until = as_of_newest(config.data, config.data.input)
    data = config.data.model_copy(update={"until": until})
    return config.model_copy(update={"data": data})


def check_data(config: PipelineConfig) -> InputSummary:
    """Reads the input once, before anything else runs.

    Raises:
        InputError: it cannot be used; every problem is in the message.
    """
    store = SpanStore(config.folder / SPAN_STORE)
    summary = check_input(config.data.input, config.data, store=store)
    require_splits(summary)
    return summary


def check_machine(config: PipelineConfig) -> None:
    """Finds what would stop a run late: a schema, a folder or a disk that cannot do.

    Raises:
        InputError: something would; it is named.
    """
    check_schema(config.data.schema_file)
    check_root(config.pusher.serving_root)
    folder = existing(config.folder)
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise InputError(f"runs: {config.folder}: cannot be written to, for the sake of {folder}")
    _check_disk(config)


def _check_disk(config: PipelineConfig) -> None:
    layout = find_input(config.data.input, config.data)
    rows = sum(Path(file).stat().st_size for files in layout.files().values() for file in files)
    for folder, needed in (
        (existing(config.folder), rows * _ARTIFACTS_BY_INPUT + _ARTIFACTS),
        (existing(config.pusher.serving_root), _PUSH),
    ):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise InputError(
                f"{folder}: {free / 1e9:.1f} GB are free there and a run is expected to need "
                f"{needed / 1e9:.1f} GB; make room, or set runs or pusher.serving_root to another "
                "disk"
            )


def prepare(config: PipelineConfig, again: bool = False) -> Prepared:
    """Finds the input's files, and makes the text encoder where this machine has not got it yet.

    Args:
        config: the settings.
        again: whether a model that was withdrawn is pushed again.

    Raises:
        InputError: a file or an encoder that the settings name cannot be used.
    """
    from components.transform import text_encoder

    encoder = compile_encoder(config)
    layout = find_input(config.data.input, config.data)
    return Prepared(
        layout=layout,
        data_fingerprint=layout.fingerprint(),
        span_store=str(config.folder / SPAN_STORE) if isinstance(layout, SpanLayout) else None,
        schema_file=str(_copy_of_schema(config)),
        encoder_folder=str(encoder),
        encoder_fingerprint=text_encoder.fingerprint(encoder),
        code_fingerprint=_fingerprint_of_code(),
        push_cache_key=push_cache_key(config.pusher.serving_root),
        push_again=again,
    )


def prepare_for_image(config: PipelineConfig) -> Prepared:
    """Tells what a graph depends on that runs in containers: paths are as these see them.

    Of the encoder, a copy of this machine tells the name and the fingerprint of the image's.

    Raises:
        InputError: an encoder that the settings name cannot be used.
    """
    from components.transform import text_encoder

    encoder = compile_encoder(config)
    return Prepared(
        layout=_layout_in_image(config),
        data_fingerprint="",
        span_store=_store_in_image(config),
        schema_file=str(IMAGE_FOLDER / config.data.schema_file),
        encoder_folder=str(config.deploy.encoders / encoder.name),
        encoder_fingerprint=text_encoder.fingerprint(encoder),
        code_fingerprint=_fingerprint_of_code(),
        push_cache_key="",  # nodes that depend on the serving root are not cached there
        push_again=False,
    )


def _store_in_image(config: PipelineConfig) -> str | None:
    store = config.deploy.span_store
    return str(store) if store is not None and is_pattern(str(config.deploy.input)) else None


def _layout_in_image(config: PipelineConfig) -> Layout:
    place = str(config.deploy.input)
    if is_pattern(place):
        return SpanLayout.of(place, config.data)
    return folder_layout(place, config.deploy.is_split)


def compile_encoder(config: PipelineConfig) -> Path:
    """Makes the text encoder of the settings, unless the cache has it; returns its folder.

    Raises:
        InputError: it cannot be made.
    """
    from components.transform import text_encoder

    settings = config.text_encoder
    return text_encoder.compile_encoder(
        settings.encoder,
        settings.preprocessor,
        settings.max_tokens,
        settings.cache,
        settings.pair,
    )


def _copy_of_schema(config: PipelineConfig) -> Path:
    content = config.data.schema_file.read_bytes()
    # TFX caches by the name of the file.
    copy = config.folder / "schemas" / hashlib.sha256(content).hexdigest()[:16] / "schema.pbtxt"
    with output_file(copy) as partial:
        partial.write_bytes(content)
    return copy


def _fingerprint_of_code() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(components.__path__[0]).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
