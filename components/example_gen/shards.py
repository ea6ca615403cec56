"""Writes tf.Examples into gzipped TFRecord files, dealt out in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, cycle

import tensorflow as tf
from tfx.components.example_gen import write_split

_GZIP_LEVEL = 3  # the last of zlib's fast ones


class SplitWriter:
    """Writes Examples into shards by split, in a thread beside the one that makes them.

    Args:
        shards: The files of each split.
    """

    def __init__(self, shards: Mapping[str, Sequence[str]]) -> None:
        self._shards = {split: [*map(_open_shard, files)] for split, files in shards.items()}
        self._turns = {split: cycle(files) for split, files in self._shards.items()}
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


def _open_shard(file: str) -> tf.io.TFRecordWriter:
    options = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=_GZIP_LEVEL)
    return tf.io.TFRecordWriter(file, options)
