"""TensorFlow's C API (tensorflow/c/c_api.h), as far as a server needs it; and its variables' files.

TF Serving calls the same functions in C++: tensors are parsed, sessions loaded and run by the same
code, with the same messages. And a process that needs no more of TensorFlow than this library and
the protos starts without the imports of TensorFlow's Python, which take most of its start.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from serving.server.status import Code, ServingError

_LARGEST_TENSOR = 2**31 - 1  # bytes: the longest message that could hold one

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in Code}

_pointer = ctypes.c_void_p
_int = ctypes.c_int
_chars = ctypes.c_char_p
_size = ctypes.c_size_t


class _Buffer(ctypes.Structure):
    _fields_ = [("data", _pointer), ("length", _size), ("deallocator", _pointer)]


class Output(ctypes.Structure):
    """A tensor of a graph, TF_Output in c_api.h: an operation and the number of its output."""

    _fields_ = [("operation", _pointer), ("index", _int)]


# What each function returns, and takes.
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TF_AllocateTensor": (_pointer, [_int, _pointer, _int, _size]),
    "TF_CheckpointReaderGetTensor": (_pointer, [_pointer, _chars, _pointer]),
    "TF_CheckpointReaderGetVariable": (_chars, [_pointer, _int]),
    "TF_CheckpointReaderSize": (_int, [_pointer]),
    "TF_CloseSession": (None, [_pointer, _pointer]),
    "TF_DeleteBuffer": (None, [_pointer]),
    "TF_DeleteCheckpointReader": (None, [_pointer]),
    "TF_DeleteGraph": (None, [_pointer]),
    "TF_DeleteSession": (None, [_pointer, _pointer]),
    "TF_DeleteSessionOptions": (None, [_pointer]),
    "TF_DeleteStatus": (None, [_pointer]),
    "TF_DeleteTensor": (None, [_pointer]),
    "TF_Dim": (ctypes.c_int64, [_pointer, _int]),
    "TF_GetCode": (_int, [_pointer]),
    "TF_GraphOperationByName": (_pointer, [_pointer, _chars]),
    "TF_LoadLibrary": (_pointer, [_chars, _pointer]),
    "TF_LoadSessionFromSavedModel": (
        _pointer,
        [_pointer, _pointer, _chars, _pointer, _int, _pointer, _pointer, _pointer],
    ),
    "TF_Message": (_chars, [_pointer]),
    "TF_NewBuffer": (_pointer, []),
    "TF_NewBufferFromString": (_pointer, [_chars, _size]),
    "TF_NewCheckpointReader": (_pointer, [_chars, _pointer]),
    "TF_NewGraph": (_pointer, []),
    "TF_NewSessionOptions": (_pointer, []),
    "TF_NewStatus": (_pointer, []),
    "TF_NumDims": (_int, [_pointer]),
    "TF_SessionRun": (
        None,
        [_pointer, _pointer, *(_pointer, _pointer, _int) * 2, _pointer, _int, _pointer, _pointer],
    ),
    "TF_SetConfig": (None, [_pointer, _chars, _size, _pointer]),
    "TF_StringGetDataPointer": (_pointer, [_pointer]),
    "TF_StringGetSize": (_size, [_pointer]),
    "TF_TensorByteSize": (_size, [_pointer]),
    "TF_TensorData": (_pointer, [_pointer]),
    "TF_TensorFromProto": (None, [_pointer, _pointer, _pointer]),
    "TF_TensorType": (_int, [_pointer]),
    "TF_Version": (_chars, []),
}
# ctypes lets other threads run during these; all others are over before a thread could be woken.
_LONG = {
    *("TF_CloseSession", "TF_DeleteSession", "TF_LoadLibrary"),
    *("TF_LoadSessionFromSavedModel", "TF_SessionRun"),
}

# DataType number to NumPy; bfloat16 and the quantized ones as the integers that they are made of.
_STRING, _FLOAT = 7, 1
_DTYPES: dict[int, Any] = {
    **{1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 5: np.int16, 6: np.int8},
    **{8: np.complex64, 9: np.int64, 10: np.bool_, 11: np.int8, 12: np.uint8, 13: np.int32},
    **{14: np.uint16, 15: np.int16, 16: np.uint16, 17: np.uint16, 18: np.complex128},
    **{19: np.float16, 22: np.uint32, 23: np.uint64},
}
_STRING_BYTES = 24  # of a TF_TString
_ITEM_BYTES = {number: np.dtype(dtype).itemsize for number, dtype in _DTYPES.items()}


@functools.cache
def _library() -> Any:
    """The functions of the C API, with TensorFlow Text's ops, which TF Serving has too."""
    folder = _package("tensorflow")
    files = [folder / "libtensorflow_cc.so.2", folder / "libtensorflow_framework.so.2"]
    long, short = (
        [loader(str(file), mode=ctypes.RTLD_GLOBAL) for file in files]
        for loader in (ctypes.CDLL, ctypes.PyDLL)
    )
    api: Any = type("Library", (), {})
    for name, (returns, takes) in _FUNCTIONS.items():
        libraries = long if name in _LONG else short
        function = next(getattr(each, name) for each in libraries if hasattr(each, name))
        function.restype, function.argtypes = returns, takes
        setattr(api, name, staticmethod(function))
    for file in sorted((_package("tensorflow_text") / "python" / "ops").glob("_*.so")):
        with _Status(api) as status:
            api.TF_LoadLibrary(str(file).encode(), status)
    return api


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


