"""Embeddings of texts, kept from run to run: BERT meets only texts that no earlier run met.

An embedding does not depend on what else is embedded with it, to the last bit, so that a run from
what is kept finds what a run from scratch finds. Two things would make it: the padding to the
longest text of a batch, so texts with the same number of tokens share one; and the rows of a matrix
that are left over where their number is no multiple of what the machine multiplies at once. That is
so where TensorFlow multiplies with oneDNN, see `pipeline.startup`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import tensorflow as tf

from components.output_file import output_file
from components.transform import text_encoder
from components.transform.text_encoder import Encoder

_LOGGER = logging.getLogger(__name__)

_BATCH = 128
_ROWS_AT_ONCE = 16
_KEPT_RUNS = 60  # that an embedding is kept for without being asked for


class EmbeddingStore:
    """Embeddings of one encoder, by text.

    Args:
        folder: Where they are kept; None to keep none.
        encoder_folder: The compiled text encoder.
    """

    def __init__(self, folder: Path | None, encoder_folder: str) -> None:
        self._encoder_folder = encoder_folder
        self._file = (
            None if folder is None else folder / f"{text_encoder.fingerprint(encoder_folder)}.arrow"
        )

    def embed(self, texts: Sequence[bytes], load: Callable[[], Encoder]) -> np.ndarray:
        """Returns the embeddings [n, H] float32 of n distinct texts.

        Args:
            texts: In UTF-8.
            load: Gives the encoder.
        """
        kept, vectors, unused = self._read()
        place = {text: number for number, text in enumerate(kept)}
        new = [text for text in texts if text not in place]
        if new:
            fresh = _embed(new, load(), text_encoder.lengths(self._encoder_folder, new))
            vectors = fresh if vectors is None else np.concatenate([vectors, fresh])
            place |= {text: number for number, text in enumerate(new, start=len(kept))}
        assert vectors is not None  # there are texts
        rows = np.array([place[text] for text in texts])
        unused = np.concatenate([unused + 1, np.zeros(len(new), np.int64)])
        unused[rows] = 0
        self._write([*kept, *new], vectors, unused)
        return vectors[rows]

    def _read(self) -> tuple[list[bytes], np.ndarray | None, np.ndarray]:
        if self._file is None or not self._file.exists():
            return [], None, np.zeros(0, np.int64)
        with pa.memory_map(str(self._file)) as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
            vectors = table["embedding"].chunk(0)
            width = vectors.type.list_size
            numbers = vectors.flatten().to_numpy().reshape(-1, width).copy()
            return table["text"].to_pylist(), numbers, table["unused"].to_numpy().copy()

    def _write(self, texts: list[bytes], vectors: np.ndarray, unused: np.ndarray) -> None:
        if self._file is None:
            return
        stays = np.flatnonzero(unused <= _KEPT_RUNS)
        numbers = pa.array(vectors[stays].ravel())
        table = pa.table(
            {
                "text": pa.array([texts[row] for row in stays], pa.binary()),
                "embedding": pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1]),
                "unused": unused[stays],
            }
        )
        with (
            output_file(self._file) as partial,
            pa.ipc.new_file(str(partial), table.schema) as writer,
        ):
            writer.write_table(table)


def _embed(texts: Sequence[bytes], encoder: Encoder, lengths: np.ndarray) -> np.ndarray:
    """Returns the embeddings [n, H] of texts with so many tokens each [n]."""
    start = time.perf_counter()
    order = np.argsort(lengths, kind="stable")
    vectors = []
    for _, group in groupby(order, key=lambda row: lengths[row]):
        rows = list(group)
        for first in range(0, len(rows), _BATCH):
            batch = [texts[row] for row in rows[first : first + _BATCH]]
            filled = batch + batch[:1] * (-len(batch) % _ROWS_AT_ONCE)
            vectors.append(encoder(tf.constant(filled)).numpy()[: len(batch)])
    _LOGGER.info("BERT embedded %d texts in %.3f s", len(texts), time.perf_counter() - start)
    embeddings = np.concatenate(vectors)
    return embeddings[np.argsort(order)]
