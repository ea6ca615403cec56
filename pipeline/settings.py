"""What can be set of tuning, watch, Beam and deployment: `tune`, `watch`, `beam`, `deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from components.settings import Settings


class Range(Settings):
    """Numbers to try a setting with; whole ones if both ends are written as such."""

    low: int | float = Field(description="Least.")
    high: int | float = Field(description="Most.")
    log: bool = Field(False, description="Try orders of magnitude alike.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("expected low < high, and 0 < low where log is true")
        return self


class TuneSettings(Settings):
    """What `twotower tune` varies."""

    space: dict[str, Range | Annotated[tuple[Any, ...], Field(min_length=2)]] = Field(
        {},
        description="By key, as in trainer.learning_rate: a list of values, or {low, high, log}.",
    )


class WatchSettings(Settings):
    """When `twotower watch` takes a day for complete."""

    marker: str | None = Field(
        None,
        description="File that ends a day's folder, such as _SUCCESS; none to go by its age.",
    )
    settled_minutes: Annotated[float, Field(ge=0)] = Field(
        10.0, description="Without a marker: how long none of the day's files has changed."
    )
    poll_seconds: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds between two looks for a new day."
    )


class BeamSettings(Settings):
    """Where Apache Beam's work runs: that of every node that reads rows, but training."""

    runner: Literal["local", "flink", "spark", "dataflow"] = Field(
        "local", description="Where the work runs; local is the machine or container of the node."
    )
    workers: Annotated[int, Field(ge=1)] = Field(
        1, description="Processes of the local runner, parallelism on Flink, most VMs of Dataflow."
    )
    job_endpoint: str | None = Field(
        None, description="host:port of the Flink or Spark job server."
    )
    worker_pool: str | None = Field(
        None,
        description="host:port of the Beam worker pool beside each Flink or Spark worker; none to "
        "start deploy.image with Docker there.",
    )
    temp_location: str | None = Field(
        None, description="Folder that every worker reaches, for intermediate files."
    )
    machine_type: str | None = Field(
        None, description="Of Dataflow's VMs; none for its own choice."
    )


class ResourceSettings(Settings):
    """What the container of a node may use; none for what the target gives."""

    cpu: Annotated[float, Field(gt=0)] | None = Field(None, description="Cores.")
    memory_gb: Annotated[float, Field(gt=0)] | None = Field(None, description="Memory in GB.")


class KubeflowSettings(Settings):
    """Where Kubeflow Pipelines is, and what its containers see."""

    host: str | None = Field(None, description="URL of the Kubeflow Pipelines API.")
    namespace: str = Field("kubeflow", description="Kubernetes namespace of the runs.")
    token_file: Path | None = Field(
        None, description="File with a token for the API; none where it asks for none."
    )
    experiment: str = Field("twotower", description="Kubeflow's name for a group of runs.")
    volumes: dict[str, str] = Field(
        {}, description="Volume claims that every container mounts: their names and where."
    )
    secrets: dict[str, dict[str, str]] = Field(
        {},
        description="Secrets that every container gets as environment variables, such as those of "
        "an object store: {secret: {variable: key}}.",
    )


class DeploySettings(Settings):
    """The same pipeline on Kubeflow and Vertex; paths are those that the containers see."""

    image: str | None = Field(
        None, description="Image made from the Dockerfile, with a tag that changes with the code."
    )
    pipeline_root: str | None = Field(
        None, description="Object store folder for artifacts: gs://, s3:// or minio://."
    )
    input: str | None = Field(
        None,
        description="Folder of CSV files, or a pattern of spans: mounted, in gs://, or on Kubeflow "
        "in s3://; the default of a run's `data`.",
    )
    is_split: bool = Field(False, description="Whether the input has train/ and eval/ in it.")
    span_store: Path | None = Field(
        None,
        description="Mounted folder where what is made of an input's spans is kept for the next "
        "run; none to read the whole window in each.",
    )
    serving_root: Path | None = Field(
        None, description="TF Serving's model folder, mounted; on Vertex /gcs/<bucket>/<folder>."
    )
    encoders: Path = Field(
        Path("/opt/twotower/encoders"), description="Where the image has compiled text encoders."
    )
    service_account: str | None = Field(None, description="The account that the nodes run as.")
    labels: dict[str, str] = Field({}, description="Labels of the run, or of its pods.")
    resources: dict[str, ResourceSettings] = Field(
        {}, description="Of single nodes, as in {trainer: {cpu: 8, memory_gb: 32}}."
    )
    project: str | None = Field(None, description="Google Cloud project, for Vertex and Dataflow.")
    location: str | None = Field(None, description="Google Cloud region, for Vertex and Dataflow.")
    kubeflow: KubeflowSettings = KubeflowSettings()
