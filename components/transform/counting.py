"""Counting distinct strings over a whole dataset, batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import apache_beam as beam
import numpy as np


class CountDistinct(beam.CombineFn):
    """How often each string occurs, over batches of (strings,) of any shape.

    It holds all distinct strings in a dictionary: faster than a shuffle where they fit in memory.
    """

    def create_accumulator(self) -> Counter[bytes]:
        return Counter()

    def add_input(self, counts: Counter[bytes], batch: tuple[np.ndarray]) -> Counter[bytes]:
        counts.update(batch[0].ravel().tolist())
        return counts

    def merge_accumulators(self, several: Iterable[Counter[bytes]]) -> Counter[bytes]:
        total: Counter[bytes] = Counter()
        for counts in several:
            total.update(counts)
        return total

    def extract_output(self, counts: Counter[bytes]) -> Counter[bytes]:
        return counts


def most_frequent(counts: Counter[bytes], most: int) -> list[bytes]:
    """Returns the `most` most frequent strings, ties in byte order so that every run agrees."""
    return sorted(counts, key=lambda string: (-counts[string], string))[:most]
