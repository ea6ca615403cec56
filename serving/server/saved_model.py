"""A SavedModel in a session, run as TF Serving runs it: named feeds in, chosen fetches out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops that text models hold
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow_serving.apis.model_pb2 import ModelSpec

from serving.server.status import Code, ServingError

_Run = Callable[..., list[np.ndarray]]
_CODES = {code.value[0]: code for code in Code}


class SavedModel:
    """One version of one model, in memory.

    Args:
        folder: the SavedModel.
        version: the number it is served under.
        tags: of the meta graph to load, as in TF Serving's --saved_model_tags.
        session_config: threads of the session.

    Raises:
        ServingError: the folder holds no SavedModel that can be loaded.
    """

    def __init__(
        self,
        folder: Path,
        version: int,
        *,
        tags: Sequence[str] = (tf.saved_model.SERVING,),
        session_config: config_pb2.ConfigProto | None = None,
    ) -> None:
        self.version = version
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=session_config)
        try:
            with graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, list(tags), str(folder))
        except Exception as error:  # a broken folder must not end the server, however it is broken
            self.close()
            raise _serving_error(error) from error
        # Copies, so that the meta graph, which holds the whole graph again, can go.
        self.signatures: Mapping[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
        self._runs: dict[tuple[tuple[str, ...], tuple[str, ...]], _Run] = {}

    def run(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """Computes only the tensors named `fetches` from the tensors named in `feeds`.

        Raises:
            ServingError: an op failed; the code and message are TensorFlow's.
        """
        key = tuple(feeds), tuple(fetches)
        run = self._runs.get(key)
        if run is None:
            options = config_pb2.CallableOptions(feed=key[0], fetch=key[1])
            # The public make_callable checks every feed again in Python: 494 µs a call with six
            # inputs instead of 76 µs, and refuses shapes that Session::Run in C++ lets through.
            run = self._runs[key] = self._session._make_callable_from_options(options)
        try:
            return run(*feeds.values())
        except tf.errors.OpError as error:
            raise _serving_error(error) from error

    def answers(self, asked: ModelSpec) -> ModelSpec:
        """Returns who answers, as a response names it: the signature and version that ran."""
        spec = ModelSpec(name=asked.name, signature_name=signature_name(asked))
        spec.version.value = self.version
        return spec

    def close(self) -> None:
        """Frees the memory; no call may be running."""
        self._session.close()


def signature_name(asked: ModelSpec) -> str:
    """Returns the signature that a request asks for."""
    return asked.signature_name or str(tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY)


def _serving_error(error: Exception) -> ServingError:
    if isinstance(error, tf.errors.OpError):
        return ServingError(_CODES[error.error_code], error.message)
    return ServingError(Code.NOT_FOUND if isinstance(error, OSError) else Code.INTERNAL, str(error))
