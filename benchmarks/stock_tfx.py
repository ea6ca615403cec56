"""The rival: the same pipeline from stock TFX components only, as a user of TFX writes it.

CsvExampleGen reads the file, Transform runs BERT on every row and writes each row's vector, Trainer
reads those, and the exported model holds Transform's graph, so that Evaluator scores raw examples.
The text encoder, the schema, the layers, the batch size and the epochs are ours; Beam's in-memory
runner is named. What is left out makes it quicker: slices, a baseline, validation in training.

    python -m benchmarks.stock_tfx DATA FOLDER TRAINING
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import keras
import tensorflow as tf
import tensorflow_model_analysis as tfma
import tensorflow_transform as tft
import typer
from tfx.components import (
    CsvExampleGen,
    Evaluator,
    ExampleValidator,
    Pusher,
    StatisticsGen,
    Trainer,
    Transform,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, pusher_pb2
from tfx_bsl.public.tfxio import TensorFlowDatasetOptions

from benchmarks.pipelines import ARTIFACTS, METADATA, MIN_AUC, SCHEMA
from components.features import EVAL, PROBABILITY, RAW_SIGNATURE, TRAIN, Columns
from components.trainer.settings import ModelSettings
from components.transform import text_encoder
from components.transform.settings import TextEncoderSettings

IN_MEMORY = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
COLUMNS = Columns()
AD_EMBEDDING = "ad_embedding"
BUCKETS = 10


def main(
    data: Annotated[str, typer.Argument(help="Folder with the CSV.")],
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")],
    training: Annotated[str, typer.Argument(help="pipelines.Training as JSON.")],
) -> None:
    """Runs the pipeline."""
    run_nodes(create_nodes(data, str(folder / "serving"), json.loads(training)), folder)


def run_nodes(nodes: list[BaseNode], folder: Path) -> None:
    """Runs nodes with TFX's local runner; artifacts and metadata go to `folder`."""
    pipeline = Pipeline(
        pipeline_name="stock",
        pipeline_root=str(folder / ARTIFACTS),
        metadata_connection_config=sqlite_metadata_connection_config(str(folder / METADATA)),
        components=nodes,
        beam_pipeline_args=IN_MEMORY,
    )
    LocalDagRunner().run(pipeline)


def csv_example_gen(data: str) -> CsvExampleGen:
    """Returns the stock reader of CSV files, with the split that twotower makes by default."""
    splits = [
        example_gen_pb2.SplitConfig.Split(name=TRAIN, hash_buckets=4),
        example_gen_pb2.SplitConfig.Split(name=EVAL, hash_buckets=1),
    ]
    output = example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=splits))
    return CsvExampleGen(input_base=data, output_config=output).with_id("example_gen")


def create_nodes(data: str, serving_root: str, training: dict[str, Any]) -> list[BaseNode]:
    """Returns the nodes of the pipeline, each under the id of its counterpart in twotower."""
    example_gen = csv_example_gen(data)
    examples = example_gen.outputs["examples"]
    statistics = StatisticsGen(examples=examples).with_id("statistics")
    schema = ImportSchemaGen(schema_file=SCHEMA).with_id("schema")
    validator = ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    ).with_id("example_validator")
    transform = Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="benchmarks.stock_tfx.preprocessing_fn",
        custom_config={"encoder": _compiled_encoder()},
    ).with_id("transform")
    trainer = Trainer(
        run_fn="benchmarks.stock_tfx.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        custom_config=training,
    ).with_id("trainer")
    evaluator = Evaluator(
        examples=examples, model=trainer.outputs["model"], eval_config=_eval_config()
    ).with_id("evaluator")
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_root)
        ),
    ).with_id("pusher")
    return [example_gen, statistics, schema, validator, transform, trainer, evaluator, pusher]


def _compiled_encoder() -> str:
    settings = TextEncoderSettings()
    folder = text_encoder.compile_encoder(
        settings.encoder, settings.preprocessor, settings.max_tokens, settings.cache.expanduser()
    )
    return str(folder)


