"""Predict over REST: JSON in row or column form to tensors and back (json_tensor.cc)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from serving.server.rest_json import decode, encode, is_base64, quote, type_name
from serving.server.status import Code, ServingError, invalid
from serving.server.tensors import dtype_name, to_array, to_proto

Inputs = Mapping[str, TensorInfo]
Tensors = dict[str, TensorProto]

# What a value of each dtype looks like in JSON; bool is no int here.
_JSON_TYPES: dict[tf.DType, tuple[type, ...]] = {
    tf.string: (str,),
    tf.bool: (bool,),
    tf.float32: (int, float),
    tf.float64: (int, float),
    **dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.int64), (int,)),
    **dict.fromkeys((tf.uint8, tf.uint32, tf.uint64), (int,)),
}


def read_inputs(document: Mapping[str, Any], inputs: Inputs) -> Tensors:
    """Reads the tensors of a predict request, in row or column form.

    Args:
        document: the request.
        inputs: what the signature takes.

    Raises:
        ServingError: neither or both forms, or values that do not make those tensors.
    """
    if "instances" in document and "inputs" in document:
        invalid(
            f"JSON Value: {quote(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        return _from_rows(document, inputs)
    if "inputs" in document:
        return _from_columns(document["inputs"], inputs)
    invalid("Missing 'inputs' or 'instances' key")


def write_outputs(response: PredictResponse, *, rows: bool) -> dict[str, Any]:
    """Writes the outputs of a predict request in the form that the request had.

    Raises:
        ServingError: row form, and outputs that do not share their first dimension.
    """
    columns = {
        name: _to_json(to_array(tensor), as_bytes=name.endswith("_bytes"))
        for name, tensor in sorted(response.outputs.items())
    }
    if rows:
        _check_same_batch(response.outputs)
        if len(columns) == 1:
            return {"predictions": next(iter(columns.values()))}
        values = zip(*columns.values(), strict=True)
        return {"predictions": [dict(zip(columns, row, strict=True)) for row in values]}
    return {"outputs": columns if len(columns) > 1 else next(iter(columns.values()))}


def shortest(value: float) -> float:
    """Returns the shortest decimal that reads back as this float32: 0.1, not 0.10000000149."""
    return float(str(np.float32(value)))


def _from_rows(document: Mapping[str, Any], inputs: Inputs) -> Tensors:
    rows = document["instances"]
    if not isinstance(rows, list):
        invalid(f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array")
    if not rows:
        invalid(f"JSON Value: {quote(document)} No values in 'instances' array")
    named = _is_named(rows[0])
    if not named and len(inputs) > 1:
        invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    only = next(iter(inputs))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for position, row in enumerate(rows):
        if _is_named(row) != named:
            expected = "object but got list" if named else "value/list but got object"
            invalid(f"Expecting {expected} at item {position} of input list")
        failed = f"Failed to process element: {position}"
        for name, value in (row if named else {only: row}).items():
            try:
                _append(columns, name, value, inputs)
            except ServingError as error:
                key = f" key: {name}" if named else ""
                cause = f"{error.code.name}: {error.message}"
                invalid(f"{failed}{key} of 'instances' list. Error: {cause}")
        if named and set(row) != set(inputs):
            invalid(
                f"{failed} of 'instances' list. JSON object: {quote(row)} keys must be equal to: "
                f"{','.join(sorted(inputs))}"
            )
    return {name: to_proto(np.stack(values)) for name, values in columns.items()}


def _append(columns: dict[str, list[np.ndarray]], name: str, value: Any, inputs: Inputs) -> None:
    if name not in inputs:
        invalid(f"JSON object: does not have named input: {name}")
    array = _to_array(value, inputs[name].dtype)
    before = columns[name]
    if before and before[0].size != array.size:
        invalid(f"Expecting tensor size: {before[0].size} but got: {array.size}")
    if before and before[0].shape != array.shape:
        invalid(f"Expecting shape {_brackets(before[0])} but got: {_brackets(array)}")
    before.append(array)


def _from_columns(value: Any, inputs: Inputs) -> Tensors:
    if not _is_named(value):
        if len(inputs) > 1:
            invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = {next(iter(inputs)): value}
    for name in inputs:
        if name not in value:
            invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: to_proto(_to_array(value[name], info.dtype)) for name, info in inputs.items()}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _to_array(value: Any, dtype: int) -> np.ndarray:
    """A scalar or nested lists of one size a level, as an array."""
    shape = _shape(value)
    leaves: list[Any] = []
    _collect(value, shape, 0, tf.as_dtype(dtype), leaves)
    return np.array(leaves, dtype=tf.as_dtype(dtype).as_numpy_dtype).reshape(shape)


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _collect(value: Any, shape: list[int], level: int, dtype: tf.DType, leaves: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            invalid(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for element in value:
        _collect(element, shape, level + 1, dtype, leaves)


def _leaf(value: Any, dtype: tf.DType) -> Any:
    name = dtype_name(dtype.as_datatype_enum)
    if dtype not in _JSON_TYPES:
        message = f"Conversion of JSON Value: {quote(value)} to type: {name}"
        raise ServingError(Code.UNIMPLEMENTED, message)
    if dtype == tf.string and isinstance(value, dict):
        return decode(value)
    right = type(value) in _JSON_TYPES[dtype]
    if right and type(value) is int:
        right = int(dtype.min) <= value <= int(dtype.max)
    if not right:
        invalid(
            f"JSON Value: {quote(value)} Type: {type_name(value)} is not of expected type: {name}"
        )
    return value.encode() if dtype == tf.string else value


def _check_same_batch(outputs: Mapping[str, TensorProto]) -> None:
    size: int | None = None
    for name, tensor in sorted(outputs.items()):
        if not tensor.tensor_shape.dim:
            invalid(f"Tensor name: {name} has no shape information ")
        this = tensor.tensor_shape.dim[0].size
        if size not in (None, this):
            invalid(f"Tensor name: {name} has inconsistent batch size: {this} expecting: {size}")
        size = this


def _to_json(array: np.ndarray, *, as_bytes: bool) -> Any:
    if array.dtype == object:
        write = encode if as_bytes else _text
        return np.vectorize(write, otypes=[object])(array).tolist()
    if array.dtype == np.float32:
        return np.vectorize(shortest, otypes=[np.float64])(array).tolist()
    return array.tolist()


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _brackets(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"
