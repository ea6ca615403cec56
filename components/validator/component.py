"""The node that serves the exports before they are pushed, and blesses what can be served."""

# TFX reads the annotations below when this module is imported: they may not be postponed.

import tempfile
from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, InfraBlessing, Model
from tfx.utils import path_utils

from components.features import EVAL, Columns
from components.local_copy import local_copy
from components.validator.settings import ValidatorSettings
from components.validator.trials import read_rows
from components.validator.validate import validate
from components.validator.validation import VALIDATION_FILE

_LOG_FILE = "server.log"

# As TFX's InfraValidator writes it, whose names for this are private.
_BLESSED_KEY = "blessed"
_MARKERS = {True: "INFRA_BLESSED", False: "INFRA_NOT_BLESSED"}


@component
def ModelValidator(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    blessing: OutputArtifact[InfraBlessing],
    settings: Parameter[str],
    columns: Parameter[str],
) -> None:
    """Serves the exports, asks them about real rows, and compares with direct scores.

    Exports that fail are not blessed; it is no error.

    Args:
        examples: raw tf.Examples with the split eval.
        model: the exports.
        blessing: gets VALIDATION_FILE, what the server wrote, and INFRA_BLESSED or
            INFRA_NOT_BLESSED as the stock InfraValidator writes it.
        settings: ValidatorSettings as JSON.
        columns: Columns as JSON.
    """
    required = ValidatorSettings.model_validate_json(settings)
    roles = Columns.model_validate_json(columns)
    rows = read_rows(artifact_utils.get_split_uri([examples], EVAL), required.rows, roles)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, _LOG_FILE)
        with local_copy(path_utils.serving_model_path(model.uri)) as models:
            validation = validate(models, rows, roles, required, log)
        _write(blessing.uri, _LOG_FILE, log.read_bytes())
    _write(blessing.uri, VALIDATION_FILE, validation.model_dump_json(indent=2).encode())
    _write(blessing.uri, _MARKERS[validation.passed], b"")
    blessing.set_int_custom_property(_BLESSED_KEY, int(validation.passed))


def _write(folder: str, name: str, content: bytes) -> None:
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{name}", "wb") as file:
        file.write(content)
