"""The executor of TFX's Pusher that publishes all models of a training under one version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx.components.pusher import executor
from tfx.types import Artifact, artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.errors import NotBlessedError
from components.evaluator.verdict import refusal
from components.features import CLICK_MODEL, TRAIN
from components.local_copy import local_copy
from components.pusher.cache_key import record_push
from components.pusher.publish import publish
from components.schema_gate.anomalies import read_statistics
from components.serving_root import TRAINING_STATISTICS_FILE
from components.validator.validation import read_validation

# The input that TFX's Pusher does not have.
STATISTICS = "statistics"

# What the component hands over in `custom_config`.
SERVING_ROOT = "serving_root"
KEEP_VERSIONS = "keep_versions"
CACHE_KEY = "cache_key"
AGAIN = "again"


class Executor(executor.Executor):
    """Publishes a blessed model; a model that is not blessed fails the node and says why.

    The `pushed_model` artifact gets the custom properties that TFX's own executor sets: `pushed`
    (0 where the newest version in the root was this model already), `pushed_destination` (the
    serving root) and `pushed_version`.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes the model of `input_dict`.

        Raises:
            NotBlessedError: the model did not pass the gate, or could not be served.
            WithdrawnError: the model was withdrawn, and is not to be pushed again.
            InputError: the serving root cannot be written.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        if not self.CheckBlessing(input_dict):
            raise NotBlessedError(_reasons(input_dict))
        config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        with local_copy(self.GetModelPath(input_dict)) as models:
            pushed = publish(
                models,
                Path(config[SERVING_ROOT]),
                config[KEEP_VERSIONS],
                _extra_files(input_dict),
                again=config[AGAIN],
            )
        record_push(pushed, config[CACHE_KEY])
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        self._MarkPushed(artifact, str(pushed.root), str(pushed.version))
        artifact.set_int_custom_property("pushed", int(pushed.new))


def _extra_files(input_dict: dict[str, list[Artifact]]) -> dict[Path, bytes]:
    """Returns what a later run compares its data with."""
    (statistics,) = input_dict[STATISTICS]
    content = read_statistics(statistics.uri, TRAIN).SerializeToString()
    return {Path(CLICK_MODEL, TRAINING_STATISTICS_FILE): content}


def _reasons(input_dict: dict[str, list[Artifact]]) -> str:
    blessing = artifact_utils.get_single_instance(
        input_dict[standard_component_specs.MODEL_BLESSING_KEY]
    )
    if not blessing.get_int_custom_property("blessed"):
        return refusal(blessing.uri)
    infra_blessing = artifact_utils.get_single_instance(
        input_dict[standard_component_specs.INFRA_BLESSING_KEY]
    )
    validation = read_validation(infra_blessing.uri)
    found = f"not pushed, the exports cannot be served as they should ({validation.server}):"
    return "\n".join([found, *validation.failures()])
