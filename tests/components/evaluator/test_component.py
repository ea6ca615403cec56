"""The gate as TFX runs it: from artifacts to artifacts that TFX's own parts read."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from google.protobuf.message import Message
from tfx.components.pusher.executor import Executor as StockPusher
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.types import channel_utils
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, ModelEvaluation
from tfx.utils import proto_utils

from components.evaluator import scoring
from components.evaluator.component import ClickEvaluator
from components.evaluator.eval_config import eval_config
from components.evaluator.executor import Executor
from components.evaluator.measure import read_metrics
from components.evaluator.score import ClickModel
from components.evaluator.settings import EvaluatorSettings
from components.evaluator.verdict import read_verdict
from components.features import Columns
from tests.serving_roots import complete

LOCAL = [
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--sdk_container_image=none",
]


@pytest.fixture(scope="module")
def made(campaign, tmp_path_factory):
    """Examples and a model on disk, and the eval split's rows."""
    root = tmp_path_factory.mktemp("made")
    rows = campaign.rows(3000, seed=11)
    campaign.write_split(root / "examples" / "Split-train", campaign.rows(500, seed=10))
    campaign.write_split(root / "examples" / "Split-eval", rows)
    campaign.save_model(root / "model" / "Format-Serving" / "click_model")
    return root, rows


def artifact(kind, folder, number=1):
    made = kind()
    made.uri = str(folder)
    made.id = number
    if kind is Examples:
        made.split_names = json.dumps(["train", "eval"])
    return made


def properties(node):
    """The parameters of a node as its executor gets them."""
    return {
        name: proto_utils.proto_to_json(value) if isinstance(value, Message) else value
        for name, value in node.exec_properties.items()
    }


@pytest.fixture
def run(made, tmp_path):
    """Runs the component as TFX does, and returns its outputs."""

    def run(serving_root=tmp_path / "serving", **settings):
        root, _ = made
        examples, model = artifact(Examples, root / "examples"), artifact(Model, root / "model", 7)
        node = ClickEvaluator(
            examples=channel_utils.as_channel([examples]),
            model=channel_utils.as_channel([model]),
            settings=EvaluatorSettings(**settings),
            columns=Columns(),
            serving_root=str(serving_root),
            push_cache_key="none",
        ).with_id("evaluator")
        outputs = {
            "evaluation": [artifact(ModelEvaluation, tmp_path / "evaluation")],
            "blessing": [artifact(ModelBlessing, tmp_path / "blessing")],
        }
        executor = Executor(Executor.Context(beam_pipeline_args=LOCAL))
        executor.Do({"examples": [examples], "model": [model]}, outputs, properties(node))
        return outputs["evaluation"][0], outputs["blessing"][0]

    return run


def test_a_blessed_model_is_one_for_tfx_too(run, made, tmp_path):
    _, blessing = run()
    assert StockPusher().CheckBlessing({"model_blessing": [blessing]})
    assert (tmp_path / "blessing" / "BLESSED").read_bytes() == b""
    assert not (tmp_path / "blessing" / "NOT_BLESSED").exists()
    assert blessing.get_int_custom_property("blessed") == 1
    assert blessing.get_string_custom_property("current_model") == str(made[0] / "model")
    assert blessing.get_int_custom_property("current_model_id") == 7
    verdict = read_verdict(blessing.uri)
    assert verdict.blessed
    assert "has no click_model yet" in verdict.lines()[2]


def test_a_rejected_model_is_no_error_and_leaves_its_reasons(run, tmp_path):
    evaluation, blessing = run(min_auc=0.9)
    assert not StockPusher().CheckBlessing({"model_blessing": [blessing]})
    assert (tmp_path / "blessing" / "NOT_BLESSED").exists()
    assert not (tmp_path / "blessing" / "BLESSED").exists()
    assert [one.rule for one in read_verdict(blessing.uri).judgements if one.passed is False] == [
        "min_auc"
    ]
    assert read_metrics(evaluation.uri).overall.rows == 3000


def test_the_evaluation_holds_scores_and_ads(run, made, campaign):
    evaluation, _ = run()
    _, rows = made
    scores = pq.read_table(f"{evaluation.uri}/scores.parquet")
    assert scores["clicked"].to_pylist() == rows["clicked"]
    assert scores["att_device"].to_pylist() == rows["att_device"]
    np.testing.assert_allclose(scores["probability"], campaign.probabilities(rows), atol=1e-6)
    ads = pq.read_table(f"{evaluation.uri}/ads.parquet")
    assert sum(ads["rows"].to_pylist()) == 3000
    assert sum(ads["training_rows"].to_pylist()) == 500