def _eval_config() -> tfma.EvalConfig:
    threshold = tfma.MetricThreshold(
        value_threshold=tfma.GenericValueThreshold(lower_bound={"value": MIN_AUC})
    )
    metrics = [
        tfma.MetricConfig(class_name="ExampleCount"),
        tfma.MetricConfig(class_name="AUC", threshold=threshold),
    ]
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name=RAW_SIGNATURE, label_key=COLUMNS.label)],
        slicing_specs=[tfma.SlicingSpec()],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Maps attributes to category numbers [B] and the text to BERT's embedding [B, H], by row."""
    encoder = tft.make_and_track_object(
        lambda: text_encoder.load(custom_config["encoder"]), name="text_encoder"
    )
    outputs = {
        AD_EMBEDDING: encoder(inputs[COLUMNS.text][:, 0]),
        COLUMNS.label: inputs[COLUMNS.label][:, 0],
    }
    for name in COLUMNS.user_attributes(inputs):
        if inputs[name].dtype == tf.string:
            outputs[name] = tft.compute_and_apply_vocabulary(
                _dense(inputs[name], ""), vocab_filename=name, num_oov_buckets=1
            )
        else:
            outputs[name] = tft.bucketize(_dense(inputs[name], -1), BUCKETS)
    return outputs


def _dense(values: tf.SparseTensor, default: str | int) -> tf.Tensor:
    filled = tf.SparseTensor(values.indices, values.values, [values.dense_shape[0], 1])
    return tf.squeeze(tf.sparse.to_dense(filled, default), axis=1)


def run_fn(fn_args: FnArgs) -> None:
    """Trains on what Transform wrote and exports a model over raw examples."""
    settings = fn_args.custom_config
    transform = tft.TFTransformOutput(fn_args.transform_output)
    data = fn_args.data_accessor.tf_dataset_factory(
        fn_args.train_files,
        TensorFlowDatasetOptions(
            batch_size=settings["batch_size"], num_epochs=1, label_key=COLUMNS.label
        ),
        transform.transformed_metadata.schema,
    )
    model = _two_tower(transform)
    model.compile(keras.optimizers.Adam(settings["learning_rate"]), "binary_crossentropy")
    model.fit(data, epochs=settings["epochs"], verbose=2)

    model.transform_layer = transform.transform_features_layer()
    spec = transform.raw_feature_spec()
    del spec[COLUMNS.label]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features = model.transform_layer(tf.io.parse_example(examples, spec))
        return {PROBABILITY: model(features)}

    tf.saved_model.save(model, fn_args.serving_model_dir, {RAW_SIGNATURE: serve})


def _two_tower(transform: tft.TFTransformOutput) -> keras.Model:
    settings = ModelSettings()
    inputs = {
        name: keras.Input(feature.shape, name=name, dtype=feature.dtype)
        for name, feature in transform.transformed_feature_spec().items()
        if name != COLUMNS.label
    }
    one_hot = [
        keras.layers.CategoryEncoding(_categories(transform, name), "one_hot")(inputs[name])
        for name in COLUMNS.user_attributes(inputs)
    ]
    user = _tower(keras.layers.Concatenate()(one_hot), (*settings.user_layers, settings.embedding))
    ad = _tower(inputs[AD_EMBEDDING], (*settings.item_layers, settings.embedding))
    match = keras.layers.Dot(axes=1)([user, ad])
    click = keras.layers.Dense(
        1, "sigmoid", kernel_initializer="ones", kernel_constraint="non_neg"
    )(match)
    return keras.Model(inputs, click)


def _categories(transform: tft.TFTransformOutput, name: str) -> int:
    """Returns how many numbers Transform gives to the values of an attribute."""
    if transform.raw_feature_spec()[name].dtype == tf.string:
        return int(transform.vocabulary_size_by_name(name)) + 1
    return BUCKETS


def _tower(features: Any, units: tuple[int, ...]) -> Any:
    *hidden, last = units
    for size in hidden:
        features = keras.layers.Dense(size, "relu")(features)
    return keras.layers.UnitNormalization()(keras.layers.Dense(last)(features))


if __name__ == "__main__":
    typer.run(main)
