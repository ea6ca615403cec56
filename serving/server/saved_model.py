"""A SavedModel in a session, run as TF Serving runs it: named feeds in, chosen fetches out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import config_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.server.c_api import Session, Tensor

SERVING_TAG = "serve"
_DEFAULT_SIGNATURE = "serving_default"
_OF_THE_CALLER = -1  # DirectSession::RunInternal in direct_session.cc takes this for no pool


class SavedModel:
    """One version of one model, in memory.

    Args:
        folder: the SavedModel.
        version: the number it is served under.
        tags: of the meta graph to load, as in TF Serving's --saved_model_tags.
        session_config: threads of the session. Where it does not say how many there are between
            ops, the ops of a run follow each other in its caller's thread: handing a few hundred
            short ones from thread to thread takes longer than the ops.
        answers_as_content: in tensor_content, instead of values in the field of their dtype.
        method_names_checked: whether a signature answers its own method only.

    Attributes:
        signatures: by name.
        feeds: the tensor of each input of each signature, in the order of their names.
        fetches: the same of its outputs.

    Raises:
        ServingError: the folder holds no SavedModel that can be loaded.
    """

    def __init__(
        self,
        folder: Path,
        version: int,
        *,
        tags: Sequence[str] = (SERVING_TAG,),
        session_config: config_pb2.ConfigProto | None = None,
        answers_as_content: bool = False,
        method_names_checked: bool = False,
    ) -> None:
        self.version = version
        self.answers_as_content = answers_as_content
        self.method_names_checked = method_names_checked
        config = session_config or config_pb2.ConfigProto()
        self._session = Session(
            folder, tags, config.SerializeToString(), _run_options(config).SerializeToString()
        )
        self.signatures: Mapping[str, SignatureDef] = self._session.signatures
        # Worked out once, not by each request.
        self.feeds = {name: _tensors(each.inputs) for name, each in self.signatures.items()}
        self.fetches = {name: _tensors(each.outputs) for name, each in self.signatures.items()}
        self._runs: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Any, Any]] = {}

    def run(self, feeds: Mapping[str, Tensor], fetches: Sequence[str]) -> list[Tensor]:
        """Computes only the tensors named `fetches` from the tensors named in `feeds`.

        Raises:
            ServingError: an op failed; the code and message are TensorFlow's.
        """
        key = tuple(feeds), tuple(fetches)
        if key not in self._runs:
            self._runs[key] = self._session.outputs(key[0]), self._session.outputs(key[1])
        inputs, outputs = self._runs[key]
        return self._session.run(inputs, list(feeds.values()), outputs)

    def answers(self, asked: ModelSpec) -> ModelSpec:
        """Returns who answers, as a response names it: the signature and version that ran."""
        spec = ModelSpec(name=asked.name, signature_name=signature_name(asked))
        spec.version.value = self.version
        return spec

    def close(self) -> None:
        """Frees the memory; no call may be running."""
        self._session.close()


def _run_options(config: config_pb2.ConfigProto) -> config_pb2.RunOptions:
    has_threads = config.inter_op_parallelism_threads or config.session_inter_op_thread_pool
    return config_pb2.RunOptions(inter_op_thread_pool=0 if has_threads else _OF_THE_CALLER)


def _tensors(infos: Mapping[str, TensorInfo]) -> dict[str, str]:
    return {alias: info.name for alias, info in sorted(infos.items())}


def signature_name(asked: ModelSpec) -> str:
    """Returns the signature that a request asks for."""
    return asked.signature_name or _DEFAULT_SIGNATURE