class _Status:
    """A status for one call; raises what the call set."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._status = api.TF_NewStatus()

    def __enter__(self) -> Any:
        return self._status

    def __exit__(self, *error: object) -> None:
        number = self._api.TF_GetCode(self._status)
        message = self._api.TF_Message(self._status) if number else b""
        self._api.TF_DeleteStatus(self._status)
        if number:
            raise ServingError(_CODES[number], message.decode(errors="replace"))


def version() -> str:
    """Returns TensorFlow's version."""
    return str(_library().TF_Version().decode())


class Tensor:
    """A tensor in TensorFlow's memory.

    Args:
        pointer: to a TF_Tensor, which this object then owns.
    """

    def __init__(self, pointer: int) -> None:
        self._api = _library()
        self.pointer = pointer

    @classmethod
    def of_proto(cls, proto: Any) -> Tensor:
        """Reads a TensorProto.

        Raises:
            ServingError: it holds no tensor of its own dtype and shape.
        """
        size = _ITEM_BYTES.get(proto.dtype, 8)
        for dim in proto.tensor_shape.dim:
            size *= max(dim.size, 1)
        if size > _LARGEST_TENSOR:
            raise ServingError(Code.INVALID_ARGUMENT, "the tensor is too large")
        api = _library()
        data = proto.SerializeToString()
        buffer = api.TF_NewBufferFromString(data, len(data))
        tensor = api.TF_AllocateTensor(_FLOAT, None, 0, 4)  # whose content is to be replaced
        try:
            with _Status(api) as status:
                api.TF_TensorFromProto(buffer, tensor, status)
        except ServingError:
            api.TF_DeleteTensor(tensor)
            raise
        finally:
            api.TF_DeleteBuffer(buffer)
        return cls(tensor)

    @property
    def dtype(self) -> int:
        """The number of its DataType."""
        return int(self._api.TF_TensorType(self.pointer))

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        dims = range(self._api.TF_NumDims(self.pointer))
        return tuple(self._api.TF_Dim(self.pointer, dim) for dim in dims)

    def values(self) -> np.ndarray:
        """Returns a copy of the values [elements]; strings as objects of bytes.

        Raises:
            ServingError: of a dtype that has no values to show, such as a resource.
        """
        dtype, elements = self.dtype, math.prod(self.shape)
        if dtype not in _DTYPES and dtype != _STRING:
            raise ServingError(Code.UNIMPLEMENTED, f"A tensor of dtype {dtype} has no values")
        if not elements:  # then TF_TensorData reads what is not there
            return np.empty(0, _DTYPES.get(dtype, object))
        data = self._api.TF_TensorData(self.pointer)
        if dtype == _STRING:
            return np.array(
                [self._string(data + _STRING_BYTES * number) for number in range(elements)],
                dtype=object,
            )
        content = ctypes.string_at(data, self._api.TF_TensorByteSize(self.pointer))
        return np.frombuffer(content, _DTYPES[dtype])

    def array(self) -> np.ndarray:
        """Returns a copy of the tensor; see values."""
        return self.values().reshape(self.shape)

    def _string(self, address: int) -> bytes:
        size = self._api.TF_StringGetSize(address)
        return ctypes.string_at(self._api.TF_StringGetDataPointer(address), size)

    def __del__(self) -> None:
        self._api.TF_DeleteTensor(self.pointer)


