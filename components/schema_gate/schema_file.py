"""The curated schema's file, checked before anything is loaded that takes its time."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.errors import InputError


def check_schema(file: Path) -> None:
    """Reads a schema as a run will.

    Raises:
        InputError: there is none, or it is none; with file, line and column.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); data.schema_file names the curated "
            "schema, and `twotower schema infer` drafts one"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not text in UTF-8 ({error.reason})") from None
    schema = schema_pb2.Schema()
    try:
        text_format.Parse(text, schema)
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        where = f"{file}, line {line}, column {column}" if line else str(file)
        what = str(error).removeprefix(f"{line}:{column} : ")
        raise InputError(f"{where}: not a schema: {what}") from None
    if not schema.feature:
        raise InputError(f"{file}: names no feature; `twotower schema infer` drafts a schema")
