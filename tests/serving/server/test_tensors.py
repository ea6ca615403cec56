"""Tensors are read as TensorFlow reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.server.c_api import Checkpoint, Tensor
from serving.server.status import ServingError
from serving.server.tensors import write
from tests.serving.server.test_fuzz import TENSORS

DTYPES = ["float", "double", "int32", "uint8", "int16", "int8", "string", "int64", "bool"]
DTYPES += ["uint16", "half", "uint32", "uint64", "complex64"]


def _parsed(proto: tensor_pb2.TensorProto, dtype: tf.DType) -> np.ndarray | None:
    try:
        return tf.raw_ops.ParseTensor(serialized=proto.SerializeToString(), out_type=dtype).numpy()
    except tf.errors.InvalidArgumentError:
        return None


@settings(deadline=None)
@given(TENSORS, st.sampled_from(DTYPES))
def test_any_proto_is_read_as_tensorflow_reads_it(proto: Any, name: str) -> None:
    proto.dtype = types_pb2.DataType.Value(f"DT_{name.upper()}")
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if len(sizes) > 64 or any(size > 4 for size in sizes):
        return  # NumPy cannot hold what ParseTensor makes of it
    expected = _parsed(proto, tf.as_dtype(proto.dtype))
    if expected is None:
        with pytest.raises(ServingError):
            Tensor.of_proto(proto)
        return
    tensor = Tensor.of_proto(proto)
    np.testing.assert_array_equal(tensor.array(), expected)
    for as_content in (False, True):
        written = tensor_pb2.TensorProto()
        write(tensor, written, as_content=as_content)
        np.testing.assert_array_equal(tf.make_ndarray(written), expected)


def test_values_beyond_the_shape_are_cut_and_wide_integers_wrap() -> None:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT8, int_val=[300, -129, 7])
    proto.tensor_shape.dim.add(size=2)
    assert Tensor.of_proto(proto).array().tolist() == [44, 127]


def test_a_tensor_larger_than_any_message_is_refused() -> None:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1])
    proto.tensor_shape.dim.add(size=2**40)
    with pytest.raises(ServingError, match="too large"):
        Tensor.of_proto(proto)


def test_variables_are_read_as_tensorflow_reads_them(tmp_path: Path) -> None:
    values = {
        "numbers": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
        "counts": np.array([2**62, -1]),
        "texts": np.array([b"", b"caf\xc3\xa9", b"x" * 100], object),
        "none": np.zeros((0, 4), np.float32),
    }
    variables = {name: tf.Variable(value) for name, value in values.items()}
    prefix = tf.train.Checkpoint(**variables).write(str(tmp_path / "variables"))
    theirs = tf.train.load_checkpoint(prefix)
    ours = Checkpoint(Path(prefix))
    assert sorted(ours.names) == sorted(theirs.get_variable_to_shape_map())
    for name in values:
        key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE"
        np.testing.assert_array_equal(ours.read(key), theirs.get_tensor(key))
        assert ours.read(key).shape == values[name].shape


def test_variables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServingError):
        Checkpoint(tmp_path / "absent")
    prefix = tf.train.Checkpoint(a=tf.Variable(1.0)).write(str(tmp_path / "variables"))
    with pytest.raises(ServingError):
        Checkpoint(Path(prefix)).read("b")
