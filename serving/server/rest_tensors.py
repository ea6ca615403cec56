"""Predict over REST: JSON in row or column form to tensors and back (json_tensor.cc)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis.predict_pb2 import PredictResponse

from serving.server import rest_json
from serving.server.c_api import Tensor
from serving.server.rest_json import decode, is_base64, quote, type_name
from serving.server.status import Code, ServingError, invalid
from serving.server.tensors import dtype_name, shaped, value_field

Inputs = Mapping[str, TensorInfo]
Tensors = dict[str, TensorProto]

_LEVELS = 254  # the most dimensions that a tensor may have

# What a value of each dtype looks like in JSON; bool is no int here.
_INT32_TYPES = (types_pb2.DT_INT32, types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT8)
_JSON_TYPES: dict[int, set[type]] = {
    types_pb2.DT_STRING: {str, dict},
    types_pb2.DT_BOOL: {bool},
    types_pb2.DT_FLOAT: {int, float},
    types_pb2.DT_DOUBLE: {int, float},
    types_pb2.DT_INT64: {int},
    types_pb2.DT_UINT32: {int},
    types_pb2.DT_UINT64: {int},
    **{dtype: {int} for dtype in _INT32_TYPES},
}
# The smaller ones are held to INT32's range only, and cut to their own, as in TF Serving.
_RANGES: dict[int, np.iinfo] = {
    types_pb2.DT_INT64: np.iinfo(np.int64),
    types_pb2.DT_UINT32: np.iinfo(np.uint32),
    types_pb2.DT_UINT64: np.iinfo(np.uint64),
    **dict.fromkeys(_INT32_TYPES, np.iinfo(np.int32)),
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


def write_outputs(response: PredictResponse, *, rows: bool) -> str:
    """Writes the outputs of a predict request in the form that the request had.

    Raises:
        ServingError: row form, and outputs that do not share their first dimension; or an output
            of a dtype that JSON has no value for.
    """
    if not response.outputs:
        invalid("Cannot convert empty tensor map to JSON")
    if rows:
        _check_same_batch(response.outputs)
    outputs = {
        name: (_leaves(name, tensor), [dim.size for dim in tensor.tensor_shape.dim])
        for name, tensor in sorted(response.outputs.items())
    }
    if not rows:
        written = {name: rest_json.nested(*output) for name, output in outputs.items()}
        return f'{{"outputs": {_named_or_only(written)}}}'
    columns = {name: _rows(*output) for name, output in outputs.items()}
    batch = [
        _named_or_only(dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]
    return f'{{"predictions": [{", ".join(batch)}]}}'


def _named_or_only(values: Mapping[str, str]) -> str:
    if len(values) == 1:
        return next(iter(values.values()))
    members = (f"{rest_json.write(name)}: {value}" for name, value in values.items())
    return f"{{{', '.join(members)}}}"


def _rows(leaves: list[str], shape: list[int]) -> list[str]:
    size = len(leaves) // max(shape[0], 1)
    return [
        rest_json.nested(leaves[row * size : (row + 1) * size], shape[1:])
        for row in range(shape[0])
    ]


def _from_rows(document: Mapping[str, Any], inputs: Inputs) -> Tensors:
    rows = document["instances"]
    if not isinstance(rows, list):
        invalid(f"JSON Value: {quote(document)} Expecting 'instances' to be an list/array")
    if not rows:
        invalid(f"JSON Value: {quote(document)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(inputs) > 1:
        invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_named(rows[0])
    keys = set(inputs)
    if named and all(isinstance(row, dict) and row.keys() == keys for row in rows):
        columns = {name: [row[name] for row in rows] for name in inputs}
    elif not named:
        columns = {next(iter(inputs)): rows}
    else:
        columns = {}
    tensors = {name: _read(column, inputs[name].dtype) for name, column in columns.items()}
    regular = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    if not columns or len(regular) < len(columns):
        _explain_rows(rows, inputs, named)
    return regular


def _explain_rows(rows: list[Any], inputs: Inputs, named: bool) -> NoReturn:
    """Says of the first row that does not fit what is wrong with it."""
    only = next(iter(inputs))
    shapes: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        if _is_named(row) != named:
            expected = "object but got list" if named else "value/list but got object"
            invalid(f"Expecting {expected} at item {position} of input list")
        failed = f"Failed to process element: {position}"
        for name, value in (row if named else {only: row}).items():
            try:
                _check_row(shapes, name, value, inputs)
            except ServingError as error:
                key = f" key: {name}" if named else ""
                cause = f"{error.code.name}: {error.message}"
                invalid(f"{failed}{key} of 'instances' list. Error: {cause}")
        if named and set(row) != set(inputs):
            invalid(
                f"{failed} of 'instances' list. JSON object: {quote(row)} keys must be equal to: "
                f"{','.join(sorted(inputs))}"
            )
    invalid(f"tensor parsing error: {only}")  # of too many dimensions


def _check_row(shapes: dict[str, list[int]], name: str, value: Any, inputs: Inputs) -> None:
    if name not in inputs:
        invalid(f"JSON object: does not have named input: {name}")
    shape = _checked_shape(value, inputs[name].dtype)
    first = shapes.setdefault(name, shape)
    if np.prod(first, dtype=float) != np.prod(shape, dtype=float):
        invalid(f"Expecting tensor size: {_size(first)} but got: {_size(shape)}")
    if first != shape:
        invalid(f"Expecting shape {_brackets(first)} but got: {_brackets(shape)}")


def _from_columns(value: Any, inputs: Inputs) -> Tensors:
    if not _is_named(value):
        if len(inputs) > 1:
            invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = {next(iter(inputs)): value}
    tensors = {}
    for name, info in inputs.items():
        if name not in value:
            invalid(f"Missing named input: {name} in 'inputs' object.")
        tensor = _read(value[name], info.dtype)
        if tensor is None:
            _checked_shape(value[name], info.dtype)
            invalid(f"tensor parsing error: {name}")  # of too many dimensions
        tensors[name] = tensor
    return tensors


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _read(value: Any, dtype: int) -> TensorProto | None:
    """A scalar or nested lists of one size a level, as a tensor; None if they are not that."""
    shape = _shape(value)
    level = [value]
    if len(shape) > _LEVELS or dtype not in _JSON_TYPES:
        return None
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = list(chain.from_iterable(level))
    if not set(map(type, level)) <= _JSON_TYPES[dtype] or not _in_range(level, dtype):
        return None
    tensor = shaped(dtype, shape)
    if dtype == types_pb2.DT_STRING:
        if not all(is_base64(leaf) for leaf in level if isinstance(leaf, dict)):
            return None
        tensor.string_val.extend(
            decode(leaf) if isinstance(leaf, dict) else leaf.encode() for leaf in level
        )
    elif dtype == types_pb2.DT_FLOAT:
        with np.errstate(over="ignore"):
            tensor.tensor_content = np.array(level, np.float64).astype(np.float32).tobytes()
    else:
        getattr(tensor, value_field(dtype)).extend(level)
    return tensor


def _in_range(values: list[Any], dtype: int) -> bool:
    limits = _RANGES.get(dtype)
    return limits is None or not values or limits.min <= min(values) <= max(values) <= limits.max


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _checked_shape(value: Any, dtype: int) -> list[int]:
    """The shape of a tensor; says what is wrong with the first value that does not fit."""
    shape = _shape(value)
    if len(shape) <= _LEVELS:
        _check(value, shape, 0, dtype)
    return shape


def _check(value: Any, shape: list[int], level: int, dtype: int) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            invalid(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        _check_leaf(value, dtype)
        return
    if level >= len(shape):
        invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for element in value:
        _check(element, shape, level + 1, dtype)


def _check_leaf(value: Any, dtype: int) -> None:
    name = dtype_name(dtype)
    is_object = isinstance(value, dict)
    if dtype not in _JSON_TYPES and not is_object:
        message = f"Conversion of JSON Value: {quote(value)} to type: {name}"
        raise ServingError(Code.UNIMPLEMENTED, message)
    if dtype == types_pb2.DT_STRING and is_object:
        decode(value)
    elif type(value) not in _JSON_TYPES.get(dtype, set()) or not _in_range([value], dtype):
        invalid(
            f"JSON Value: {quote(value)} Type: {type_name(value)} is not of expected type: {name}"
        )


def _check_same_batch(outputs: Mapping[str, TensorProto]) -> None:
    size: int | None = None
    for name, tensor in sorted(outputs.items()):
        if not tensor.tensor_shape.dim:
            invalid(f"Tensor name: {name} has no shape information ")
        this = tensor.tensor_shape.dim[0].size
        if size not in (None, this):
            invalid(f"Tensor name: {name} has inconsistent batch size: {this} expecting: {size}")
        size = this


def _leaves(name: str, tensor: TensorProto) -> list[str]:
    """The values of an output, each as JSON."""
    if tensor.dtype not in _JSON_TYPES:
        invalid(f"Failed to write JSON value for tensor type: {dtype_name(tensor.dtype)}")
    values = (
        Tensor.of_proto(tensor).values()
        if tensor.tensor_content
        else getattr(tensor, value_field(tensor.dtype))
    )
    match tensor.dtype:
        case types_pb2.DT_FLOAT:
            return rest_json.decimals(np.array(values, np.float32))
        case types_pb2.DT_DOUBLE:
            return rest_json.decimals(np.array(values, np.float64))
        case types_pb2.DT_STRING if name.endswith("_bytes"):
            return [rest_json.write(rest_json.encode(value)) for value in values]
        case types_pb2.DT_STRING:
            # TF Serving writes the bytes as they are, which need not be JSON.
            return [rest_json.write(value.decode("utf-8", "replace")) for value in values]
        case types_pb2.DT_BOOL:
            return ["true" if value else "false" for value in values]
        case _:
            return list(map(str, values))


def _size(shape: list[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _brackets(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
