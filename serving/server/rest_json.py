"""JSON of REST requests and answers, read and written as TF Serving's json_tensor.cc does.

The reader is RapidJSON, TF Serving's own: it refuses the same documents, at the same byte.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import rapidjson

from serving.server.status import invalid

_B64 = "b64"
_LONGEST_QUOTE = 256
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TRAILING = "The document root must not be followed by other values."
# Deeper lists make no tensor: NumPy ends at 64 dimensions, and TensorFlow at 254.
_DEEPEST = 300
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)

_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}

# RapidJSON reads a body without letting other threads in: a second large one waits here, so that a
# health check waits for one of them at most.
_one_at_a_time = threading.Lock()


class _Decoder(rapidjson.Decoder):
    """Keeps the first value of a key that comes twice."""

    def start_object(self) -> list[tuple[str, Any]]:
        return []

    def end_object(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(members)
        return document if len(document) == len(members) else dict(reversed(members))


_decode = _Decoder(number_mode=rapidjson.NM_NATIVE | rapidjson.NM_NAN)


def parse(body: bytes) -> dict[str, Any]:
    """Reads the body of a request: one JSON object; what follows it is ignored.

    Raises:
        ServingError: it is not, or its signature_name is no string.
    """
    with _one_at_a_time:
        document = _parse(body.removeprefix(_BYTE_ORDER_MARK))
    if not isinstance(document, dict):
        invalid(f"JSON Value: {quote(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        invalid(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return document


def _parse(body: bytes) -> Any:
    if not body:
        invalid("JSON Parse error: The document is empty")
    try:
        return _decode(body)
    except rapidjson.JSONDecodeError as error:
        offset, message = _offset_and_message(error)
        if message == _TRAILING:
            return _parse(body[:offset])
        invalid(f"JSON Parse error: {message} at offset: {offset}")
    except RecursionError:
        return _parse(_without_the_deepest(body))
    except UnicodeDecodeError as error:
        # TF Serving takes any bytes here.
        invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}")


def _offset_and_message(error: rapidjson.JSONDecodeError) -> tuple[int, str]:
    match = re.match(r"Parse error at offset (\d+): (.*)", str(error))
    assert match is not None
    return int(match[1]), match[2]


def _without_the_deepest(body: bytes) -> bytes:
    """The document with null in the place of everything nested deeper than a tensor can be."""
    return b"".join(_shallow_pieces(body))


def _shallow_pieces(body: bytes) -> Iterator[bytes]:
    depth, start = 0, 0
    for token in _NESTING.finditer(body):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth == _DEEPEST + 1:
                yield body[start : token.start()] + b"null"
        elif token[0] in (b"]", b"}"):
            depth -= 1
            if depth == _DEEPEST:
                start = token.end()
    if depth <= _DEEPEST:
        yield body[start:]


def is_base64(value: Any) -> bool:
    """Returns whether `value` is an object that stands for bytes, {"b64": ...}."""
    return isinstance(value, dict) and set(value) == {_B64} and isinstance(value[_B64], str)


def decode(value: Mapping[str, Any]) -> bytes:
    """Returns the bytes that an object stands for; padding and whitespace are as one likes.

    Raises:
        ServingError: it stands for none.
    """
    if not is_base64(value):
        invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
    text = re.sub(r"[ \t\n\v\f\r]", "", value[_B64])
    digits = text.rstrip("=.")
    padding = len(text) - len(digits)
    if padding and (len(text) % 4 or padding > 2):
        invalid("Unable to base64 decode")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        invalid("Unable to base64 decode")


def encode(value: bytes) -> dict[str, str]:
    """Returns the object that stands for these bytes."""
    return {_B64: base64.b64encode(value).decode()}


def quote(value: Any) -> str:
    """Returns a value as TF Serving quotes it in a message: its first tokens, indented by four."""
    written = ""
    for token in _tokens(value, 0):
        if len(written.encode()) >= _LONGEST_QUOTE:
            break
        written += token
    return written


def _tokens(value: Any, level: int) -> Iterator[str]:
    if isinstance(value, dict) and value:
        indent = "\n" + " " * 4 * (level + 1)
        for position, (key, member) in enumerate(value.items()):
            yield ("," if position else "{") + indent + write(key) + ": "
            yield from _tokens(member, level + 1)
        yield "\n" + " " * 4 * level + "}"
    elif isinstance(value, list) and value:
        for position, element in enumerate(value):
            yield ", " if position else "["
            yield from _tokens(element, level + 1)
        yield "]"
    else:
        yield write(value).replace("e+", "e") if isinstance(value, float) else write(value)


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


def write(value: Any) -> str:
    """Returns the JSON of a value."""
    return json.dumps(value, ensure_ascii=False)


def decimals(values: np.ndarray) -> list[str]:
    """Returns floats as TF Serving prints them: six digits, or all of them where six do not do.

    Args:
        values: [N] of float32 or float64.
    """
    digits = 9 if values.dtype == np.float32 else 17
    texts = [f"{value:.6g}" for value in values.tolist()]
    exact = np.array([float(text) for text in texts]).astype(values.dtype) == values
    for position in np.flatnonzero(~exact & np.isfinite(values)).tolist():
        texts[position] = f"{float(values[position]):.{digits}g}"
    return [_NOT_FINITE.get(text) or _with_point(text) for text in texts]


def _with_point(text: str) -> str:
    return text if "." in text or "e" in text else f"{text}.0"


def nested(leaves: Sequence[str], shape: Iterable[int]) -> str:
    """Returns the JSON of a tensor: values, already written, in lists by shape."""
    sizes = list(shape)
    for axis in range(len(sizes) - 1, -1, -1):
        size, count = sizes[axis], int(np.prod(sizes[:axis], dtype=np.int64))
        leaves = [
            f"[{', '.join(leaves[number * size : (number + 1) * size])}]" for number in range(count)
        ]
    return leaves[0]
