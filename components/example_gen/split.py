"""Which rows are for evaluation: by place, by group or by time, never by the label."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow.compute as pc

from components.example_gen.blocks import Array, Block, column_of
from components.example_gen.settings import ReadingSettings
from components.example_gen.times import format_time, parse_times
from components.features import EVAL, TRAIN

# Most times that are counted one by one; where there are more, they are counted in steps.
MOST_TIMES = 1 << 20


class Splitter(Protocol):
    """Decides the split of rows."""

    def is_eval(self, name: str, block: Block) -> Array:
        """Returns which of a block's good rows are for evaluation, [rows] bool.

        Args:
            name: Of the file, under the input's folder.
            block: Some of its rows.
        """


def make_splitter(settings: ReadingSettings, boundary: int | None = None) -> Splitter:
    """Returns what splits as the settings say.

    Args:
        settings: `split` and `eval_share` are asked.
        boundary: For a split by time, from which time on rows are for evaluation, as
            `TimeCounts.boundary` gives it.
    """
    if settings.split.by:
        return ByGroup(settings.split.by, settings.eval_share)
    if settings.split.time is not None:
        if boundary is None:
            raise ValueError("a split by time needs the time from which rows are for evaluation")
        return ByTime(settings.split.time, boundary)
    return ByPlace(settings.eval_share)


def describe(
    settings: ReadingSettings, splits: Mapping[str, Counts], boundary: int | None = None
) -> str:
    """Says which rows are for evaluation, and how many."""
    rows = splits[EVAL].rows
    share = rows / max(1, rows + splits[TRAIN].rows)
    by, time = settings.split.by, settings.split.time
    how = "by chance"
    if by:
        how = f"whole groups of {', '.join(by)}, by chance"
    if boundary is not None:
        how = f"those from {format_time(boundary)} UTC on, by {time}"
    return f"{rows:,} rows ({share:.1%}) for evaluation: {how}"


@dataclass(frozen=True)
class ByPlace:
    """Rows by chance, drawn from the file's name and the row's number in it."""

    share: float

    def is_eval(self, name: str, block: Block) -> Array:
        return _of_places(name, block.numbers) < self.share


@dataclass(frozen=True)
class ByGroup:
    """Rows with the same values in some columns together; one without a value by its place."""

    columns: Sequence[str]
    share: float

    def is_eval(self, name: str, block: Block) -> Array:
        keys = np.zeros(len(block.good), np.uint64)
        missing = np.zeros(len(block.good), bool)
        for column in self.columns:
            values = column_of(block.good, column).dictionary_encode(null_encoding="encode")
            digests = [_digest(value or b"") for value in values.dictionary.to_pylist()]
            keys = _mix(keys) ^ np.array(digests, np.uint64)[values.indices.to_numpy()]
            missing |= block.good[column].is_null().to_numpy()
        drawn = np.where(missing, _of_places(name, block.numbers), _to_unit(_mix(keys)))
        return drawn < self.share


@dataclass(frozen=True)
class ByTime:
    """The rows from a time on."""

    column: str
    boundary: int

    def is_eval(self, name: str, block: Block) -> Array:
        times = parse_times(column_of(block.good, self.column))
        return pc.greater_equal(times, self.boundary).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class Counts:
    """How many rows, how many impressions they stand for, and how many of these are clicked."""

    rows: int = 0
    impressions: int = 0
    clicks: int = 0

    @staticmethod
    def of(impressions: Array, clicks: Array) -> Counts:
        """Returns the counts of rows [N] of so many impressions and clicks each."""
        return Counts(len(clicks), int(impressions.sum()), int(clicks.sum()))

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows + other.rows,
            self.impressions + other.impressions,
            self.clicks + other.clicks,
        )


class TimeCounts:
    """Counts rows and what came of them by time, to find a boundary that leaves a share after it.

    What it holds grows with the number of distinct times, up to `most`; where there are more, times
    are counted in steps of 2, 4, 8, ... microseconds, the fewest that do. The order in which rows
    come makes no difference.
    """

    def __init__(self, most: int = MOST_TIMES) -> None:
        self._most = most
        self._step = 1
        self._counts = np.zeros((0, 4), np.int64)  # time, rows, impressions, clicks; by time
        self._new: list[Array] = []

    def add(self, times: Array, impressions: Array, clicks: Array) -> None:
        """Counts rows.

        Args:
            times: [rows] microseconds since 1970.
            impressions: [rows] that each stands for.
            clicks: [rows] how many of these are clicked.
        """
        counts = [times, np.ones_like(times), impressions, clicks]
        self._new.append(np.stack(counts, axis=1).astype(np.int64))
        if sum(map(len, self._new)) > max(len(self._counts), self._most // 4):
            self._merge()

    def merge(self, other: TimeCounts) -> None:
        """Adds what another has counted, of at most as many times."""
        self._step = max(self._step, other._step)
        self._new += [other._counts, *other._new]
        self._merge()

    def boundary(self, share: float) -> int:
        """Returns the time from which on there are most nearly `share` of the rows.

        It is not the first of all times, unless there is no other.
        """
        self._merge()
        from_then_on = np.cumsum(self._counts[::-1, 1])[::-1]
        distance = np.abs(from_then_on - share * from_then_on[0])
        distance[0] = np.inf
        return int(self._counts[np.argmin(distance), 0])

    def split(self, boundary: int) -> tuple[Counts, Counts]:
        """Returns the counts before a boundary, and from it on."""
        self._merge()
        is_later = self._counts[:, 0] >= boundary
        before, later = (self._counts[rows, 1:].sum(0).tolist() for rows in (~is_later, is_later))
        return Counts(*before), Counts(*later)

    def _merge(self) -> None:
        counts = np.concatenate([self._counts, *self._new])
        self._new = []
        while True:
            counts[:, 0] -= counts[:, 0] % self._step
            times, which = np.unique(counts[:, 0], return_inverse=True)
            if len(times) <= self._most:
                break
            self._step *= 2
        sums = [np.bincount(which, counts[:, column]).astype(np.int64) for column in (1, 2, 3)]
        self._counts = np.stack([times, *sums], axis=1)


class SplitCounter:
    """Counts the rows and clicks of each split, of input that is still to be split."""

    def __init__(self, settings: ReadingSettings) -> None:
        self._settings = settings
        self._times = TimeCounts()
        self._counts = dict.fromkeys((TRAIN, EVAL), Counts())

    def add(self, name: str, block: Block, impressions: Array, clicks: Array) -> None:
        """Counts the good rows of a block.

        Args:
            name: Of its file, under the input's folder.
            block: Some of the file's rows.
            impressions: [rows] that each stands for.
            clicks: [rows] how many of these are clicked.
        """
        column = self._settings.split.time
        if column is not None:
            times = parse_times(column_of(block.good, column))
            self._times.add(times.to_numpy(), impressions, clicks)
            return
        is_eval = make_splitter(self._settings).is_eval(name, block)
        for split, rows in ((TRAIN, ~is_eval), (EVAL, is_eval)):
            self._counts[split] += Counts.of(impressions[rows], clicks[rows])

    def merge(self, other: SplitCounter) -> None:
        """Adds what another has counted."""
        self._times.merge(other._times)
        for split, counts in other._counts.items():
            self._counts[split] += counts

    def boundary(self) -> int | None:
        """Returns the time from which on rows are for evaluation; None unless times decide."""
        if self._settings.split.time is None:
            return None
        return self._times.boundary(self._settings.eval_share)

    def counts(self, boundary: int | None) -> dict[str, Counts]:
        """Returns the rows and clicks of each split; `boundary` is that of `boundary()`."""
        if boundary is None:
            return self._counts
        return dict(zip((TRAIN, EVAL), self._times.split(boundary), strict=True))


def _digest(value: bytes) -> int:
    return int.from_bytes(hashlib.sha256(value).digest()[:8], "little")


def _of_places(name: str, numbers: Array) -> Array:
    """Returns a number in [0, 1) of each row of a file, [rows]."""
    steps = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return _to_unit(_mix(steps + np.uint64(_digest(name.encode()))))


def _mix(keys: Array) -> Array:
    """Makes of each 64-bit number another, as far from the others' as by chance.

    SplitMix64 of Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
    2014, figure 13.
    """
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def _to_unit(keys: Array) -> Array:
    return (keys >> np.uint64(11)) * 2.0**-53
