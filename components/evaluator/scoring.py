"""Scores the eval split in blocks, with the new model and with that in service."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from threading import Lock

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from apache_beam.utils.shared import Shared

from components.evaluator.score import ClickModel, to_table, typed
from components.evaluator.tables import SCORES_FILE, read_training_texts, score_table
from components.example_blocks import read_blocks
from components.features import Columns
from components.metrics import Floats
from components.outcomes import by_label
from components.write_artifact import open_to_write

_BLOCK = 16384

_LOGGER = logging.getLogger(__name__)


class _Loaded:
    """The models that a process has loaded, by their folders."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: dict[str, ClickModel] = {}

    def model(self, folder: str) -> ClickModel:
        with self._lock:
            if folder not in self._models:
                self._models[folder] = ClickModel(folder)
            return self._models[folder]


@dataclass
class SharedModel:
    """A click model that is loaded once in each process.

    Attributes:
        folder: where it is.
        handle: by which a process finds what it has loaded. The models of a pipeline have one
            together: Beam keeps alive what was asked for last, and drops what others hold.
    """

    folder: str
    handle: Shared

    def load(self) -> ClickModel:
        """Returns the model."""
        loaded: _Loaded = self.handle.acquire(_Loaded)
        return loaded.model(self.folder)


class ScoreFile(beam.DoFn):
    """Makes blocks of scored rows of a file of examples, and a table of them.

    Args:
        model: the new model.
        baseline: the model in service, if it can score the rows.
        schema: of the rows.
        columns: which columns hold the text, the ids, the label and the attributes.
        texts: folder with the counts of the train split's texts.
        evaluation: folder that gets the tables.
    """

    def __init__(
        self,
        model: SharedModel,
        baseline: SharedModel | None,
        schema: pa.Schema,
        columns: Columns,
        texts: str,
        evaluation: str,
    ) -> None:
        self._model = model
        self._baseline = baseline
        self._schema = schema
        self._columns = columns
        self._texts = texts
        self._evaluation = evaluation

    def process(self, file: str) -> Iterator[pa.RecordBatch]:
        texts = read_training_texts(self._texts)
        model = self._model.load()
        baseline = self._baseline.load() if self._baseline else None
        name = PurePath(file).name.removesuffix(".gz")
        with open_to_write(self._evaluation, f"{SCORES_FILE}/{name}.parquet") as out:
            writer = None
            for block in read_blocks([file], rows=_BLOCK):
                rows = by_label(typed(to_table(block), self._schema), self._columns)
                others = _score_or_not(baseline, rows) if baseline else None
                scored = score_table(rows, model.score(rows), others, texts, self._columns)
                writer = writer or pq.ParquetWriter(out, scored.schema)
                writer.write_table(scored)
                yield from scored.combine_chunks().to_batches()
            if writer is not None:
                writer.close()


def _score_or_not(model: ClickModel, rows: pa.Table) -> Floats:
    """Returns the probabilities of the model in service; where it fails, what is none."""
    try:
        return model.score(rows)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        _LOGGER.warning("the model in service cannot score some rows: %s", error)
        return np.full(len(rows), np.nan)
