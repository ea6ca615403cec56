"""The ad memo: a frozen BERT's output for an ad is a fact about the ad, not about the impression.

During Transform's analysis each distinct text is embedded once. The transform graph carries the
table; it looks known texts up exactly and runs BERT only for texts it has never seen.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.errors import InputError
from components.transform import notes, same_embedding, text_encoder
from components.transform.counted import Counted, analyze
from components.transform.counting import CountDistinct, most_frequent
from components.transform.embedding_store import EmbeddingStore
from components.transform.lookup import lookup_rows, sort_by_fingerprint
from components.transform.text_encoder import Encoder

_LOGGER = logging.getLogger(__name__)

# Texts of like length share a batch, so that little of BERT's work goes into padding.
_BATCH = 128

# A graph is one protobuf, of at most 2 GiB; the rest of it needs a share.
_MOST_TABLE_BYTES = 1_800_000_000


def embed(
    texts: tf.Tensor,
    encoder_folder: str,
    *,
    memo: bool,
    max_ads: int,
    notes_folder: str | None = None,
    counts: Counted | None = None,
    column: str = "",
    kept: str | None = None,
) -> tf.Tensor:
    """Returns the embeddings [B, H] float32 of `texts` [B], within `preprocessing_fn`.

    Args:
        texts: [B] string.
        encoder_folder: the compiled text encoder, see text_encoder.compile_encoder.
        memo: embed each distinct text of the dataset once and remember it.
        max_ads: most texts that are remembered, most frequent first.
        notes_folder: gets which texts the encoder cannot tell apart.
        counts: what is counted already; None to go over the rows.
        column: of the texts, where they are counted.
        kept: folder of embeddings that are kept from run to run, where they are counted.
    """
    encoder = tft.make_and_track_object(lambda: _load(encoder_folder), name="text_encoder")
    if not memo:
        return embed_distinct(texts, encoder)
    known_texts, fingerprints, embeddings = analyze(
        counts,
        inputs=[texts],
        analyzer=EmbedDistinctTexts(encoder_folder, max_ads, notes_folder, column, kept),
        output_dtypes=[tf.string, tf.int64, tf.float32],
        output_shapes=[[None], [None], [None, text_encoder.width(encoder)]],
        name="ad_memo",
    )
    row = lookup_rows(texts, known_texts, fingerprints)
    return gather_or_embed(texts, row, embeddings, encoder)


@lru_cache(maxsize=1)
def _load(encoder_folder: str) -> Encoder:
    """Loads the encoder once a process; Transform traces `preprocessing_fn` ten times over."""
    return text_encoder.load(encoder_folder)


def gather_or_embed(
    texts: tf.Tensor, row: tf.Tensor, embeddings: tf.Tensor, encoder: Encoder
) -> tf.Tensor:
    """Returns `embeddings[row]` [B, H], with BERT's own where `row` [B] is -1."""
    remembered = tf.gather(embeddings, tf.maximum(row, 0))
    unseen = tf.where(row < 0)

    def embed_unseen() -> tf.Tensor:
        fresh = embed_distinct(tf.gather_nd(texts, unseen), encoder)
        return tf.tensor_scatter_nd_update(remembered, unseen, fresh)

    return tf.cond(tf.size(unseen) > 0, embed_unseen, lambda: remembered)


def embed_distinct(texts: tf.Tensor, encoder: Encoder) -> tf.Tensor:
    """Returns the embeddings [B, H] of `texts` [B]; BERT meets each distinct text once."""
    distinct, index = tf.unique(texts)
    return tf.gather(encoder(distinct), index)


class EmbedDistinctTexts(beam.PTransform):
    """Embeds each distinct text once, from batches of (texts [B],).

    Returns one element in each of three collections: the texts in the order of their fingerprints,
    those fingerprints, and the embeddings.

    Args:
        encoder_folder: SavedModel of the text encoder.
        max_ads: most texts that are embedded, most frequent first.
        notes_folder: where to leave what was noticed of the texts; nowhere if None.
    """

    def __init__(
        self,
        encoder_folder: str,
        max_ads: int,
        notes_folder: str | None = None,
        column: str = "",
        kept: str | None = None,
    ) -> None:
        super().__init__()
        self.columns = (column,)
        self._kept = kept
        self._encoder_folder = encoder_folder
        self._max_ads = max_ads
        self._notes_folder = notes_folder

    def expand(self, texts: beam.PCollection) -> list[beam.PCollection]:
        tables = (
            texts
            | beam.CombineGlobally(CountDistinct())
            | beam.FlatMap(self._batches)
            | beam.Reshuffle()
            | beam.ParDo(_Embed(self._encoder_folder))
            | beam.combiners.ToList()
            | beam.Map(_table, self._notes_folder)
        )
        return [tables | f"Output{i}" >> beam.Map(lambda table, i=i: table[i]) for i in range(3)]

    def tables_of(self, counts: Counted) -> tuple[np.ndarray, ...]:
        """Returns what the collections hold, for texts that are counted already."""
        texts = most_frequent(counts.strings(self.columns[0]), self._max_ads)
        store = EmbeddingStore(Path(self._kept) if self._kept else None, self._encoder_folder)
        embeddings = store.embed(texts, lambda: _load(self._encoder_folder))
        return _table([(texts, embeddings)], self._notes_folder)

    def _batches(self, counts: Counter[bytes]) -> Iterator[list[bytes]]:
        texts = most_frequent(counts, self._max_ads)
        texts.sort(key=len)
        for start in range(0, len(texts), _BATCH):
            yield texts[start : start + _BATCH]


class _Embed(beam.DoFn):
    def __init__(self, encoder_folder: str) -> None:
        self._encoder_folder = encoder_folder
        self._texts = beam.metrics.Metrics.counter("twotower", "texts_embedded")

    def setup(self) -> None:
        self._encoder = _load(self._encoder_folder)

    def process(self, texts: list[bytes]) -> Iterator[tuple[list[bytes], np.ndarray]]:
        start = time.perf_counter()
        embeddings = self._encoder(tf.constant(texts)).numpy()
        self._texts.inc(len(texts))
        _LOGGER.info("BERT embedded %d texts in %.3f s", len(texts), time.perf_counter() - start)
        yield texts, embeddings


def _table(
    batches: list[tuple[list[bytes], np.ndarray]], notes_folder: str | None = None
) -> tuple[np.ndarray, ...]:
    texts = [text for batch, _ in batches for text in batch]
    embeddings = np.concatenate([vectors for _, vectors in batches])
    if embeddings.nbytes > _MOST_TABLE_BYTES:
        most = _MOST_TABLE_BYTES // embeddings.itemsize // embeddings.shape[1]
        raise InputError(
            f"the ad memo would hold {len(texts):,} texts of {embeddings.shape[1]} numbers each, "
            f"more than a graph can carry; set transform.max_ads to at most {most:,}"
        )
    notes.write(notes_folder, same_embedding.find(texts, embeddings))
    fingerprints, order = sort_by_fingerprint(texts)
    return np.array(texts, dtype=object)[order], fingerprints, embeddings[order]
