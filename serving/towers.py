"""The pushed towers, called without a server: tables of raw columns in, logit embeddings out.

They run in TensorFlow's C library, as in the server; nothing here imports TensorFlow's Python.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.ad_text import joined
from components.features import ITEM_TOWER, LOGIT_EMBEDDING, USER_TOWER, Columns
from components.serving_root import Version, in_service
from serving.exported import Exported

Floats = NDArray[np.float32]

_USERS_A_BATCH = 8192
_ADS_A_BATCH = 256


def sigmoid(logits: Floats) -> Floats:
    """Returns the probabilities of logits [...], in their place: there may be millions."""
    np.negative(logits, out=logits)
    with np.errstate(over="ignore"):  # infinity becomes a probability of 0
        np.exp(logits, out=logits)
    logits += 1
    return np.reciprocal(logits, out=logits)


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
        self.user_tower = Exported(folder, batch_size=_USERS_A_BATCH)
        self.item_tower = Exported(self.in_service.folder(ITEM_TOWER), batch_size=_ADS_A_BATCH)

    def embed_users(self, users: pa.Table) -> Floats:
        """Returns the logit embeddings [N, D] of users."""
        return self.user_tower.call(users, LOGIT_EMBEDDING)

    def embed_ads(self, ads: pa.Table) -> Floats:
        """Returns the logit embeddings [N, D] of ads."""
        # Like lengths together: BERT pads the texts of a call to the longest of them.
        texts = joined(ads, self.columns.ad_texts)
        order = pc.sort_indices(pc.utf8_length(texts)).to_numpy()
        embeddings = self.item_tower.call(ads.take(order), LOGIT_EMBEDDING)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return embeddings[back]
