"""The pipeline's graph: the one place where nodes are wired. It reads no file."""

from __future__ import annotations

import json
from typing import Any

from tfx.components import ExampleValidator, Trainer
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.trainer_pb2 import TrainArgs

from components.evaluator.component import ClickEvaluator
from components.example_gen.component import csv_example_gen
from components.features import TRAIN
from components.pusher.component import click_pusher
from components.schema_gate.component import SchemaGate
from components.statistics.component import BlockStatistics
from components.transform import preprocessing
from components.transform.component import BlockTransform
from components.validator.component import ModelValidator
from pipeline.config import PipelineConfig
from pipeline.prepare import Prepared


def create_nodes(config: PipelineConfig, prepared: Prepared) -> list[BaseNode]:
    """Returns the nodes in the order in which data meets them."""
    columns = config.data.columns.model_dump()

    example_gen = csv_example_gen(prepared.layout, config.data.reading(), prepared.data_fingerprint)
    examples = example_gen.outputs["examples"]

    statistics = BlockStatistics(examples=examples).with_id("statistics")
    schema = ImportSchemaGen(schema_file=prepared.schema_file).with_id("schema")
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    ).with_id("example_validator")
    gate = SchemaGate(
        examples=examples,
        statistics=statistics.outputs["statistics"],
        anomalies=validator.outputs["anomalies"],
        schema=schema.outputs["schema"],
        columns=config.data.columns.model_dump_json(),
        multi_valued=json.dumps(config.data.multi_valued),
        checks=config.data_checks.model_dump_json(),
        serving_root=str(config.pusher.serving_root),
        push_cache_key=prepared.push_cache_key,
    ).with_id("schema_gate")

    transform = BlockTransform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn=_path_of(preprocessing.preprocessing_fn),
        custom_config={
            "columns": columns,
            "encoder_folder": prepared.encoder_folder,
            "encoder_fingerprint": prepared.encoder_fingerprint,
            "code_fingerprint": prepared.code_fingerprint,
            "user_id": config.model.user_id,
            "ad_id": config.model.ad_id,
            "training_only": config.model.training_only,
            "multi_valued": config.data.multi_valued,
            **config.transform.model_dump(),
        },
    ).with_id("transform")
    transform.add_upstream_node(gate)

    trainer = Trainer(
        # By its path: importing it would import Keras before the terminal shows anything.
        run_fn="components.trainer.run_fn.run_fn",
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        train_args=TrainArgs(splits=[TRAIN]),
        custom_config={
            "columns": columns,
            "model": config.model.model_dump(),
            "trainer": config.trainer.model_dump(),
            "code_fingerprint": prepared.code_fingerprint,
            **(_in_service(config, prepared) if config.trainer.warm_start else {}),
        },
    ).with_id("trainer")

    evaluator = ClickEvaluator(
        examples=examples,
        model=trainer.outputs["model"],
        settings=config.evaluator,
        columns=config.data.columns,
        serving_root=str(config.pusher.serving_root),
        push_cache_key=prepared.push_cache_key,
    ).with_id("evaluator")

    model_validator = ModelValidator(
        examples=examples,
        model=trainer.outputs["model"],
        settings=config.validator.model_dump_json(),
        columns=config.data.columns.model_dump_json(),
    ).with_id("validator")
    model_validator.add_upstream_node(evaluator)

    pusher = click_pusher(
        model=trainer.outputs["model"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=model_validator.outputs["blessing"],
        statistics=statistics.outputs["statistics"],
        serving_root=config.pusher.serving_root,
        keep_versions=config.pusher.keep_versions,
        cache_key=prepared.push_cache_key,
        again=prepared.push_again,
    )
    return [
        example_gen,
        statistics,
        schema,
        validator,
        gate,
        transform,
        trainer,
        evaluator,
        model_validator,
        pusher,
    ]


def create_pipeline(
    config: PipelineConfig, prepared: Prepared, **runner_arguments: Any
) -> Pipeline:
    """Returns the pipeline, the same for every runner.

    Args:
        config: the settings.
        prepared: what was found out before.
        **runner_arguments: what differs between runners, such as the pipeline root.
    """
    return Pipeline(
        pipeline_name=config.name,
        components=create_nodes(config, prepared),
        enable_cache=config.cache,
        **runner_arguments,
    )


def _in_service(config: PipelineConfig, prepared: Prepared) -> dict[str, str]:
    """What a node depends on that begins from the models in service."""
    return {
        "serving_root": str(config.pusher.serving_root),
        "push_cache_key": prepared.push_cache_key,
    }


def _path_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"