class Checkpoint:
    """Variables in the files that TensorFlow keeps them in (tensorflow/c/c_api_experimental.h).

    Args:
        prefix: of the files.

    Attributes:
        names: of the variables.

    Raises:
        ServingError: they cannot be read.
    """

    def __init__(self, prefix: Path) -> None:
        self._api = api = _library()
        with _Status(api) as status:
            self._reader = api.TF_NewCheckpointReader(str(prefix).encode(), status)
        numbers = range(api.TF_CheckpointReaderSize(self._reader))
        found = [api.TF_CheckpointReaderGetVariable(self._reader, number) for number in numbers]
        self.names = [name.decode() for name in found]

    def read(self, name: str) -> np.ndarray:
        """Returns the value of a variable.

        Raises:
            ServingError: it cannot be read.
        """
        with _Status(self._api) as status:
            tensor = self._api.TF_CheckpointReaderGetTensor(self._reader, name.encode(), status)
        return Tensor(tensor).array()

    def __del__(self) -> None:
        if hasattr(self, "_reader"):
            self._api.TF_DeleteCheckpointReader(self._reader)


class Session:
    """A SavedModel's graph and its session.

    Args:
        folder: the SavedModel.
        tags: of the meta graph to load.
        config: a serialized ConfigProto.
        run_options: a serialized RunOptions, of every run.

    Raises:
        ServingError: with TensorFlow's code and message.
    """

    def __init__(
        self, folder: Path, tags: Sequence[str], config: bytes, run_options: bytes
    ) -> None:
        self._api = api = _library()
        self._graph = api.TF_NewGraph()
        options, buffer = api.TF_NewSessionOptions(), api.TF_NewBuffer()
        names = (_chars * len(tags))(*[tag.encode() for tag in tags])
        try:
            with _Status(api) as status:
                api.TF_SetConfig(options, config, len(config), status)
            with _Status(api) as status:
                self._session = api.TF_LoadSessionFromSavedModel(
                    *(options, None, str(folder).encode(), names, len(tags)),
                    *(self._graph, buffer, status),
                )
            content = _Buffer.from_address(buffer)
            meta_graph = MetaGraphDef.FromString(ctypes.string_at(content.data, content.length))
        except ServingError:
            api.TF_DeleteGraph(self._graph)
            raise
        finally:
            api.TF_DeleteBuffer(buffer)
            api.TF_DeleteSessionOptions(options)
        # Copies, so that the meta graph, which holds the whole graph again, can go.
        self.signatures = {
            name: copy.deepcopy(signature) for name, signature in meta_graph.signature_def.items()
        }
        self._run_options = api.TF_NewBufferFromString(run_options, len(run_options))

    def outputs(self, names: Sequence[str]) -> Any:
        """Returns the tensors of these names as run takes them.

        Raises:
            ServingError: the graph has no such operation.
        """
        found = (Output * len(names))()
        for position, name in enumerate(names):
            operation, _, index = name.partition(":")
            pointer = self._api.TF_GraphOperationByName(self._graph, operation.encode())
            if pointer is None:
                message = (
                    f"Tensor {name}, specified in either feed_devices or fetch_devices was not "
                    "found in the Graph"
                )
                raise ServingError(Code.NOT_FOUND, message)
            found[position] = Output(pointer, int(index or 0))
        return found

    def run(self, feeds: Any, tensors: Sequence[Tensor], fetches: Any) -> list[Tensor]:
        """Computes the tensors `fetches` from `tensors` in the place of `feeds`.

        Raises:
            ServingError: with TensorFlow's code and message.
        """
        inputs = (_pointer * len(tensors))(*[tensor.pointer for tensor in tensors])
        results = (_pointer * len(fetches))()
        with _Status(self._api) as status:
            self._api.TF_SessionRun(
                *(self._session, self._run_options, feeds, inputs, len(tensors)),
                *(fetches, results, len(fetches), None, 0, None, status),
            )
        return [Tensor(pointer) for pointer in results if pointer is not None]

    def close(self) -> None:
        """Frees the memory; no call may be running."""
        with _Status(self._api) as status:
            self._api.TF_CloseSession(self._session, status)
        with _Status(self._api) as status:
            self._api.TF_DeleteSession(self._session, status)
        self._api.TF_DeleteGraph(self._graph)
        self._api.TF_DeleteBuffer(self._run_options)
