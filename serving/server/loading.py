"""From a version's folder to a model that may serve: load it, then replay its own requests."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import message
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.server import tfrecords
from serving.server.config_files import read_config
from serving.server.examples import classify, multi_inference, regress
from serving.server.options import ServerOptions
from serving.server.predict import predict
from serving.server.saved_model import SavedModel
from serving.server.status import Code, ServingError, invalid

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MAX_RECORDS = 1000

_METHODS = {
    "predict_log": predict,
    "classify_log": classify,
    "regress_log": regress,
    "multi_inference_log": multi_inference,
}


def load_model(folder: Path, version: int, options: ServerOptions) -> SavedModel:
    """Loads a SavedModel, and warms it up unless the options say no.

    Raises:
        ServingError: it cannot be loaded, or one of its warm-up requests fails.
    """
    model = SavedModel(
        folder,
        version,
        tags=options.saved_model_tags.split(","),
        session_config=_session_config(options),
        answers_as_content=options.enable_serialization_as_tensor_content,
        method_names_checked=options.enable_signature_method_name_check,
    )
    if options.enable_model_warmup:
        try:
            _warm_up(model, folder, max(options.num_request_iterations_for_warmup, 1))
        except ServingError:
            model.close()
            raise
    return model


def _session_config(options: ServerOptions) -> config_pb2.ConfigProto:
    """As in Server::BuildAndStart of TF Serving's server.cc."""
    config = config_pb2.ConfigProto()
    if options.tensorflow_session_config_file is not None:
        read_config(options.tensorflow_session_config_file, config)
    intra, inter = options.tensorflow_intra_op_parallelism, options.tensorflow_inter_op_parallelism
    both = options.tensorflow_session_parallelism
    config.intra_op_parallelism_threads = intra if intra or inter else both
    config.inter_op_parallelism_threads = inter if intra or inter else both
    fraction = options.per_process_gpu_memory_fraction
    config.gpu_options.per_process_gpu_memory_fraction = fraction
    return config


def _warm_up(model: SavedModel, folder: Path, iterations: int) -> None:
    path = folder / WARMUP_FILE
    if not path.exists():
        return
    try:
        for count, record in enumerate(tfrecords.read(path)):
            if count == MAX_RECORDS:
                invalid(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
            for _ in range(iterations):
                _replay(model, prediction_log_pb2.PredictionLog.FromString(record))
    except message.DecodeError:
        invalid(f"Failed to parse warmup record from {path}")
    except ValueError as error:
        raise ServingError(Code.DATA_LOSS, f"{path}: {error}") from None


def _replay(model: SavedModel, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    if kind not in _METHODS:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    _METHODS[kind](model, getattr(log, kind).request)
