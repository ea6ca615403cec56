"""What is found out before a graph is built, so that building it reads no file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import components
from components.errors import InputError
from components.example_gen.csv_reader import InputSummary, check_input, require_splits
from components.example_gen.layout import Layout, find_layout, folder_layout
from components.pusher.cache_key import push_cache_key
from pipeline.config import PipelineConfig

IMAGE_FOLDER = Path("/opt/twotower/app")  # where the Dockerfile puts the project


@dataclass(frozen=True)
class Prepared:
    """What the graph's nodes depend on beside the settings.

    Attributes:
        layout: where the input's files are.
        data_fingerprint: of their content; "" where only the nodes see them.
        schema_file: a copy of the curated schema, under a name that changes with its content.
        encoder_folder: the compiled text encoder.
        encoder_fingerprint: of its weights and graph.
        code_fingerprint: of the components' code.
        push_cache_key: see `components.pusher.cache_key`.
    """

    layout: Layout
    data_fingerprint: str
    schema_file: str
    encoder_folder: str
    encoder_fingerprint: str
    code_fingerprint: str
    push_cache_key: str


def check_data(config: PipelineConfig) -> InputSummary:
    """Reads the input once, before anything else runs.

    Raises:
        InputError: it cannot be used; every problem is in the message.
    """
    summary = check_input(config.data.input, config.data)
    require_splits(summary)
    return summary


def prepare(config: PipelineConfig) -> Prepared:
    """Finds the input's files, and makes the text encoder where this machine has not got it yet.

    Raises:
        InputError: a file or an encoder that the settings name cannot be used.
    """
    from components.transform import text_encoder

    encoder = compile_encoder(config)
    layout = find_layout(config.data.input)
    return Prepared(
        layout=layout,
        data_fingerprint=layout.fingerprint(),
        schema_file=str(_copy_of_schema(config)),
        encoder_folder=str(encoder),
        encoder_fingerprint=text_encoder.fingerprint(encoder),
        code_fingerprint=_fingerprint_of_code(),
        push_cache_key=push_cache_key(config.pusher.serving_root),
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
        layout=folder_layout(str(config.deploy.input), config.deploy.is_split),
        data_fingerprint="",
        schema_file=str(IMAGE_FOLDER / config.data.schema_file),
        encoder_folder=str(config.deploy.encoders / encoder.name),
        encoder_fingerprint=text_encoder.fingerprint(encoder),
        code_fingerprint=_fingerprint_of_code(),
        push_cache_key="",  # nodes that depend on the serving root are not cached there
    )


def compile_encoder(config: PipelineConfig) -> Path:
    """Makes the text encoder of the settings, unless the cache has it; returns its folder.

    Raises:
        InputError: it cannot be made.
    """
    from components.transform import text_encoder

    settings = config.text_encoder
    return text_encoder.compile_encoder(
        settings.encoder, settings.preprocessor, settings.max_tokens, settings.cache.expanduser()
    )


def _copy_of_schema(config: PipelineConfig) -> Path:
    try:
        content = config.data.schema_file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{config.data.schema_file}: cannot be read ({error.strerror}); data.schema_file names "
            "the curated schema, and `twotower schema infer` drafts one"
        ) from None
    # TFX caches by the name of the file.
    copy = config.folder / "schemas" / hashlib.sha256(content).hexdigest()[:16] / "schema.pbtxt"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
    return copy


def _fingerprint_of_code() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(components.__path__[0]).rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
