"""The pipeline's graph: the one place where nodes are wired. It reads no file."""

from __future__ import annotations

import json
from typing import Any

from tfx.components import ExampleValidator, Trainer
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import Pipeline
from tfx.proto.trainer_pb2 import TrainArgs
from tfx.types import BaseChannel

from components.evaluator.component import ClickEvaluator
from components.evaluator.passed import Passed
from components.example_gen.component import csv_example_gen
from components.features import EVAL, TRAIN
from components.pusher.component import click_pusher
from components.schema_gate.component import SchemaGate
from components.statistics.component import BlockStatistics
from components.transform import preprocessing
from components.transform.component import BlockTransform
from components.validator.component import ModelValidator
from pipeline.config import PipelineConfig
from pipeline.prepare import Prepared
from pipeline.run_record import REFIT


def create_nodes(config: PipelineConfig, prepared: Prepared) -> list[BaseNode]:
    """Returns the nodes in the order in which data meets them."""
    example_gen = csv_example_gen(
        prepared.layout, config.data.reading(), prepared.data_fingerprint, prepared.span_store
    )
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

    transform = _transform(config, prepared, examples, schema, [TRAIN]).with_id("transform")
    transform.add_upstream_node(gate)
    trainer = _trainer(config, prepared, examples, transform, [TRAIN]).with_id("trainer")

    evaluator = ClickEvaluator(
        examples=examples,
        model=trainer.outputs["model"],
        settings=config.evaluator,
        columns=config.data.columns,
        serving_root=str(config.pusher.serving_root),
        push_cache_key=prepared.push_cache_key,
    ).with_id("evaluator")

    refit = _refit(config, prepared, examples, schema, evaluator) if config.trainer.refit else []
    model = (refit[-1] if refit else trainer).outputs["model"]

    model_validator = ModelValidator(
        examples=examples,
        model=model,
        settings=config.validator.model_dump_json(),
        columns=config.data.columns.model_dump_json(),
    ).with_id("validator")
    model_validator.add_upstream_node(evaluator)

    pusher = click_pusher(
        model=model,
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
        *refit,
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


def _transform(
    config: PipelineConfig,
    prepared: Prepared,
    examples: BaseChannel,
    schema: BaseNode,
    splits: list[str],
) -> BlockTransform:
    return BlockTransform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn=_path_of(preprocessing.preprocessing_fn),
        splits=splits,
        custom_config={
            "columns": config.data.columns.model_dump(),
            "encoder_folder": prepared.encoder_folder,
            "encoder_fingerprint": prepared.encoder_fingerprint,
            "code_fingerprint": prepared.code_fingerprint,
            "user_id": config.model.user_id,
            "ad_id": config.model.ad_id,
            "training_only": config.model.training_only,
            "multi_valued": config.data.multi_valued,
            **config.transform.model_dump(),
            **_kept_embeddings(prepared),
        },
    )


def _trainer(
    config: PipelineConfig,
    prepared: Prepared,
    examples: BaseChannel,
    transform: BaseNode,
    splits: list[str],
) -> Trainer:
    return Trainer(
        # By its path: importing it would import Keras before the terminal shows anything.
        run_fn="components.trainer.run_fn.run_fn",
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        train_args=TrainArgs(splits=splits),
        custom_config={
            "columns": config.data.columns.model_dump(),
            "model": config.model.model_dump(),
            "trainer": config.trainer.model_dump(),
            "code_fingerprint": prepared.code_fingerprint,
            **(_in_service(config, prepared) if config.trainer.warm_start else {}),
        },
    )


def _refit(
    config: PipelineConfig,
    prepared: Prepared,
    examples: BaseChannel,
    schema: BaseNode,
    evaluator: BaseNode,
) -> list[BaseNode]:
    """Returns the nodes that train the same recipe on all rows, once the model has passed."""
    passed = Passed(blessing=evaluator.outputs["blessing"]).with_id("passed")
    both = [TRAIN, EVAL]
    transform = _transform(config, prepared, examples, schema, both).with_id("refit_transform")
    transform.add_upstream_node(passed)
    return [passed, transform, _trainer(config, prepared, examples, transform, both).with_id(REFIT)]


def _kept_embeddings(prepared: Prepared) -> dict[str, str]:
    """Where embeddings are kept, if anything is kept from run to run."""
    store = prepared.span_store
    return {} if store is None else {"embeddings": f"{store}/embeddings"}


def _in_service(config: PipelineConfig, prepared: Prepared) -> dict[str, str]:
    """What a node depends on that begins from the models in service."""
    return {
        "serving_root": str(config.pusher.serving_root),
        "push_cache_key": prepared.push_cache_key,
    }


def _path_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"
