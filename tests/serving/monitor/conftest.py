"""A version that knows what it was trained on, and labelled logs of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.example_gen.csv_types import TEXT
from components.example_gen.examples import serialize
from components.features import CLICK_MODEL, COLUMNS_FILE, MODELS, PROBABILITY, Columns
from components.pusher.publish import publish
from components.schema_gate.infer import statistics
from components.serving_root import TRAINING_STATISTICS_FILE
from tests.serving import small_models
from tests.serving.small_models import CATALOGUE, users

TYPES = {
    "att_age": TEXT,
    "att_days": pa.int64(),
    "text": TEXT,
    "message_id": TEXT,
    "clicked": pa.int64(),
}


def training_rows() -> pd.DataFrame:
    ads = list(CATALOGUE.items())
    rows = pd.DataFrame(
        [
            {**user, "text": ads[n % 12][1], "message_id": ads[n % 12][0], "clicked": n % 2}
            for n, user in enumerate(users(1200))
        ]
    )
    return rows.astype({"att_days": "Int64"})


def training_statistics(rows: pd.DataFrame) -> bytes:
    """What TensorFlow Data Validation says of the examples that example_gen makes of rows."""
    texts = {
        name: pa.array([None if pd.isna(value) else str(value) for value in rows[name]])
        for name in TYPES
    }
    texts = {name: column.cast(pa.binary()) for name, column in texts.items()}
    examples = serialize(pa.table(texts), TYPES)
    return statistics([ExamplesToRecordBatchDecoder().DecodeBatch(examples)]).SerializeToString()


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows one by one; a missing value is None."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


@dataclass(frozen=True)
class Watched:
    """A serving root, and a folder for logs."""

    root: Path
    folder: Path

    def scores(self, rows: pd.DataFrame, version: int = 1) -> np.ndarray:
        """What the click model says, asked directly."""
        model = tf.saved_model.load(str(self.root / CLICK_MODEL / str(version)))
        inputs = {
            "att_age": tf.constant(rows["att_age"].fillna("").tolist()),
            "att_days": tf.constant(rows["att_days"].astype("float32").to_numpy()),
            "text": tf.constant(rows["text"].tolist()),
        }
        answer = model.signatures["serving_default"](**inputs)[PROBABILITY]
        return np.asarray(answer, np.float64)

    def log(self, rows: pd.DataFrame, day: str = "2026-11-02") -> Path:
        file = self.folder / f"day={day}" / "impressions.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(file, index=False)
        return file

    def push(self, change: Callable[[Path], None] | None = None, *, known: bool = True) -> None:
        """Pushes a version more; `change` may alter the models before.

        Args:
            change: of the folder of the models.
            known: whether it says what it was trained on.
        """
        models = self.folder / "models"
        shutil.rmtree(models, ignore_errors=True)
        shutil.copytree(self.root.parent / "exports", models)
        if change is not None:
            change(models)
        file = Path(CLICK_MODEL, TRAINING_STATISTICS_FILE)
        extra = {file: training_statistics(training_rows())} if known else {}
        publish(models, self.root, keep_versions=9, extra_files=extra)


@pytest.fixture
def watched(analyse: Callable[..., Path], tmp_path: Path) -> Watched:
    shutil.copytree(small_models.exports(analyse), tmp_path / "exports")
    made = Watched(tmp_path / "root", tmp_path / "logs")
    made.folder.mkdir()
    made.push()
    return made


def with_columns(**columns: Any) -> Callable[[Path], None]:
    """Changes what a model's columns are called."""

    def change(models: Path) -> None:
        for model in MODELS:
            (models / model / COLUMNS_FILE).write_text(Columns(**columns).model_dump_json())

    return change


@pytest.fixture
def rows(watched: Watched) -> pd.DataFrame:
    """Impressions of two values and two ads that training lacks, clicked as the model says."""
    rng = np.random.default_rng(11)
    count = 3000
    ads = [*CATALOGUE.items(), ("new-1", "A new ad"), ("new-2", "Another new ad")]
    shown = rng.integers(len(ads), size=count)
    ages = [None, "young", "old", "äldre", "ancient"]
    rows = pd.DataFrame(
        {
            "att_age": [ages[n] for n in rng.choice(5, count, p=[0.1, 0.5, 0.2, 0.15, 0.05])],
            "att_days": pd.array(rng.integers(400, 1400, count), "Int64"),
            "text": [ads[n][1] for n in shown],
            "message_id": [ads[n][0] for n in shown],
        }
    )
    rows.loc[rng.random(count) < 0.2, "att_days"] = pd.NA
    rows["clicked"] = (rng.random(count) < watched.scores(rows)).astype(int)
    return rows
