"""Signatures that take columns by their names, whatever these are.

TensorFlow makes an argument of a Python function of each input, which `att_ville 2` cannot be. A
column with such a name has a stand-in there; the SignatureDef, which is what TF Serving reads, has
the column's own name. Python code that calls a loaded signature asks this module for the arguments.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf import saved_model_pb2

if TYPE_CHECKING:
    import tensorflow as tf

_STAND_IN = "utf8_"
# Names that differ in upper and lower case only are one to TensorFlow's graphs.
_ARGUMENT = re.compile(rf"(?!{_STAND_IN})[a-z][a-z0-9_]*")


def argument(column: str) -> str:
    """Returns the argument that stands for a column: of the same name, where that can be one."""
    is_free = not keyword.iskeyword(column) and column != "self"
    if is_free and _ARGUMENT.fullmatch(column):
        return column
    return _STAND_IN + column.encode().hex()


def column(argument: str) -> str:
    """Returns the column that an argument stands for."""
    if not argument.startswith(_STAND_IN):
        return argument
    return bytes.fromhex(argument.removeprefix(_STAND_IN)).decode()


def trace(
    function: Callable[..., Mapping[str, tf.Tensor]], inputs: Mapping[str, tf.TensorSpec]
) -> Any:
    """Traces a function that takes `inputs` by name; the concrete function takes the arguments."""
    import tensorflow as tf  # here alone: those who read a name need no more than its protos

    def by_argument(**values: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return function(**{column(name): value for name, value in values.items()})

    specs = {
        argument(name): tf.TensorSpec(spec.shape, spec.dtype, argument(name))
        for name, spec in inputs.items()
    }
    return tf.function(by_argument, autograph=False).get_concrete_function(**specs)


def inputs_of(signature: Any) -> dict[str, tf.TensorSpec]:
    """Returns the columns that a loaded signature takes, and what each is like."""
    _, specs = signature.structured_input_signature
    return {column(name): spec for name, spec in specs.items()}


def call(signature: Any, columns: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Calls a loaded signature with columns by their names."""
    found: dict[str, tf.Tensor] = signature(
        **{argument(name): value for name, value in columns.items()}
    )
    return found


def restore(folder: Path, columns: Iterable[str]) -> None:
    """Puts the names of columns in the place of their stand-ins in a SavedModel's SignatureDefs."""
    if all(argument(name) == name for name in columns):
        return
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    stand_ins = [
        (signature.inputs, name)
        for graph in model.meta_graphs
        for signature in graph.signature_def.values()
        for name in signature.inputs
        if column(name) != name
    ]
    for inputs, name in stand_ins:
        inputs[column(name)].CopyFrom(inputs[name])
        del inputs[name]
    file.write_bytes(model.SerializeToString())
