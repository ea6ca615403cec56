"""A new catalogue for the recommender, without training.

Ads that the recommender knows keep their embeddings; the pushed item tower embeds the others. The
result is pushed as a new version of every model, with the towers that it belongs to.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from components.features import MODELS, RECOMMENDER, Columns
from components.pusher.publish import publish
from components.raw_columns import to_tensor
from components.trainer.catalogue import Catalogue
from components.trainer.recommender import catalogue_of, read_catalogue, replace_catalogue
from serving.raw_rows import read_ads
from serving.towers import Floats, Towers


@dataclass(frozen=True)
class Indexed:
    """What became of a catalogue.

    Attributes:
        version: that holds it.
        pushed: whether that is a new one; if not, the recommender held this catalogue already.
        ads: in the catalogue.
        embedded: how many of them were new to the recommender.
        gone: ads that it held before and does not any more.
    """

    version: int
    pushed: bool
    ads: int
    embedded: int
    gone: int


def index(serving_root: Path, csv: Path, keep_versions: int) -> Indexed:
    """Pushes a recommender over another catalogue.

    Args:
        serving_root: the folder that a run pushed to.
        csv: the catalogue: ids, texts and attributes of all ads that may be recommended.
        keep_versions: how many of the newest versions stay.

    Raises:
        InputError: the catalogue or the serving root cannot be used, or a run pushed meanwhile.
    """
    towers = Towers(serving_root)
    ads = read_ads(csv, towers.columns, towers.item_tower.inputs)
    recommender = towers.in_service.folder(RECOMMENDER)
    known = read_catalogue(recommender)
    before = _table(known, towers.columns).select(ads.column_names)
    if set(_keys(before)) == set(_keys(ads)):
        return Indexed(towers.version, False, len(ads), 0, 0)
    embeddings, embedded = _embed(ads, before, known.embeddings, towers)
    catalogue = _catalogue(ads, embeddings, towers)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        for model in set(MODELS) - {RECOMMENDER}:
            tower = towers.in_service.folder(model)
            (models / model).symlink_to(tower.absolute())
        replace_catalogue(recommender, catalogue, models / RECOMMENDER)
        pushed = publish(models, serving_root, keep_versions, after=towers.version)
    gone = len(set(_keys(before)) - set(_keys(ads)))
    return Indexed(pushed.version, pushed.new, len(ads), embedded, gone)


def _embed(
    ads: pa.Table, before: pa.Table, embeddings: Floats, towers: Towers
) -> tuple[Floats, int]:
    """Returns the embeddings of `ads` [n, D], and how many were not among those of `before`."""
    # Ads are the same to the item tower where its inputs are.
    inputs = list(towers.item_tower.inputs)
    rows = {key: row for row, key in enumerate(_keys(before.select(inputs)))}
    found = np.array([rows.get(key, -1) for key in _keys(ads.select(inputs))])
    result = embeddings[found]
    new = np.flatnonzero(found < 0)
    result[new] = towers.embed_ads(ads.take(new))
    return result, len(new)


def _table(catalogue: Catalogue, columns: Columns) -> pa.Table:
    """Returns the columns of a catalogue; a missing value is null."""
    return pa.table({name: _values(each) for name, each in catalogue.columns(columns).items()})


def _values(column: np.ndarray) -> pa.Array:
    if column.dtype != object:
        return pa.array(column, from_pandas=True)
    texts = pa.array(column, pa.binary()).cast(pa.string())
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _catalogue(ads: pa.Table, embeddings: Floats, towers: Towers) -> Catalogue:
    inputs = {
        name: to_tensor(ads[name], tf.as_dtype(dtype))
        for name, dtype in towers.item_tower.inputs.items()
    }
    ad_ids = to_tensor(ads[towers.columns.ad_id], tf.string)
    return catalogue_of(towers.columns, ad_ids, inputs, embeddings)


def _keys(ads: pa.Table) -> list[tuple[str | float | None, ...]]:
    return list(zip(*(column.to_pylist() for column in ads.columns), strict=True))
