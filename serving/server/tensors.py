"""Tensors as TF Serving writes them into a TensorProto."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.server.c_api import Tensor

# TF Serving answers in these fields, not in tensor_content.
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_QINT8: "int_val",
    types_pb2.DT_QUINT8: "int_val",
    types_pb2.DT_QINT16: "int_val",
    types_pb2.DT_QUINT16: "int_val",
    types_pb2.DT_QINT32: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
    types_pb2.DT_COMPLEX64: "scomplex_val",
    types_pb2.DT_COMPLEX128: "dcomplex_val",
}
# Fields that hold a value in parts of this type: half_val its bits, the others both of its numbers.
_PARTS = {"half_val": np.uint16, "scomplex_val": np.float32, "dcomplex_val": np.float64}


def dtype_name(dtype: int) -> str:
    """The name of a dtype in TensorFlow's C++ messages: float, not float32."""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def value_field(dtype: int) -> str:
    """The field of a TensorProto that holds the values of this dtype."""
    return _VALUE_FIELDS[dtype]


def shaped(dtype: int, shape: Sequence[int]) -> tensor_pb2.TensorProto:
    """Returns a proto of this dtype and shape, without values."""
    proto = tensor_pb2.TensorProto(dtype=dtype)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def write(tensor: Tensor, proto: tensor_pb2.TensorProto, *, as_content: bool = False) -> None:
    """Writes a tensor into an empty proto.

    Args:
        tensor: what to write.
        proto: where to.
        as_content: the bytes in tensor_content, instead of values in the field of the dtype.
    """
    values = tensor.values()
    proto.dtype = dtype = tensor.dtype
    shape = proto.tensor_shape
    shape.SetInParent()
    for size in tensor.shape:
        shape.dim.add(size=size)
    if as_content and dtype != types_pb2.DT_STRING:
        proto.tensor_content = values.tobytes()
        return
    field = _VALUE_FIELDS[dtype]
    if field in _PARTS:
        values = values.view(_PARTS[field])
    getattr(proto, field).extend(values.tolist())
