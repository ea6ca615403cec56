"""The messages against those of TensorFlow Serving's own package."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tensorflow_serving.apis import predict_pb2

from components import features
from twotower_client import messages, names


def test_names_are_those_of_the_exported_models() -> None:
    spelled = {name: value for name, value in vars(names).items() if name.isupper()}
    assert spelled
    assert spelled == {name: getattr(features, name) for name in spelled}


@given(
    st.one_of(
        st_numpy.arrays(np.float32, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0)),
        st_numpy.arrays(np.int32, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0)),
        st_numpy.arrays(np.int64, st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0)),
        st.lists(st.text()).map(lambda strings: np.array(strings, dtype=object)),
    )
)
def test_messages_are_tf_servings_own(array: np.ndarray) -> None:
    ours = messages.PredictRequest(output_filter=["y"])
    ours.model_spec.name = "m"
    ours.model_spec.version.value = 3
    ours.inputs["x"].CopyFrom(messages.to_tensor(array))
    stock = predict_pb2.PredictRequest.FromString(ours.SerializeToString())
    assert (stock.model_spec.name, stock.model_spec.version.value) == ("m", 3)
    assert list(stock.output_filter) == ["y"]
    received = tf.make_ndarray(stock.inputs["x"])
    assert received.shape == array.shape
    expected = array if array.dtype != object else np.array([s.encode() for s in array], object)
    np.testing.assert_array_equal(received, expected)

    response = predict_pb2.PredictResponse()
    response.outputs["y"].CopyFrom(tf.make_tensor_proto(received))
    back = messages.PredictResponse.FromString(response.SerializeToString())
    np.testing.assert_array_equal(messages.to_array(back.outputs["y"]), array)
