"""Rows of equal label and score folded into one: the form in which metrics are merged.

Up to `most` folded rows, nothing is lost. Where there would be more, scores that differ only in
their last bits become one, by as few bits as it takes; where that is not enough within groups,
whole groups are left out, a pseudo-random half at a time. Either depends on the rows alone and not
on the order in which they are added and merged, so the result is the same on any number of workers.

There is one of these for each metric and slice, and Beam copies what passes from stage to stage:
their arrays are as narrow as their values allow, and compressed on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from components.metrics import Floats, Integers, Weights, is_probability

Keys = NDArray[np.uint64]

_SCORE_BITS = 31  # of a float32 that is not negative
_MOST_ROUNDED = 16  # bits; those that remain tell scores a hundredth apart
_LABEL = np.uint64(1)
_LEAST_COMPRESSED = 1 << 16  # bytes
_LEAST_PENDING = 1 << 14  # rows; folding fewer at a time would cost more than it saves


class Unfolded(NamedTuple):
    """Folded rows as arrays [N].

    Attributes:
        labels: 1 for a click, else 0.
        scores: [N] of each model.
        groups: numbers of the groups from 0; None where rows have none.
        weights: how much each row stands for.
        unusable: weight of the rows that were left out, as one of their scores is no probability.
        level: 0 if nothing was lost, see `FoldedRows`.
    """

    labels: Integers
    scores: tuple[Floats, ...]
    groups: Integers | None
    weights: Weights
    unusable: float
    level: int


class FoldedRows:
    """Labels with the scores of one model, or of two, and perhaps a group.

    Args:
        models: how many scores a row has, one or two.
        most: most folded rows to keep.

    Attributes:
        most: as given; may be raised before it is reached.
        level: how many last bits of a score are rounded, and beyond `_MOST_ROUNDED` how often the
            groups were halved.
        unusable: weight of the rows with a score that is no probability; they are not kept.
    """

    def __init__(self, models: int = 1, most: int = 1 << 20) -> None:
        self.most = most
        self.level = 0
        self.unusable = 0.0
        self._models = models
        self._parts: list[_Part] = []
        self._is_folded = False

    def add(
        self,
        labels: Integers,
        scores: Sequence[Floats],
        weights: Weights,
        groups: Keys | None = None,
    ) -> None:
        """Adds rows.

        Args:
            labels: [N] of 0 and 1.
            scores: [N] of each model.
            weights: how much each row stands for.
            groups: [N] hashes; rows with 0 are in no group and left out.
        """
        usable = np.logical_and.reduce([is_probability(score) for score in scores])
        self.unusable += float(weights.sums[~usable].sum())
        if groups is not None:
            usable &= groups != 0
        keys = np.zeros(int(usable.sum()), np.uint64)
        for score in scores:
            # Floats that are not negative have the order of their bits.
            bits = (score[usable].astype(np.float32) + np.float32(0)).view(np.uint32)
            keys = keys << np.uint64(_SCORE_BITS) | bits
        keys = keys << _LABEL | (labels[usable] > 0).astype(np.uint64)
        if self._models == 1:
            keys = keys.astype(np.uint32)
        of_rows = None if groups is None else groups[usable]
        self._append([_Part.of(of_rows, keys, weights.of(usable))])

    def merge(self, other: FoldedRows) -> None:
        """Adds the rows of another."""
        is_copy = other._is_folded and not self._parts and self.level <= other.level
        self.most = max(self.most, other.most)
        self.level = max(self.level, other.level)
        self.unusable += other.unusable
        self._append(other._parts)
        self._is_folded = is_copy

    @cached_property
    def unfolded(self) -> Unfolded:
        """The rows, for more than one reader; nothing is added or merged any more."""
        return self.unfold()

    def unfold(self) -> Unfolded:
        """Returns the rows, sorted by group and score."""
        self._fold()
        part = self._parts[0] if self._parts else _Part.empty()
        groups = None
        if part.groups is not None:
            groups = np.cumsum(np.diff(part.groups, prepend=part.groups[:1]) != 0)
        keys = part.keys.astype(np.uint64)
        return Unfolded(
            labels=(keys & _LABEL).astype(np.int64),
            scores=tuple(self._scores(keys, place) for place in range(self._models)),
            groups=groups,
            weights=part.weights(),
            unusable=self.unusable,
            level=self.level,
        )

    def __getstate__(self) -> dict[str, Any]:
        self._fold()
        state = {name: value for name, value in vars(self).items() if name != "unfolded"}
        return {**state, "_parts": [part.packed() for part in self._parts]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._parts = [_Part.unpacked(part) for part in state["_parts"]]

    def _scores(self, keys: Keys, place: int) -> Floats:
        """Returns the scores of a model; one that stands for several is in their middle."""
        shift = 1 + _SCORE_BITS * (self._models - 1 - place)
        bits = keys >> np.uint64(shift) & np.uint64((1 << _SCORE_BITS) - 1)
        if rounded := min(self.level, _MOST_ROUNDED):
            bits |= np.uint64(1 << (rounded - 1))
        scores = bits.astype(np.uint32).view(np.float32).astype(np.float64)
        return np.minimum(scores, 1)

    def _append(self, parts: Sequence[_Part]) -> None:
        self._parts = [*self._parts, *parts]
        self._is_folded = False
        pending = sum(len(part.keys) for part in self._parts[1:])
        if self._parts and pending > max(len(self._parts[0].keys) // 2, _LEAST_PENDING):
            self._fold()

    def _fold(self) -> None:
        if self._is_folded or not self._parts:
            return
        whole = self._round(_concatenate(self._parts)).fold()
        while len(whole.keys) > self.most and (
            self.level < _MOST_ROUNDED or whole.groups is not None
        ):
            self.level += 1
            whole = self._round(whole).fold()
        self._parts = [whole]
        self._is_folded = True

    def _round(self, part: _Part) -> _Part:
        """Brings rows to the present level."""
        if not self.level:
            return part
        bits = (1 << min(self.level, _MOST_ROUNDED)) - 1
        rounded = sum(bits << (1 + _SCORE_BITS * place) for place in range(self._models))
        kept = np.uint64(~rounded & (2**64 - 1)).astype(part.keys.dtype)
        part = part._replace(keys=part.keys & kept)
        halvings = self.level - _MOST_ROUNDED
        if halvings <= 0 or part.groups is None:
            return part
        return part.take(part.groups >> np.uint64(64 - halvings) == 0)


def hash_groups(names: NDArray[np.object_]) -> Keys:
    """Returns a hash of each name [N], the same in every process and never 0."""
    return np.maximum(pd.util.hash_array(names), np.uint64(1))


class _Part(NamedTuple):
    """Rows as arrays [N].

    Attributes:
        groups: hashes; None where rows have none.
        keys: scores and label; of one model 32 bits wide.
        sums: of the weights, as narrow as they allow.
        squares: sums of the squares of the weights; None where they are the sums.
    """

    groups: Keys | None
    keys: NDArray[Any]
    sums: NDArray[Any]
    squares: Floats | None

    @staticmethod
    def of(groups: Keys | None, keys: Keys, weights: Weights) -> _Part:
        """Returns rows with narrow arrays."""
        same = np.array_equal(weights.sums, weights.squares)
        return _Part(groups, keys, _narrow(weights.sums), None if same else weights.squares)

    @staticmethod
    def empty() -> _Part:
        return _Part(None, np.zeros(0, np.uint64), np.zeros(0), None)

    def weights(self) -> Weights:
        """Returns how much each row stands for."""
        sums = self.sums.astype(np.float64)
        return Weights(sums, sums if self.squares is None else self.squares)

    def take(self, rows: Integers | NDArray[np.bool_]) -> _Part:
        groups = None if self.groups is None else self.groups[rows]
        squares = None if self.squares is None else self.squares[rows]
        return _Part(groups, self.keys[rows], self.sums[rows], squares)

    def fold(self) -> _Part:
        """Sorts by group and key, and makes one row of equal ones."""
        if not len(self.keys):
            return self
        if self.groups is None:
            order = np.argsort(self.keys)
        else:
            order = np.lexsort((self.keys, self.groups))
        whole = self.take(order)
        is_new = np.append(True, whole.keys[1:] != whole.keys[:-1])
        if whole.groups is not None:
            is_new[1:] |= whole.groups[1:] != whole.groups[:-1]
        starts = np.flatnonzero(is_new)
        sums = np.add.reduceat(whole.sums, starts, dtype=np.float64)
        squares = None if whole.squares is None else np.add.reduceat(whole.squares, starts)
        groups = None if whole.groups is None else whole.groups[starts]
        return _Part(groups, whole.keys[starts], _narrow(sums), squares)

    def packed(self) -> _Part | bytes:
        """Returns the rows as a compressed Arrow stream, unless they are few."""
        there = {name: column for name, column in self._asdict().items() if column is not None}
        if sum(column.nbytes for column in there.values()) < _LEAST_COMPRESSED:
            return self
        rows = pa.record_batch({name: pa.array(column) for name, column in there.items()})
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema, options=options) as stream:
            stream.write(rows)
        return sink.getvalue().to_pybytes()

    @staticmethod
    def unpacked(stream: _Part | bytes) -> _Part:
        """Returns the rows again."""
        if isinstance(stream, _Part):
            return stream
        rows = pa.ipc.open_stream(stream).read_all()
        there: dict[str, Any] = {name: rows[name].to_numpy() for name in rows.column_names}
        return _Part(**{"groups": None, "squares": None, **there})


def _concatenate(parts: Sequence[_Part]) -> _Part:
    groups = [part.groups for part in parts if part.groups is not None]
    have_squares = any(part.squares is not None for part in parts)
    return _Part(
        np.concatenate(groups) if groups else None,
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.sums for part in parts]),
        np.concatenate([part.weights().squares for part in parts]) if have_squares else None,
    )


def _narrow(sums: Floats) -> NDArray[Any]:
    """Returns weights as the smallest unsigned integers that equal them, where there are such."""
    if not len(sums) or not (sums >= 0).all() or (sums != np.floor(sums)).any():
        return sums
    most = sums.max()
    return sums.astype(np.min_scalar_type(int(most))) if most < 2**32 else sums
