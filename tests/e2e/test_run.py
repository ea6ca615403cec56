"""Whole runs: from a CSV to pushed models, from the cache, killed and continued, and stopped."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.survey import count_texts
from components.features import (
    CLICK_MODEL,
    MODEL_VERSION,
    MODELS,
    PROBABILITY,
    TRAIN,
    USER_TOWER,
    Columns,
)
from components.trainer.serving_ops import unsupported_ops
from pipeline.local import LOG_FILE
from serving.monitor.history import read_history
from tests.e2e.weights import tower_weights
from tests.serving.small_models import twotower

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

pytestmark = pytest.mark.e2e


def versions(campaign: Campaign) -> dict[str, list[str]]:
    return {
        model: sorted(path.name for path in (campaign.serving / model).glob("*"))
        for model in MODELS
    }


def test_a_run_pushes_every_model_under_one_version(pushed: Campaign) -> None:
    record = pushed.record()
    assert (record.status, record.version) == ("pushed", 1)
    assert versions(pushed) == {model: ["1"] for model in MODELS}
    assert record.nodes[0].id == "example_gen"
    assert record.nodes[-1].id == "pusher"


def test_the_data_of_a_run_is_as_its_model_remembers_it(pushed: Campaign) -> None:
    log, out = str(pushed.folder / "data"), str(pushed.folder / "monitor")
    options = ["--models", str(pushed.serving), "--log", log, "--out", out, "--day", "2026-11-02"]
    result = pushed.twotower("monitor", *options)
    assert result.returncode in (0, 5), result.stderr
    (entry,) = read_history(Path(out))
    measures = entry.measures
    assert (entry.version, measures.overall.rows) == (1, 4000)
    assert set(measures.drift) == set(Columns().attributes(measures.drift))
    assert len(measures.drift) == 8
    assert max(measures.drift.values()) < 0.05  # a fifth of the rows were for evaluation
    assert measures.unseen_values is not None
    assert measures.unseen_values < 0.01
    assert measures.auc.low is not None
    assert measures.auc.low > 0.5


def test_the_pushed_models_run_on_stock_tf_serving(pushed: Campaign) -> None:
    for model in MODELS:
        assert unsupported_ops(pushed.serving / model / "1") == []
    files = (pushed.serving / USER_TOWER / "1").rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) < 2_000_000


def test_bert_met_each_distinct_text_once(pushed: Campaign) -> None:
    first = pushed.first_record()
    examples = first.output("example_gen", "examples")
    assert examples
    files = [str(file) for file in (examples / f"Split-{TRAIN}").glob("*.gz")]
    texts = count_texts(files, [Columns().text]).values()
    logged = re.findall(r"BERT embedded (\d+) texts", (first.folder / LOG_FILE).read_text())
    assert sum(map(int, logged)) == len(texts)


def test_predictions_of_one_row_and_of_a_csv_are_the_pushed_models(
    pushed: Campaign, tmp_path: Path
) -> None:
    one = pushed.twotower(
        *("predict", "--models", str(pushed.serving)),
        *("--attributes", "att_age=25-34,att_tenure_days=12", "--text", "An ad nobody has seen"),
    )
    assert one.returncode == 0, one.stderr
    assert one.stderr == ""
    assert 0 < float(one.stdout.split()[-1]) < 1

    out = tmp_path / "predicted.csv"
    data = pushed.folder / "data/impressions.csv"
    twotower("predict", "--models", pushed.serving, "--csv", data, "--out", out)
    with data.open() as before, out.open() as after:
        given, predicted = list(csv.DictReader(before)), list(csv.DictReader(after))
    assert len(given) == len(predicted)
    assert all(row["text"] == other["text"] for row, other in zip(given, predicted, strict=True))

    model = tf.saved_model.load(str(pushed.serving / CLICK_MODEL / "1"))
    function = model.signatures["serving_default"]
    inputs = {
        name: tf.constant(
            [
                row[name] if spec.dtype == tf.string else float(row[name] or "nan")
                for row in given[:50]
            ],
            spec.dtype,
        )
        for name, spec in function.structured_input_signature[1].items()
    }
    outputs = function(**inputs)
    np.testing.assert_allclose(
        [float(row[PROBABILITY]) for row in predicted[:50]], outputs[PROBABILITY], atol=1e-6
    )
    assert set(outputs[MODEL_VERSION].numpy()) == {1}


def test_a_second_run_takes_everything_from_the_cache(pushed: Campaign) -> None:
    result = pushed.run()
    assert result.returncode == 0
    assert "every node came from the cache" in result.stdout
    assert {node.state for node in pushed.record().nodes} == {"cached"}
    assert versions(pushed) == {model: ["1"] for model in MODELS}


def test_a_run_until_a_node_looks_and_pushes_nothing(pushed: Campaign) -> None:
    result = pushed.twotower(*pushed.arguments(), "--until", "evaluator")
    assert result.returncode == 0
    assert "Not pushed, as asked: ended after evaluator" in result.stdout
    assert "PASS  AUC of clicks" in result.stdout
    record = pushed.record()
    assert (record.status, record.version) == ("not pushed", None)
    assert record.nodes[-1].id == "evaluator"
    assert (record.folder / "report.html").exists()


def test_a_model_that_is_not_blessed_is_not_pushed_and_the_reason_is_said(
    pushed: Campaign,
) -> None:
    record, said = pushed.run_here("evaluator.min_auc=0.99")
    assert (record.status, record.exit_code) == ("not blessed", 3)
    assert "Not blessed, nothing was pushed" in said
    (line,) = [line for line in said.splitlines() if line.startswith("FAIL")]
    assert "AUC of clicks" in line
    assert "at least 0.99" in line
    assert versions(pushed) == {model: ["1"] for model in MODELS}
    assert pushed.record() == record


def test_anomalies_stop_the_run_before_anything_is_trained(
    pushed: Campaign, tmp_path: Path
) -> None:
    text = (pushed.folder / "data/impressions.csv").read_text()
    changed = text.replace('"25-34"', '"twenty-five"')
    assert changed != text
    (tmp_path / "changed.csv").write_text(changed)
    record, said = pushed.run_here(f"data.input={tmp_path}/changed.csv")
    assert (record.status, record.exit_code) == ("stopped by data", 4)
    assert "att_age" in said
    assert "twenty-five" in said
    assert record.nodes[-1].id == "schema_gate"
    assert versions(pushed) == {model: ["1"] for model in MODELS}


def test_a_run_that_is_killed_is_continued_by_the_same_command_to_the_same_model(
    pushed: Campaign, new_campaign: Callable[[], Campaign]
) -> None:
    campaign = new_campaign()
    for node in ("transform", "trainer"):
        _kill_after(node, campaign)
        for model, names in versions(campaign).items():
            assert names == [], model
    result = campaign.run()
    assert result.returncode == 0, result.stdout
    states = {node.id: node.state for node in campaign.record().nodes}
    assert states["example_gen"] == "cached"
    assert versions(campaign) == {model: ["1"] for model in MODELS}
    whole, continued = (tower_weights(each.serving, USER_TOWER) for each in (pushed, campaign))
    for name, weight in whole.items():
        np.testing.assert_array_equal(weight, continued[name], name)


def _kill_after(node: str, campaign: Campaign) -> None:
    """Starts a run and kills it in the middle of the node that follows `node`."""
    process = campaign.start()
    assert process.stdout
    for line in process.stdout:
        if f" {node} " in line:
            time.sleep(0.2)
            process.kill()
    assert process.wait() != 0
