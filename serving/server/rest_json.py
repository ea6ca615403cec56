"""JSON of REST requests: reading a body, and saying what is wrong with a value."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from serving.server.status import invalid

_B64 = "b64"
_LONGEST_QUOTE = 256


def parse(body: bytes) -> dict[str, Any]:
    """Reads the body of a request: one JSON object.

    Raises:
        ServingError: it is not, or its signature_name is no string.
    """
    try:
        document = json.loads(body)
        if b"\\u" in body:
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        invalid("JSON Parse error: The surrogate pair in string is invalid.")
    except json.JSONDecodeError as error:
        invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}")
    except (ValueError, RecursionError) as error:
        invalid(f"JSON Parse error: {error}")
    if not isinstance(document, dict):
        invalid(f"JSON Value: {quote(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        invalid(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return document


def is_base64(value: Any) -> bool:
    """Returns whether `value` is an object that stands for bytes, {"b64": ...}."""
    return isinstance(value, dict) and set(value) == {_B64} and isinstance(value[_B64], str)


def decode(value: Mapping[str, Any]) -> bytes:
    """Returns the bytes that an object stands for.

    Raises:
        ServingError: it stands for none.
    """
    if not is_base64(value):
        invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value[_B64], validate=True)
    except binascii.Error:
        invalid("Unable to base64 decode")


def encode(value: bytes) -> dict[str, str]:
    """Returns the object that stands for these bytes."""
    return {_B64: base64.b64encode(value).decode()}


def quote(value: Any) -> str:
    """Returns the start of a value, for a message."""
    return json.dumps(value, ensure_ascii=False)[:_LONGEST_QUOTE]


def type_name(value: Any) -> str:
    """Returns TF Serving's name for the type of a value."""
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
        case _:
            return "Object"
