"""The executor of TFX's Pusher that publishes all models of a training under one version."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfx.components.pusher import executor
from tfx.types import Artifact, artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils

from components.errors import NotBlessedError
from components.evaluator.verdict import read_verdict
from components.pusher.publish import publish, settle

# What the component hands over in `custom_config`.
SERVING_ROOT = "serving_root"
KEEP_VERSIONS = "keep_versions"
TICKET = "ticket"


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
            InputError: the serving root cannot be written.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        if not self.CheckBlessing(input_dict):
            raise NotBlessedError(_reasons(input_dict))
        config = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        with _local(self.GetModelPath(input_dict)) as models:
            pushed = publish(models, Path(config[SERVING_ROOT]), config[KEEP_VERSIONS])
        settle(pushed, config[TICKET])
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.PUSHED_MODEL_KEY]
        )
        self._MarkPushed(artifact, str(pushed.root), str(pushed.version))
        artifact.set_int_custom_property("pushed", int(pushed.new))


@contextmanager
def _local(uri: str) -> Iterator[Path]:
    """Yields a folder of this machine with what is at `uri`, which may be of an object store."""
    if "://" not in uri:
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory() as folder:
        io_utils.copy_dir(uri, folder)
        yield Path(folder)


def _reasons(input_dict: dict[str, list[Artifact]]) -> str:
    blessing = artifact_utils.get_single_instance(
        input_dict[standard_component_specs.MODEL_BLESSING_KEY]
    )
    if blessing.get_int_custom_property("blessed"):
        return "not pushed: the exported models could not be loaded and queried"
    lines = read_verdict(blessing.uri).lines()
    return "\n".join(["not pushed, the model did not pass the gate:", *lines])
