"""Whole pipelines on the same CSV, each in a process of its own: ours, and stock TFX's."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import Usage, bytes_in, measure, program
from components.features import EVAL, TRAIN, Columns
from pipeline.local import LOG_FILE
from pipeline.run_record import RunRecord, read_record
from pipeline.samples.campaign import write_campaign

SCHEMA = "schema/campaign/schema.pbtxt"
ARTIFACTS = "artifacts"
METADATA = "metadata.db"
MIN_AUC = 0.0  # so that models are pushed at any size

# What components.transform.ad_memo logs.
_EMBEDDED = re.compile(r"BERT embedded (\d+) texts in ([\d.]+) s")


@dataclass(frozen=True)
class Training:
    """How both train: on the whole train split, without early stopping."""

    batch_size: int = 1024
    epochs: int = 3
    learning_rate: float = 0.003


@dataclass(frozen=True)
class PipelineRun:
    """What a run of a pipeline took and gave.

    Attributes:
        usage: of the whole process.
        nodes: seconds by node.
        texts: how many distinct texts the train split has.
        texts_embedded: how many texts BERT met in Transform, repeats included.
        auc: of clicks on the eval split.
        bytes_an_impression: on disk, of what every epoch of Trainer reads.
        artifact_bytes: of all that the run wrote as artifacts.
    """

    usage: Usage
    nodes: dict[str, float]
    texts: int
    texts_embedded: int
    auc: float
    bytes_an_impression: float
    artifact_bytes: int

    @property
    def seconds_beside_nodes(self) -> float:
        """What is not in any node: imports, compiling the graph, checks, the report."""
        return self.usage.seconds - sum(self.nodes.values())


def write_data(folder: Path, rows: int, ads: int) -> None:
    """Writes a campaign into `folder`, as a CSV that CsvExampleGen can read, too."""
    campaign = write_campaign(folder / "quoted", rows, ads, seed=1).impressions
    with campaign.open("rb") as quoted, (folder / campaign.name).open("wb") as plain:
        plain.write(quoted.readline().replace(b'"', b""))  # it takes quotes for part of a name
        shutil.copyfileobj(quoted, plain)
    shutil.rmtree(folder / "quoted")


def settings(folder: Path, data: Path, training: Training) -> dict[str, Any]:
    """Returns the settings of a run in `folder` that ends in a push, whatever is measured."""
    return {
        "name": "benchmark",
        "runs": str(folder / "runs"),
        "data": {"input": str(data), "schema_file": SCHEMA},
        "trainer": {**asdict(training), "validation_share": 0.0, "patience": training.epochs},
        "evaluator": {"min_auc": MIN_AUC, "min_calibration": None, "max_calibration": None},
        "pusher": {"serving_root": str(folder / "serving")},
    }


def run_twotower(
    folder: Path, data: Path, training: Training, **more: Mapping[str, Any]
) -> tuple[RunRecord, Usage]:
    """Runs `twotower run`; models are pushed to `folder`/serving.

    Args:
        folder: where everything goes.
        data: folder with the CSV.
        training: how the towers are trained.
        **more: groups of settings on top, as in the YAML file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**settings(folder, data, training), **more}))
    usage = measure([program("twotower"), "run", "--config", str(file)], folder / "output.log")
    (record,) = (folder / "runs" / "benchmark").glob("*/run.json")
    return read_record(record.parent), usage


def measure_twotower(folder: Path, data: Path, training: Training) -> PipelineRun:
    """Runs ours."""
    from components.evaluator.measure import read_metrics

    record, usage = run_twotower(folder, data, training)
    auc = read_metrics(str(record.output("evaluator", "evaluation"))).overall.auc.value
    assert auc is not None  # the run was pushed
    return PipelineRun(
        usage=usage,
        nodes={node.id: node.seconds for node in record.nodes},
        texts=_distinct_texts(Path(record.nodes[0].outputs["examples"])),
        texts_embedded=embedded(record)[0],
        auc=auc,
        bytes_an_impression=training_facts(record)["bytes_an_impression"],
        artifact_bytes=bytes_in(folder / "runs" / "benchmark" / ARTIFACTS),
    )


def training_facts(record: RunRecord) -> dict[str, Any]:
    """Returns what Trainer wrote down."""
    folder = record.output("trainer", "model_run")
    assert folder is not None  # the run was pushed
    return dict(json.loads((folder / "training.json").read_text()))


def embedded(record: RunRecord) -> tuple[int, float]:
    """Returns how many texts BERT embedded for the ad memo, and the seconds within its calls."""
    calls = _EMBEDDED.findall((record.folder / LOG_FILE).read_text())
    return sum(int(texts) for texts, _ in calls), sum(float(seconds) for _, seconds in calls)


def measure_stock_tfx(folder: Path, data: Path, training: Training) -> PipelineRun:
    """Runs the rival (benchmarks/stock_tfx.py)."""
    folder.mkdir(parents=True)
    usage = measure(
        [
            *(sys.executable, "-m", "benchmarks.stock_tfx"),
            *(str(data), str(folder), json.dumps(asdict(training))),
        ],
        folder / "output.log",
    )
    written = only_output(folder, "transform", "transformed_examples")
    rows = {split: count_records(written / f"Split-{split}") for split in (TRAIN, EVAL)}
    return PipelineRun(
        usage=usage,
        nodes=node_seconds(folder),
        texts=_distinct_texts(only_output(folder, "example_gen", "examples")),
        texts_embedded=sum(rows.values()),  # one a row
        auc=_auc_by_tfma(only_output(folder, "evaluator", "evaluation")),
        bytes_an_impression=bytes_in(written / f"Split-{TRAIN}") / rows[TRAIN],
        artifact_bytes=bytes_in(folder / ARTIFACTS),
    )


def node_seconds(folder: Path) -> dict[str, float]:
    """Returns how long each node took that TFX's local runner ran in `folder`, in their order."""
    from ml_metadata import MetadataStore
    from ml_metadata.proto.metadata_store_pb2 import ConnectionConfig

    config = ConnectionConfig()
    config.sqlite.filename_uri = str(folder / METADATA)
    store = MetadataStore(config)
    seconds = {}
    for context in store.get_contexts_by_type("node"):
        (execution,) = store.get_executions_by_context(context.id)
        took = execution.last_update_time_since_epoch - execution.create_time_since_epoch
        seconds[context.name.partition(".")[2]] = took / 1000
    return seconds


def only_output(folder: Path, node: str, output: str) -> Path:
    """Returns the folder of an artifact that TFX's local runner made once in `folder`."""
    (artifact,) = (folder / ARTIFACTS / node / output).iterdir()
    return artifact


def count_records(split: Path) -> int:
    """Returns the number of records in the gzipped TFRecord files of a split."""
    import tensorflow as tf

    records = tf.data.TFRecordDataset([str(file) for file in split.glob("*.gz")], "GZIP")
    return int(records.reduce(0, lambda count, _: count + 1))


def _distinct_texts(examples: Path) -> int:
    from components.evaluator.survey import count_texts

    files = [str(file) for file in (examples / f"Split-{TRAIN}").glob("*.gz")]
    return len(count_texts(files, [Columns().text]).values())


def _auc_by_tfma(evaluation: Path) -> float:
    import tensorflow_model_analysis as tfma

    metrics = tfma.load_eval_result(str(evaluation)).get_metrics_for_slice()
    return float(metrics["auc"]["doubleValue"])
