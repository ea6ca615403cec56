"""Writes tf.Examples into gzipped TFRecord files, dealt out in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, cycle

import tensorflow as tf
from tfx.components.example_gen import write_split
from tfx.dsl.io import fileio

_ROWS_PER_SHARD = 100_000
_MOST_SHARDS = 64
_GZIP_LEVEL = 3  # the last of zlib's fast ones


class SplitWriter:
    """Writes the shards of all splits, in a thread beside the one that makes the Examples.

    Args:
        folders: By split.
        rows: How many there are, about; a shard has 100,000.
    """

    def __init__(self, folders: Mapping[str, str], rows: int) -> None:
        count = max(1, min(-(-rows // _ROWS_PER_SHARD), _MOST_SHARDS))
        self._shards = {split: _open_shards(folder, count) for split, folder in folders.items()}
        self._turns = {split: cycle(shards) for split, shards in self._shards.items()}
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._written: Future[None] = self._thread.submit(self._write, {})

    def write(self, examples: Mapping[str, Sequence[bytes]]) -> None:
        """Writes serialized Examples by split, at the latest when the next ones are given."""
        self._written.result()
        self._written = self._thread.submit(self._write, examples)

    def close(self) -> None:
        self._thread.shutdown()
        for shard in chain.from_iterable(self._shards.values()):
            shard.close()
        self._written.result()

    def _write(self, examples: Mapping[str, Sequence[bytes]]) -> None:
        for split, part in examples.items():
            for example, shard in zip(part, self._turns[split], strict=False):
                shard.write(example)


def shard_name(number: int, count: int) -> str:
    """Returns the name of one of several files, as TFX names them."""
    return f"{write_split.DEFAULT_FILE_NAME}-{number:05d}-of-{count:05d}.gz"


def _open_shards(folder: str, count: int) -> list[tf.io.TFRecordWriter]:
    fileio.makedirs(folder)
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=_GZIP_LEVEL)
    return [
        tf.io.TFRecordWriter(f"{folder}/{shard_name(shard, count)}", options)
        for shard in range(count)
    ]
