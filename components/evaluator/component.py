"""The click gate as a TFX component: judges the new model and blesses it or says why not."""

# TFX reads the annotations below when this module is imported: they may not be postponed.

import json

import pyarrow as pa
import pyarrow.parquet as pq
from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation
from tfx.types.system_executions import Evaluate
from tfx.utils import path_utils

from components.errors import InputError
from components.evaluator.baseline import score_baseline
from components.evaluator.evaluation import Evaluation, evaluate
from components.evaluator.measure import METRICS_FILE
from components.evaluator.score import ClickModel, count_texts, read_rows
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.tables import ADS_FILE, SCORES_FILE
from components.evaluator.tfma_files import write_tfma_files
from components.evaluator.verdict import VERDICT_FILE
from components.features import CLICK_MODEL, EVAL, TRAIN, Columns


@component(component_annotation=Evaluate)
def ClickEvaluator(
    examples: InputArtifact[Examples],
    model: InputArtifact[Model],
    evaluation: OutputArtifact[ModelEvaluation],
    blessing: OutputArtifact[ModelBlessing],
    settings: Parameter[str],
    min_auc: Parameter[float],
    columns: Parameter[str],
    serving_root: Parameter[str],
    push_cache_key: Parameter[str],
) -> None:
    """Judges a click model on the eval split by the rules of the settings.

    A model that fails is not blessed; it is no error.

    Args:
        examples: raw tf.Examples with the splits train and eval.
        model: the exports, with the click model among them.
        evaluation: gets METRICS_FILE (`measure.Metrics`), SCORES_FILE and ADS_FILE (`tables`), and
            what TFMA's own tools read.
        blessing: gets VERDICT_FILE, and BLESSED or NOT_BLESSED as the stock Evaluator writes it.
        settings: EvaluatorSettings as JSON.
        min_auc: wins over that of the settings: a parameter of each run on Kubeflow and Vertex.
        columns: Columns as JSON.
        serving_root: folder with the models in service.
        push_cache_key: changes with the model in service, so that no verdict against another is
            cached.
    """
    folder = f"{path_utils.serving_model_path(model.uri)}/{CLICK_MODEL}"
    roles = Columns.model_validate_json(columns)
    click_model = ClickModel(folder)
    rows = read_rows(artifact_utils.get_split_uri([examples], EVAL), roles, click_model)
    misfit = click_model.misfit(rows)
    if misfit:
        raise InputError(f"the new click model does not fit the eval split: {misfit}")
    baseline = score_baseline(serving_root, rows)
    judged = evaluate(
        rows,
        click_model.score(rows),
        baseline,
        count_texts(artifact_utils.get_split_uri([examples], TRAIN), roles),
        roles,
        EvaluatorSettings(**{**json.loads(settings), "min_auc": min_auc}),
    )
    _write_evaluation(judged, evaluation.uri)
    write_tfma_files(evaluation.uri, judged.metrics, judged.verdict, folder)
    _write_blessing(judged, blessing, model, baseline.model)


def _write_evaluation(judged: Evaluation, folder: str) -> None:
    _write(folder, METRICS_FILE, judged.metrics.model_dump_json(indent=2).encode())
    for name, table in ((SCORES_FILE, judged.scores), (ADS_FILE, judged.ads)):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        _write(folder, name, sink.getvalue().to_pybytes())


def _write_blessing(
    judged: Evaluation, blessing: ModelBlessing, model: Model, baseline: str | None
) -> None:
    """Writes the verdict, and the file and properties by which TFX knows a blessed model."""
    _write(blessing.uri, VERDICT_FILE, judged.verdict.model_dump_json(indent=2).encode())
    if judged.verdict.blessed:
        marker, value = constants.BLESSED_FILE_NAME, constants.BLESSED_VALUE
    else:
        marker, value = constants.NOT_BLESSED_FILE_NAME, constants.NOT_BLESSED_VALUE
    _write(blessing.uri, marker, b"")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline
        )


def _write(folder: str, name: str, content: bytes) -> None:
    fileio.makedirs(folder)
    with fileio.open(f"{folder}/{name}", "wb") as file:
        file.write(content)
