"""TensorProto to NumPy and back."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

# TF Serving answers in these fields, not in tensor_content.
_VALUE_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}


def dtype_name(dtype: int) -> str:
    """The name of a dtype in TensorFlow's C++ messages: float, not float32."""
    return types_pb2.DataType.Name(dtype).removeprefix("DT_").lower()


def to_array(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Reads a tensor; strings become objects of bytes.

    Raises:
        MemoryError, TypeError, ValueError: the proto holds no tensor of its own dtype and shape.
    """
    if any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise ValueError("a size below 0")
    return tf.make_ndarray(proto)


def to_proto(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Writes a tensor with its values in the typed field of its dtype."""
    array = np.asarray(array)
    dtype = tf.as_dtype(array.dtype)
    field = _VALUE_FIELDS.get(dtype.as_datatype_enum)
    if field is None:  # half, bfloat16, complex: whatever TensorFlow makes of them
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto
