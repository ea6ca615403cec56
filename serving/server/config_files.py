"""The files in text form that flags name, in the protos of tensorflow_serving/config."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from components.errors import InputError

_Message = TypeVar("_Message", bound=Message)

# Of ssl_config.proto and monitoring_config.proto, which the published protos leave out.
_SCHEMA = """
name: "config.proto"
package: "tensorflow.serving"
syntax: "proto3"
message_type {
  name: "SSLConfig"
  field { name: "server_key" number: 1 type: TYPE_STRING }
  field { name: "server_cert" number: 2 type: TYPE_STRING }
  field { name: "custom_ca" number: 3 type: TYPE_STRING }
  field { name: "client_verify" number: 4 type: TYPE_BOOL }
}
message_type {
  name: "PrometheusConfig"
  field { name: "enable" number: 1 type: TYPE_BOOL }
  field { name: "path" number: 2 type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field { name: "prometheus_config" number: 1 type: TYPE_MESSAGE type_name: "PrometheusConfig" }
}
"""


def _messages() -> dict[str, Any]:
    file = text_format.Parse(_SCHEMA, descriptor_pb2.FileDescriptorProto())
    return dict(message_factory.GetMessages([file], pool=descriptor_pool.DescriptorPool()))


_classes = _messages()
SSLConfig = _classes["tensorflow.serving.SSLConfig"]
MonitoringConfig = _classes["tensorflow.serving.MonitoringConfig"]


def read_config(path: Path, empty: _Message) -> _Message:
    """Reads a proto in text form.

    Args:
        path: the file.
        empty: of the type to read.

    Raises:
        InputError: the file cannot be read, or is no such proto; in TF Serving's words, and why.
    """
    failed = "Failed to start server. Error:"
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), empty)
    except OSError as error:
        raise InputError(f"{failed} NOT_FOUND: {path}; {error.strerror}") from None
    except (UnicodeDecodeError, text_format.ParseError) as error:
        name = empty.DESCRIPTOR.name
        raise InputError(
            f"{failed} INVALID_ARGUMENT: Invalid protobuf file: '{path}': no {name}: {error}"
        ) from None
