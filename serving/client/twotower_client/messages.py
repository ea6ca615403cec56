"""The messages of TF Serving's Predict and GetModelMetadata calls, without TensorFlow.

The published stubs (tensorflow-serving-api) import all of TensorFlow: 703 MB of memory, where a
client needs 69. These are the same messages on the wire, cut down to the fields
that a client of the towers needs, from predict.proto, get_model_metadata.proto, model.proto,
tensor.proto and meta_graph.proto. They live in a descriptor pool of their own, so that TensorFlow
and the stubs may be imported beside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

METHOD = "/tensorflow.serving.PredictionService/Predict"
METADATA_METHOD = "/tensorflow.serving.PredictionService/GetModelMetadata"
SIGNATURE_DEF = "signature_def"

# TensorFlow's DataType of what flows through the towers, and the field that holds it.
_DT_STRING = 7
_NUMBERS: dict[int, tuple[Any, str]] = {
    1: (np.dtype(np.float32), "float_val"),
    3: (np.dtype(np.int32), "int_val"),
    9: (np.dtype(np.int64), "int64_val"),
}

_SCHEMA = """
name: "predict.proto"
package: "tensorflow.serving"
syntax: "proto3"
dependency: "google/protobuf/any.proto"
dependency: "google/protobuf/wrappers.proto"
message_type {
  name: "Dimension"
  field { name: "size" number: 1 type: TYPE_INT64 }
}
message_type {
  name: "TensorShape"
  field { name: "dim" number: 2 label: LABEL_REPEATED type_name: "Dimension" }
}
message_type {
  name: "Tensor"
  field { name: "dtype" number: 1 type: TYPE_INT32 }
  field { name: "tensor_shape" number: 2 type_name: "TensorShape" }
  field { name: "tensor_content" number: 4 type: TYPE_BYTES }
  field { name: "float_val" number: 5 label: LABEL_REPEATED type: TYPE_FLOAT }
  field { name: "int_val" number: 7 label: LABEL_REPEATED type: TYPE_INT32 }
  field { name: "string_val" number: 8 label: LABEL_REPEATED type: TYPE_BYTES }
  field { name: "int64_val" number: 10 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "ModelSpec"
  field { name: "name" number: 1 type: TYPE_STRING }
  field { name: "version" number: 2 type_name: ".google.protobuf.Int64Value" oneof_index: 0 }
  field { name: "signature_name" number: 3 type: TYPE_STRING }
  field { name: "version_label" number: 4 type: TYPE_STRING oneof_index: 0 }
  oneof_decl { name: "version_choice" }
}
message_type {
  name: "PredictRequest"
  field { name: "model_spec" number: 1 type_name: "ModelSpec" }
  field { name: "inputs" number: 2 label: LABEL_REPEATED type_name: "InputsEntry" }
  field { name: "output_filter" number: 3 label: LABEL_REPEATED type: TYPE_STRING }
  nested_type {
    name: "InputsEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type_name: "Tensor" }
  }
}
message_type {
  name: "PredictResponse"
  field { name: "outputs" number: 1 label: LABEL_REPEATED type_name: "OutputsEntry" }
  field { name: "model_spec" number: 2 type_name: "ModelSpec" }
  nested_type {
    name: "OutputsEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type_name: "Tensor" }
  }
}
message_type {
  name: "GetModelMetadataRequest"
  field { name: "model_spec" number: 1 type_name: "ModelSpec" }
  field { name: "metadata_field" number: 2 label: LABEL_REPEATED type: TYPE_STRING }
}
message_type {
  name: "GetModelMetadataResponse"
  field { name: "metadata" number: 2 label: LABEL_REPEATED type_name: "MetadataEntry" }
  nested_type {
    name: "MetadataEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type_name: ".google.protobuf.Any" }
  }
}
message_type {
  name: "SignatureDefMap"
  field { name: "signature_def" number: 1 label: LABEL_REPEATED type_name: "SignatureDefEntry" }
  nested_type {
    name: "SignatureDefEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type_name: "SignatureDef" }
  }
}
message_type {
  name: "SignatureDef"
  field { name: "inputs" number: 1 label: LABEL_REPEATED type_name: "InputsEntry" }
  nested_type {
    name: "InputsEntry"
    options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type_name: "TensorInfo" }
  }
}
message_type {
  name: "TensorInfo"
  field { name: "dtype" number: 2 type: TYPE_INT32 }
}
"""


def _messages() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    for used in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(used.DESCRIPTOR.serialized_pb)
    file = text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto())
    pool.Add(file)
    found = pool.FindFileByName(file.name).message_types_by_name
    return {name: message_factory.GetMessageClass(found[name]) for name in found}


_MESSAGES = _messages()
Tensor = _MESSAGES["Tensor"]
ModelSpec = _MESSAGES["ModelSpec"]
PredictRequest = _MESSAGES["PredictRequest"]
PredictResponse = _MESSAGES["PredictResponse"]
GetModelMetadataRequest = _MESSAGES["GetModelMetadataRequest"]
GetModelMetadataResponse = _MESSAGES["GetModelMetadataResponse"]
SignatureDefMap = _MESSAGES["SignatureDefMap"]


def signature_inputs(metadata: Any, signature: str) -> dict[str, np.dtype]:
    """Returns what a signature takes, by name; strings are objects."""
    # The Any's value itself: Unpack looks for the type's full name, which is TensorFlow's.
    signatures = SignatureDefMap.FromString(metadata.metadata[SIGNATURE_DEF].value).signature_def
    return {name: _dtype(info.dtype) for name, info in signatures[signature].inputs.items()}


def to_tensor(array: np.ndarray) -> Any:
    """Writes an array of float32, int32, int64, or objects of str or bytes."""
    tensor = Tensor()
    tensor.tensor_shape.SetInParent()
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if array.dtype == object:
        tensor.dtype = _DT_STRING
        strings = array.ravel().tolist()
        tensor.string_val.extend(s.encode() if isinstance(s, str) else s for s in strings)
    else:
        tensor.dtype = next(n for n, (dtype, _) in _NUMBERS.items() if dtype == array.dtype)
        tensor.tensor_content = array.tobytes()
    return tensor


def to_array(tensor: Any) -> np.ndarray:
    """Reads a tensor of those dtypes; strings become objects of str."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == _DT_STRING:
        strings = [value.decode("utf-8", errors="replace") for value in tensor.string_val]
        return np.array(strings, dtype=object).reshape(shape)
    dtype, field = _NUMBERS[tensor.dtype]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    return np.array(getattr(tensor, field), dtype).reshape(shape)


def _dtype(number: int) -> np.dtype:
    return np.dtype(object) if number == _DT_STRING else _NUMBERS[number][0]
