"""What the local server can be told; names that tensorflow_model_server has too mean the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_CORES = os.cpu_count() or 1

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

_NO_EFFECT = "Taken, without effect"


def _no_effect(default: Any, why: str) -> Any:
    """A flag of tensorflow_model_server that no answer depends on."""
    return Field(default, description=f"{_NO_EFFECT}: {why}.")


class ServerOptions(BaseModel):
    """Flags of the server: one of models, model_base_path, model_config_file says what to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Path | None = Field(
        None, description="Folder of models, each a folder of numbered versions."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; this machine only, if unset.")
    grace_seconds: Seconds = Field(
        10.0, description="How long requests may finish after the signal to stop."
    )
    max_message_bytes: Annotated[int, Field(gt=0, lt=2**31)] = Field(
        2**31 - 1, description="Longest request over gRPC or REST; TF Serving's limit if unset."
    )

    allow_unavailable_models: bool = Field(
        False, description="Start although a model has no version, or none that can be loaded."
    )
    log_requests: Path | None = Field(
        None, description="File to append a sample of requests and answers to, as PredictionLogs."
    )
    log_sampling_rate: Fraction = Field(
        1.0, description="Share of the requests that is logged, unless a model's own config says."
    )

    # From here on: tensorflow_model_server's own flags, with its defaults unless said otherwise.
    port: Port = Field(8500, description="gRPC port; 0 for none.")
    grpc_socket_path: str = Field("", description="Unix socket for gRPC, beside or without a port.")
    grpc_max_threads: Annotated[int, Field(gt=0)] = Field(
        4 * _CORES, description="Requests answered at once over gRPC."
    )
    grpc_channel_arguments: str = Field(
        "", description="Of gRPC's server, by commas: grpc.max_connection_age_ms=2000."
    )
    ssl_config_file: Path | None = Field(
        None, description="SSLConfig in text form: the key and certificate of gRPC."
    )
    use_alts_credentials: bool = Field(False, description="Google's ALTS instead of TLS.")
    rest_api_port: Port = Field(8501, description="REST port; 0 for none.")
    rest_api_num_threads: Annotated[int, Field(gt=0)] = Field(
        4 * _CORES, description="Requests answered at once over REST."
    )
    rest_api_enable_cors_support: bool = Field(
        False, description="Let pages of other origins read the answers over REST."
    )
    rest_api_timeout_in_ms: Count = Field(30_000, description="Longest wait of a REST request.")
    model_name: str = Field("default", min_length=1, description="Name of a single model.")
    model_base_path: Path | None = Field(
        None, description="A single model: a folder of numbered versions."
    )
    model_config_file: Path | None = Field(
        None, description="ModelServerConfig in text form: names, folders, policies, labels."
    )
    model_config_file_poll_wait_seconds: Seconds = Field(
        0, description="Seconds between two looks at model_config_file; 0 to read it once."
    )
    file_system_poll_wait_seconds: Seconds = Field(
        1, description="Seconds between two looks for new versions; 0 to look once."
    )
    num_load_threads: Count = Field(
        0, description="Versions that are loaded at once; 0 for one by one, but all at the start."
    )
    max_num_load_retries: Count = Field(5, description="Further attempts to load a version.")
    load_retry_interval_micros: Count = Field(
        60_000_000, description="Microseconds between two attempts to load a version."
    )
    allow_version_labels_for_unavailable_models: bool = Field(
        False, description="Let a new label name a version that is not available yet."
    )
    saved_model_tags: str = Field("serve", description="Tags of the meta graph to load, by commas.")
    enable_model_warmup: bool = Field(
        True, description="Replay the requests in assets.extra before a version serves."
    )
    num_request_iterations_for_warmup: Count = Field(
        0, description="How often each of them is replayed, if above 0."
    )
    enable_signature_method_name_check: bool = Field(
        False, description="Refuse signatures of another method than the one that is asked for."
    )
    enable_serialization_as_tensor_content: bool = Field(
        False, description="Answer in tensor_content instead of the field of the dtype."
    )
    tensorflow_session_config_file: Path | None = Field(
        None, description="ConfigProto in text form for the sessions of the models."
    )
    tensorflow_session_parallelism: Count = Field(
        0, description="Both of the next two, where neither of them is given."
    )
    tensorflow_intra_op_parallelism: Count = Field(
        0, description="Threads within an op; 0 for as many as cores."
    )
    tensorflow_inter_op_parallelism: Count = Field(
        0, description="Ops of all requests at once; 0 for one of each request, in its own thread."
    )
    per_process_gpu_memory_fraction: Fraction = Field(
        0.0, description="Of a GPU's memory, taken at the start; 0 for TensorFlow's choice."
    )
    monitoring_config_file: Path | None = Field(
        None, description="MonitoringConfig in text form: the path of the metrics, always on here."
    )

    # Taken so that a script for tensorflow_model_server runs unchanged; no answer depends on them.
    enable_batching: bool = _no_effect(False, "nothing is batched")
    batching_parameters_file: str = _no_effect("", "nothing is batched")
    enable_per_model_batching_parameters: bool = _no_effect(False, "nothing is batched")
    enable_grpc_healthcheck_service: bool = _no_effect(True, "the health service is always on")
    num_unload_threads: Count = _no_effect(0, "versions are unloaded one by one")
    flush_filesystem_caches: bool = _no_effect(True, "the caches are the system's")
    platform_config_file: str = _no_effect("", "there is one platform, tensorflow")
    remove_unused_fields_from_bundle_metagraph: bool = _no_effect(True, "they are never kept")
    prefer_tflite_model: bool = _no_effect(False, "only saved_model.pb is served")
    num_tflite_pools: Count = _no_effect(_CORES, "only saved_model.pb is served")
    num_tflite_interpreters_per_pool: Count = _no_effect(1, "only saved_model.pb is served")
    xla_cpu_compilation_enabled: bool = _no_effect(False, "TensorFlow's own default holds")
    xla_gpu_compilation_enabled: bool = _no_effect(False, "TensorFlow's own default holds")
    enable_profiler: bool = _no_effect(True, "there is no profiler service")
    thread_pool_factory_config_file: str = _no_effect("", "sessions have their own threads")
    mixed_precision: str = _no_effect("", "models run as they are")
    skip_initialize_tpu: bool = _no_effect(False, "there is no TPU")

    @model_validator(mode="after")
    def _one_source_of_models(self) -> Self:
        given = [self.models, self.model_base_path, self.model_config_file]
        if sum(source is not None for source in given) != 1:
            raise ValueError("give one of --models, --model_base_path or --model_config_file")
        return self

    @model_validator(mode="after")
    def _somewhere_to_listen(self) -> Self:
        if not self.port and not self.grpc_socket_path:
            raise ValueError("give a --port above 0, a --grpc_socket_path, or both")
        if self.port and self.port == self.rest_api_port:
            raise ValueError(f"--port and --rest_api_port are both {self.port}")
        return self

    @model_validator(mode="after")
    def _as_tf_serving_checks(self) -> Self:
        if self.use_alts_credentials and self.ssl_config_file:
            raise ValueError("give --use_alts_credentials or --ssl_config_file, not both")
        if self.batching_parameters_file and not self.enable_batching:
            raise ValueError("--batching_parameters_file needs --enable_batching")
        threads = (
            self.tensorflow_session_parallelism,
            self.tensorflow_intra_op_parallelism,
            self.tensorflow_inter_op_parallelism,
        )
        if all(threads):
            raise ValueError(
                "give --tensorflow_session_parallelism, or --tensorflow_intra_op_parallelism and "
                "--tensorflow_inter_op_parallelism, not all three"
            )
        return self

    def without_effect(self) -> list[str]:
        """Returns, of the flags that were given, what to say of those that do nothing here."""
        given = {
            name: type(self).model_fields[name].description or "" for name in self.model_fields_set
        }
        return [
            f"--{name}: {text[0].lower()}{text[1:]}"
            for name, text in sorted(given.items())
            if text.startswith(_NO_EFFECT)
        ]

    def addresses(self) -> str:
        """Returns where the server listens, in words."""
        grpc = [f"{self.host}:{self.port}"] if self.port else []
        grpc += [f"unix:{self.grpc_socket_path}"] if self.grpc_socket_path else []
        rest = f", REST on {self.host}:{self.rest_api_port}" if self.rest_api_port else ""
        return f"gRPC on {' and '.join(grpc)}{rest}"
