"""The graph's nodes under TFX's own launcher, one at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.utils import path_utils

from components.features import EVAL
from components.validator.trials import read_rows
from components.validator.validate import validating_early
from pipeline.beam import beam_arguments
from pipeline.config import PipelineConfig
from pipeline.graph import create_pipeline
from pipeline.prepare import Prepared


class LocalNodes:
    """A pipeline compiled for this machine.

    What TFX's LocalDagRunner does in one call, node by node, so that progress can be shown.

    Args:
        config: the settings.
        prepared: what was found out before.

    Attributes:
        ids: the nodes in the order they run.
        pushed_version: the version in the serving root, once the last node has run.
    """

    def __init__(self, config: PipelineConfig, prepared: Prepared) -> None:
        connection = metadata.sqlite_metadata_connection_config(str(config.folder / "metadata.db"))
        pipeline = create_pipeline(
            config,
            prepared,
            pipeline_root=str(config.folder / "artifacts"),
            metadata_connection_config=connection,
            beam_pipeline_args=beam_arguments(config),
        )
        self._ir = compiler.Compiler().compile(pipeline)
        runtime_parameter_utils.substitute_runtime_parameter(
            self._ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: datetime.now().isoformat()}
        )
        self._deployment = runner_utils.extract_local_deployment_config(self._ir)
        self._config = config
        self._connection = connection
        self._nodes = {
            node.pipeline_node.node_info.id: node.pipeline_node for node in self._ir.nodes
        }
        self.ids = list(self._nodes)
        self.pushed_version: int | None = None

    def run(self, node: str) -> tuple[Literal["done", "cached"], dict[str, str]]:
        """Runs a node, or finds that an earlier run's output is still right.

        Returns:
            How it went, and the folder of each output artifact by the output's name.
        """
        store = metadata.Metadata(self._connection)
        launched = launcher.Launcher(
            pipeline_node=self._nodes[node],
            mlmd_connection=store,
            pipeline_info=self._ir.pipeline_info,
            pipeline_runtime_spec=self._ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(self._deployment, node),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, node),
        ).launch()
        assert launched is not None  # no node of the graph is optional
        with store:
            return self._result(store.store, launched.execution_id)

    def validating_early(self, model: str, examples: str) -> AbstractContextManager[None]:
        """Begins with the validator's work.

        Args:
            model: folder of the trainer's artifact.
            examples: folder of the raw examples.
        """
        config = self._config
        if config.validator.image is not None:
            return nullcontext()
        read = partial(
            read_rows, f"{examples}/Split-{EVAL}", config.validator.rows, config.data.columns
        )
        return validating_early(Path(path_utils.serving_model_path(model)), read)

    def _result(
        self, store: Any, execution_id: int
    ) -> tuple[Literal["done", "cached"], dict[str, str]]:
        (execution,) = store.get_executions_by_id([execution_id])
        events = [
            event
            for event in store.get_events_by_execution_ids([execution_id])
            if event.type == metadata_store_pb2.Event.OUTPUT
        ]
        artifacts = {
            artifact.id: artifact
            for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])
        }
        outputs = {}
        for event in events:
            artifact = artifacts[event.artifact_id]
            outputs[event.path.steps[0].key] = artifact.uri
            if "pushed_version" in artifact.custom_properties:
                self.pushed_version = int(artifact.custom_properties["pushed_version"].string_value)
        cached = execution.last_known_state == metadata_store_pb2.Execution.CACHED
        return ("cached" if cached else "done"), outputs
