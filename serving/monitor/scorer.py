"""The click probabilities of a version, for blocks of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from components.ad_text import joined
from components.features import (
    AS_SHOWN_SIGNATURE,
    CLICK_MODEL,
    ITEM_TOWER,
    LOGIT_EMBEDDING,
    PROBABILITY,
    USER_TOWER,
    Columns,
)
from components.metrics import Floats
from components.serving_root import Version
from serving.exported import Exported

_ADS_A_BATCH = 256


class Scorer(Protocol):
    """What gives rows their probability; `inputs` are the columns that it takes."""

    inputs: dict[str, str]

    def score(self, rows: pa.Table) -> Floats:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""


def make_scorer(version: Version, columns: Columns) -> Scorer:
    """Returns the scorer of a version: its towers.

    Where it learned what is known in training only, as the position of an ad, its click model, by
    which clicks are judged where the ads were shown.
    """
    folder = version.folder(CLICK_MODEL)
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    if AS_SHOWN_SIGNATURE in model.meta_graphs[0].signature_def:
        return ClickModelScorer(folder)
    return TowerScorer(version, columns)


class ClickModelScorer:
    """The click model of a version, asked of every row."""

    def __init__(self, folder: Path) -> None:
        self._model = Exported(folder, (AS_SHOWN_SIGNATURE,))
        self.inputs = self._model.inputs

    def score(self, rows: pa.Table) -> Floats:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""
        return self._model.call(rows, PROBABILITY).astype(np.float64)


class TowerScorer:
    """The towers of a version: each ad is embedded once, however often it was shown."""

    def __init__(self, version: Version, columns: Columns) -> None:
        self._user_tower = Exported(version.folder(USER_TOWER))
        self._item_tower = Exported(version.folder(ITEM_TOWER), batch_size=_ADS_A_BATCH)
        self._texts = columns.ad_texts
        self.inputs = {**self._user_tower.inputs, **self._item_tower.inputs}
        self._numbers: dict[tuple[str | None, ...], int] = {}
        self._embeddings: list[NDArray[np.float32]] = []

    def score(self, rows: pa.Table) -> Floats:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""
        users = self._user_tower.call(rows, LOGIT_EMBEDDING)
        logits = np.einsum("nd,nd->n", users, self._embeddings_of(rows)).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-logits)))

    def _embeddings_of(self, rows: pa.Table) -> NDArray[np.float32]:
        """Returns the logit embedding of each row's ad [N, D]."""
        codes = np.zeros(len(rows), np.int64)
        for name in self._item_tower.inputs:
            encoded = rows[name].combine_chunks().dictionary_encode(null_encoding="encode")
            codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
        _, first, of_row = np.unique(codes, return_index=True, return_inverse=True)
        distinct = rows.select(list(self._item_tower.inputs)).take(first)
        keys = list(zip(*distinct.to_pydict().values(), strict=True))
        new = [place for place, key in enumerate(keys) if key not in self._numbers]
        if new:
            self._embeddings.append(self._embed(distinct.take(new)))
            for place in new:
                self._numbers[keys[place]] = len(self._numbers)
        numbers = np.array([self._numbers[key] for key in keys], np.intp)
        return np.asarray(np.concatenate(self._embeddings)[numbers[of_row]])

    def _embed(self, ads: pa.Table) -> NDArray[np.float32]:
        """Returns the logit embeddings [N, D] of ads."""
        # Like lengths together: BERT pads the texts of a call to the longest of them.
        order = pc.sort_indices(pc.utf8_length(joined(ads, self._texts))).to_numpy()
        return self._item_tower.call(ads.take(order), LOGIT_EMBEDDING)[np.argsort(order)]
