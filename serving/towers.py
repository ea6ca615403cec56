"""The pushed towers, called without a server: tables of raw columns in, logit embeddings out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops
from numpy.typing import NDArray

from components import signature_names
from components.ad_text import joined
from components.features import ITEM_TOWER, LOGIT_EMBEDDING, RAW_SIGNATURE, USER_TOWER, Columns
from components.raw_columns import input_types, to_tensor
from components.serving_root import Version, in_service

Floats = NDArray[np.float32]

_USERS_A_BATCH = 8192
_ADS_A_BATCH = 256


class Tower:
    """One exported tower.

    Args:
        folder: its SavedModel, a path or a URI.
        batch_size: rows that are embedded in one call.

    Attributes:
        inputs: the columns that it takes, with their types.
    """

    def __init__(self, folder: str, batch_size: int) -> None:
        self._model = tf.saved_model.load(folder)
        self._signature = self._model.signatures[RAW_SIGNATURE]
        self._batch_size = batch_size
        self.inputs = input_types(self._signature)

    def embed(self, rows: pa.Table) -> Floats:
        """Returns the logit embeddings [N, D] of `rows` [N]; null is a missing value."""
        inputs = {name: to_tensor(rows[name], dtype) for name, dtype in self.inputs.items()}
        width = self._signature.structured_outputs[LOGIT_EMBEDDING].shape[1]
        embeddings = np.empty((len(rows), width), np.float32)
        for start in range(0, len(rows), self._batch_size):
            part = slice(start, start + self._batch_size)
            rows_of_part = {name: column[part] for name, column in inputs.items()}
            answer = signature_names.call(self._signature, rows_of_part)
            embeddings[part] = answer[LOGIT_EMBEDDING]
        return embeddings


class Towers:
    """The user tower and the item tower: two of one version.

    The inner product of a user's and an ad's logit embedding is the logit of a click.

    Args:
        models: the folder that a run pushed to, of which the version in service is taken; or a
            version.

    Attributes:
        in_service: the version that they are of.
        version: its number.
        columns: which columns hold the text, the ids, the label and the attributes.
        user_tower: over the columns that describe a user.
        item_tower: over the columns that describe an ad.

    Raises:
        InputError: nothing is in service.
    """

    def __init__(self, models: Path | Version) -> None:
        self.in_service = models if isinstance(models, Version) else in_service(models)
        self.version = self.in_service.number
        folder = self.in_service.folder(USER_TOWER)
        self.columns = Columns.of_model(folder)
        self.user_tower = Tower(str(folder), _USERS_A_BATCH)
        self.item_tower = Tower(self.in_service.folders[ITEM_TOWER], _ADS_A_BATCH)

    def embed_users(self, users: pa.Table) -> Floats:
        """Returns the logit embeddings [N, D] of users."""
        return self.user_tower.embed(users)

    def embed_ads(self, ads: pa.Table) -> Floats:
        """Returns the logit embeddings [N, D] of ads."""
        # Like lengths together: BERT pads the texts of a call to the longest of them.
        texts = joined(ads, self.columns.ad_texts)
        order = pc.sort_indices(pc.utf8_length(texts)).to_numpy()
        embeddings = self.item_tower.embed(ads.take(order))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return embeddings[back]
