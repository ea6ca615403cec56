"""What the local server can be told; names that tensorflow_model_server has too mean the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]


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

    # From here on: tensorflow_model_server's own flags, with its defaults unless said otherwise.
    port: Port = Field(8500, description="gRPC port; 0 for none.")
    grpc_socket_path: str = Field("", description="Unix socket for gRPC, beside or without a port.")
    grpc_max_threads: Annotated[int, Field(gt=0)] = Field(
        4 * (os.cpu_count() or 1), description="Requests answered at once over gRPC."
    )
    rest_api_port: Port = Field(8501, description="REST port; 0 for none.")
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
    tensorflow_intra_op_parallelism: Count = Field(
        0, description="Threads within an op; 0 for as many as cores."
    )
    tensorflow_inter_op_parallelism: Count = Field(
        0, description="Ops of a request at once; 0 for as many as cores."
    )

    # Taken so that a script for tensorflow_model_server runs unchanged; no answer depends on them.
    enable_batching: bool = Field(False, description="Taken, without effect: nothing is batched.")
    batching_parameters_file: str = Field("", description="Taken, without effect.")
    enable_per_model_batching_parameters: bool = Field(False, description="Taken, without effect.")
    monitoring_config_file: str = Field(
        "", description="Taken, without effect: metrics are always on, at TF Serving's usual path."
    )
    enable_grpc_healthcheck_service: bool = Field(
        True, description="Taken, without effect: the health service is always on."
    )

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

    def addresses(self) -> str:
        """Returns where the server listens, in words."""
        grpc = [f"{self.host}:{self.port}"] if self.port else []
        grpc += [f"unix:{self.grpc_socket_path}"] if self.grpc_socket_path else []
        rest = f", REST on {self.host}:{self.rest_api_port}" if self.rest_api_port else ""
        return f"gRPC on {' and '.join(grpc)}{rest}"
