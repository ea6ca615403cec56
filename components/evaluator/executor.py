"""TFX's Evaluator measures here in blocks of rows, and says why it does not bless."""

from __future__ import annotations

import json
from typing import Any

import apache_beam as beam
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.utils.shared import Shared
from tensorflow_model_analysis.proto.config_pb2 import EvalConfig
from tensorflow_model_analysis.proto.validation_result_pb2 import ValidationResult
from tensorflow_model_analysis.utils.config_util import update_eval_config_with_defaults
from tfx.components.evaluator import constants
from tfx.dsl.io import fileio
from tfx.types import Artifact, artifact_utils
from tfx.types.standard_component_specs import (
    BLESSING_KEY,
    EVAL_CONFIG_KEY,
    EVALUATION_KEY,
    EXAMPLES_KEY,
    MODEL_KEY,
)
from tfx.utils import path_utils, proto_utils

from components.beam_run import MakePipeline, RunningExecutor
from components.errors import InputError
from components.evaluator.baseline import find_baseline
from components.evaluator.eval_config import with_slices
from components.evaluator.evaluation import write_evaluation
from components.evaluator.gate import judge
from components.evaluator.measure import METRICS_FILE, Metrics
from components.evaluator.results import read_results
from components.evaluator.score import row_schema
from components.evaluator.scoring import ScoreFile, SharedModel
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.slices import plan_slices, slice_specs
from components.evaluator.survey import count_combined, survey
from components.evaluator.verdict import VERDICT_FILE, Verdict
from components.features import CLICK_MODEL, EVAL, TRAIN, Columns
from components.run import Run
from components.write_artifact import write_file

# The parameters that TFX's Evaluator does not have.
SETTINGS = "settings"
MIN_AUC = "min_auc"
COLUMNS = "columns"
SERVING_ROOT = "serving_root"

_VALIDATIONS_FILE = "validations.tfrecord"


class Executor(RunningExecutor):
    """Measures a click model with TFMA and judges it by the rules of the settings.

    `evaluation` gets what TFMA writes, METRICS_FILE (`measure.Metrics`), SCORES_FILE and ADS_FILE
    (`tables`); `blessing` gets VERDICT_FILE and what TFX's Evaluator writes. A model that fails is
    not blessed; it is no error.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation and the blessing.

        Raises:
            InputError: the eval split or a setting cannot be used.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        model = artifact_utils.get_single_instance(input_dict[MODEL_KEY])
        evaluation = artifact_utils.get_single_instance(output_dict[EVALUATION_KEY])
        blessing = artifact_utils.get_single_instance(output_dict[BLESSING_KEY])
        settings = EvaluatorSettings(
            **{**json.loads(exec_properties[SETTINGS]), MIN_AUC: exec_properties[MIN_AUC]}
        )
        metrics = _measure(
            self._make_beam_pipeline,
            self._run(f"{evaluation.uri}/run"),
            examples=input_dict[EXAMPLES_KEY],
            model=f"{path_utils.serving_model_path(model.uri)}/{CLICK_MODEL}",
            serving_root=exec_properties[SERVING_ROOT],
            config=proto_utils.json_to_proto(exec_properties[EVAL_CONFIG_KEY], EvalConfig()),
            columns=Columns.model_validate_json(exec_properties[COLUMNS]),
            settings=settings,
            folder=evaluation.uri,
        )
        verdict = judge(metrics, settings)
        write_file(evaluation.uri, METRICS_FILE, metrics.model_dump_json(indent=2).encode())
        _write_validation(verdict, evaluation.uri)
        _write_blessing(verdict, blessing, model, metrics.baseline.model)


def _measure(
    make_pipeline: MakePipeline,
    run: Run,
    *,
    examples: list[Artifact],
    model: str,
    serving_root: str,
    config: EvalConfig,
    columns: Columns,
    settings: EvaluatorSettings,
    folder: str,
) -> Metrics:
    """Measures the new model and that in service in one pass, once the splits were looked at."""
    files = {
        split: sorted(fileio.glob(f"{artifact_utils.get_split_uri(examples, split)}/*"))
        for split in (TRAIN, EVAL)
    }
    work = f"{folder}/work"
    loaded = Shared()
    new = SharedModel(model, loaded)
    click_model = new.load()
    counted = artifact_utils.get_single_uri(examples)
    seen = survey(run, counted, files, columns, settings.max_slices, work)
    if not seen.rows:
        split = artifact_utils.get_split_uri(examples, EVAL)
        raise InputError(f"{split}: no rows; the split needs rows to judge a model on")
    schema = row_schema(seen.arrow_types(), columns, click_model.inputs)
    misfit = click_model.misfit(schema)
    if misfit:
        raise InputError(f"the new click model does not fit the eval split: {misfit}")
    baseline = find_baseline(serving_root, schema, loaded)

    specs = slice_specs(columns.attributes(schema.names), schema.names, settings)
    plan = plan_slices(specs, seen.columns)
    if plan.has_combined():
        counts = count_combined(run, files[EVAL], schema, columns, plan, work)
        plan = plan.keep_most(counts, settings.max_slices)

    models = {"": model}
    if baseline.model is not None:
        models = {tfma.CANDIDATE_KEY: model, tfma.BASELINE_KEY: baseline.model.folder}
    whole = update_eval_config_with_defaults(
        with_slices(config, specs), has_baseline=baseline.model is not None
    )
    with make_pipeline() as pipeline:
        scored = (
            pipeline
            | beam.Create(files[EVAL])
            | beam.Reshuffle()
            | beam.ParDo(ScoreFile(new, baseline.model, schema, columns, work, folder))
        )
        write_evaluation(scored, whole, plan, columns, settings.operating_point, models, folder)
    fileio.rmtree(work)
    return read_results(folder, plan, settings.confidence, baseline.folder, baseline.problem)


def _write_validation(verdict: Verdict, folder: str) -> None:
    """Writes the verdict, with the line of every rule that failed, as TFMA writes its own."""
    result = ValidationResult(validation_ok=verdict.blessed)
    failures = result.metric_validations_per_slice.add().failures
    for judgement, line in zip(verdict.judgements, verdict.lines(), strict=True):
        if judgement.passed is False:
            failures.add(metric_key={"name": judgement.rule}, message=line)
    with tf.io.TFRecordWriter(f"{folder}/{_VALIDATIONS_FILE}") as file:
        file.write(result.SerializeToString())


def _write_blessing(
    verdict: Verdict, blessing: Artifact, model: Artifact, baseline: str | None
) -> None:
    """Writes the verdict, and the file and properties by which TFX knows a blessed model."""
    write_file(blessing.uri, VERDICT_FILE, verdict.model_dump_json(indent=2).encode())
    if verdict.blessed:
        marker, value = constants.BLESSED_FILE_NAME, constants.BLESSED_VALUE
    else:
        marker, value = constants.NOT_BLESSED_FILE_NAME, constants.NOT_BLESSED_VALUE
    write_file(blessing.uri, marker, b"")
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, value)
    blessing.set_string_custom_property(
        constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri
    )
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    if baseline is not None:
        blessing.set_string_custom_property(
            constants.ARTIFACT_PROPERTY_BASELINE_MODEL_URI_KEY, baseline
        )
