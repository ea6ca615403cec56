"""Where Apache Beam's work runs, as its command line."""

from __future__ import annotations

from pipeline.config import PipelineConfig, require


def beam_arguments(config: PipelineConfig) -> list[str]:
    """Returns Beam's command line: the runner is named, or Beam would look for another one.

    Raises:
        InputError: a setting that the runner needs is missing; all are named at once.
    """
    if config.beam.runner == "local":
        return _local(config.beam.workers)
    # With the image named, TFX does not send its own code along for the workers to install.
    image = f"--sdk_container_image={config.deploy.image}"
    if config.beam.runner == "dataflow":
        return [*_dataflow(config), image]
    return [*_portable(config), image]


def _local(workers: int) -> list[str]:
    # Unless an image is named, TFX packs its own source for the workers, for each node anew. Those
    # of this machine have it installed.
    installed = "--sdk_container_image=none"
    # Beam's check of type hints is a tenth of the CPU time of a run that evaluates small data.
    options = [installed, "--no_pipeline_type_check"]
    if workers == 1:
        return [*options, "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
    return [
        *options,
        "--runner=DirectRunner",
        "--direct_running_mode=multi_processing",
        f"--direct_num_workers={workers}",
    ]


def _portable(config: PipelineConfig) -> list[str]:
    """Flink and Spark differ in the job server that listens at the endpoint."""
    beam = config.beam
    require(config, f"beam.runner={beam.runner}", "beam.job_endpoint", "deploy.image")
    environment = "DOCKER" if beam.worker_pool is None else "EXTERNAL"
    temporary = [f"--temp_location={beam.temp_location}"] if beam.temp_location else []
    return [
        "--runner=PortableRunner",
        f"--job_endpoint={beam.job_endpoint}",
        f"--parallelism={beam.workers}",
        f"--environment_type={environment}",
        f"--environment_config={beam.worker_pool or config.deploy.image}",
        *temporary,
    ]


def _dataflow(config: PipelineConfig) -> list[str]:
    beam, deploy = config.beam, config.deploy
    require(
        config,
        "beam.runner=dataflow",
        "deploy.project",
        "deploy.location",
        "deploy.image",
        "beam.temp_location",
    )
    optional = {
        "worker_machine_type": beam.machine_type,
        "service_account_email": deploy.service_account,
    }
    return [
        "--runner=DataflowRunner",
        f"--project={deploy.project}",
        f"--region={deploy.location}",
        f"--temp_location={beam.temp_location}",
        f"--max_num_workers={beam.workers}",
        *(f"--{name}={value}" for name, value in optional.items() if value),
        *(f"--labels={name}={value}" for name, value in deploy.labels.items()),
    ]