def test_the_model_in_service_is_the_baseline(run, campaign, tmp_path):
    root = tmp_path / "models"
    campaign.save_model(root / "click_model" / "1", sharpness=0.3)
    campaign.save_model(root / "click_model" / "2", sharpness=-1.0)
    complete(root / "click_model" / "2")
    evaluation, blessing = run(serving_root=root)
    assert blessing.get_string_custom_property("baseline_model") == f"{root}/click_model/2"
    baseline = read_metrics(evaluation.uri).baseline
    assert baseline.problem == ""
    assert baseline.auc_drop.high < 0
    assert read_verdict(blessing.uri).blessed


def test_each_model_is_loaded_once_for_all_files(run, campaign, tmp_path, monkeypatch):
    root = tmp_path / "models"
    campaign.save_model(root / "click_model" / "1", sharpness=0.3)
    complete(root / "click_model" / "1")
    loaded = []

    class Counted(ClickModel):
        def __init__(self, folder):
            loaded.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(scoring, "ClickModel", Counted)
    run(serving_root=root)
    assert len(loaded) == 2
    assert len(set(loaded)) == 2


def test_tfma_reads_metrics_and_verdict(run):
    evaluation, blessing = run(min_auc=0.9)
    metrics = read_metrics(evaluation.uri)
    result = tfma.load_eval_result(evaluation.uri)
    auc = result.get_metrics_for_slice()["exact_auc"]["boundedValue"]
    assert auc == {
        "value": metrics.overall.auc.value,
        "lowerBound": metrics.overall.auc.low,
        "upperBound": metrics.overall.auc.high,
    }
    assert len(result.slicing_metrics) == 1 + len(metrics.slices)
    mobile = result.get_metrics_for_slice((("att_device", "mobile"),))
    (same,) = [part for part in metrics.slices if part.where == {"att_device": "mobile"}]
    assert mobile["log_loss"]["doubleValue"] == same.metrics.log_loss
    validation = tfma.load_validation_result(evaluation.uri)
    assert not validation.validation_ok
    (failure,) = validation.metric_validations_per_slice[0].failures
    assert failure.metric_key.name == "min_auc"
    assert failure.message in read_verdict(blessing.uri).lines()


def test_it_runs_in_the_container_entry_point_of_kubeflow(made, tmp_path):
    root, _ = made

    def artifacts(schema, folder, **metadata):
        one = {"name": "1", "uri": str(folder), "type": {"schemaTitle": schema}}
        return {"artifacts": [one | {"metadata": metadata}]}

    invocation = {
        "inputs": {
            "artifacts": {
                "examples": artifacts(
                    "tfx.Examples", root / "examples", split_names='["train", "eval"]'
                ),
                "model": artifacts("tfx.Model", root / "model"),
            },
            "parameterValues": {
                "eval_config": json_format.MessageToJson(
                    eval_config(EvaluatorSettings(), Columns())
                ),
                "settings": EvaluatorSettings().model_dump_json(),
                "min_auc": EvaluatorSettings().min_auc,
                "columns": Columns().model_dump_json(),
                "serving_root": str(tmp_path / "serving"),
                "push_cache_key": "none",
            },
        },
        "outputs": {
            "artifacts": {
                "evaluation": artifacts("tfx.ModelEvaluation", tmp_path / "evaluation"),
                "blessing": artifacts("tfx.ModelBlessing", tmp_path / "blessing"),
            },
            "outputFile": str(tmp_path / "task" / "executor_output.json"),
        },
    }
    names = invocation["inputs"]["parameterValues"]
    parameter_types = {name: {"parameterType": "STRING"} for name in names}
    parameter_types["min_auc"] = {"parameterType": "NUMBER_DOUBLE"}
    executor = ClickEvaluator.EXECUTOR_SPEC.executor_class
    kubeflow_v2_run_executor.main(
        (
            Namespace(
                executor_class_path=f"{executor.__module__}.{executor.__name__}",
                json_serialized_invocation_args=json.dumps(invocation),
                json_serialized_inputs_spec_args=json.dumps({"parameters": parameter_types}),
            ),
            LOCAL,
        )
    )
    written = json.loads((tmp_path / "task" / "executor_output.json").read_text())
    (blessing,) = written["artifacts"]["blessing"]["artifacts"]
    assert blessing["metadata"]["blessed"] == 1
    assert (tmp_path / "blessing" / "BLESSED").exists()
