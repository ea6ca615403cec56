"""A campaign made by hand: its rows, its examples as TFX holds them, its click model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.features import PROBABILITY, RAW_SIGNATURE

Rows = dict[str, list]

DEVICES = ("mobile", "desktop", "tablet")
TEXTS = ("Fly to Lisbon", "Buy a bike", "Learn to cook", "A new phone")
DEVICE_EFFECT = {"mobile": 1.0, "desktop": -1.0}
TEXT_EFFECT = {"Fly to Lisbon": 0.7, "Buy a bike": -0.7}


class Campaign:
    """logit of a click = sharpness * (effect of device + effect of text + (age - 40) / 20) - 2."""

    @staticmethod
    def rows(count: int, seed: int = 0, texts: tuple[str, ...] = TEXTS) -> Rows:
        rng = np.random.default_rng(seed)
        shown = rng.integers(0, len(texts), count)
        age, device = rng.integers(18, 80, count), rng.choice(DEVICES, count)
        missing = rng.random((2, count)) < 0.1
        rows: Rows = {
            "att_age": [
                None if gone else float(a) for a, gone in zip(age, missing[0], strict=True)
            ],
            "att_device": [
                None if gone else str(d) for d, gone in zip(device, missing[1], strict=True)
            ],
            "message_id": [f"ad-{number}" for number in shown],
            "text": [texts[number] for number in shown],
            "user": [f"user-{number}" for number in rng.integers(0, 20, count)],
        }
        clicked = rng.random(count) < Campaign.probabilities(rows)
        return rows | {"clicked": [int(click) for click in clicked]}

    @staticmethod
    def probabilities(rows: Rows, sharpness: float = 1.0) -> np.ndarray:
        """What the model must say, row by row."""
        effects = [
            DEVICE_EFFECT.get(device, 0)
            + TEXT_EFFECT.get(text, 0)
            + (0 if age is None else (age - 40) / 20)
            for age, device, text in zip(
                rows["att_age"], rows["att_device"], rows["text"], strict=True
            )
        ]
        return 1 / (1 + np.exp(2 - sharpness * np.array(effects)))

    @staticmethod
    def table(rows: Rows) -> pa.Table:
        """The rows as the evaluator reads them."""
        ages = pa.array(rows["att_age"], pa.float32())
        return pa.table(
            {name: values for name, values in rows.items() if name != "att_age"} | {"att_age": ages}
        )

    @staticmethod
    def write_split(folder: Path, rows: Rows, shards: int = 2) -> None:
        """Writes gzipped TFRecords of tf.Examples; a missing value has no entry in its feature."""
        import tensorflow as tf
        from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

        types = {"att_age": pa.float32(), "clicked": pa.int64()}
        lists = {
            name: pa.array(
                [None if value is None else [value] for value in values],
                pa.large_list(types.get(name, pa.large_binary())),
            )
            for name, values in rows.items()
        }
        records = RecordBatchToExamplesEncoder().encode(pa.RecordBatch.from_pydict(lists))
        folder.mkdir(parents=True)
        gzip = tf.io.TFRecordOptions(compression_type="GZIP")
        for shard, part in enumerate(np.array_split(np.array(records, object), shards)):
            path = f"{folder}/data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
            with tf.io.TFRecordWriter(path, gzip) as writer:
                for record in part:
                    writer.write(record)

    @staticmethod
    def save_model(
        folder: Path, sharpness: float = 1.0, renamed: dict[str, str] | None = None
    ) -> None:
        """Saves the click model with the raw signature; `renamed` gives inputs other names."""
        import tensorflow as tf

        def effects(of: dict[str, float]) -> tf.lookup.StaticHashTable:
            pairs = tf.lookup.KeyValueTensorInitializer(list(of), list(of.values()))
            return tf.lookup.StaticHashTable(pairs, 0.0)

        model = tf.Module()
        model.devices, model.texts = effects(DEVICE_EFFECT), effects(TEXT_EFFECT)
        names = {name: name for name in ("att_age", "att_device", "text")} | (renamed or {})

        @tf.function
        def predict(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            age, device, text = (inputs[name] for name in names.values())
            years = tf.where(tf.math.is_nan(age), 0.0, (age - 40) / 20)
            total = model.devices.lookup(device) + model.texts.lookup(text) + years
            return {PROBABILITY: tf.sigmoid(sharpness * total - 2)}

        types = zip(names.values(), (tf.float32, tf.string, tf.string), strict=True)
        specs = {name: tf.TensorSpec([None], dtype, name) for name, dtype in types}
        model.predict = predict
        signatures = {RAW_SIGNATURE: predict.get_concrete_function(**specs)}
        tf.saved_model.save(model, str(folder), signatures)


@pytest.fixture(scope="session")
def campaign() -> type[Campaign]:
    return Campaign


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("click_model")
    Campaign.save_model(folder)
    return folder
