"""Parts of the rows that are looked at by themselves: values of attributes, crosses, new ads.

What the slices are is decided once, from counts over all rows; each block of rows is then cut by
that plan, on whatever worker it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from components.errors import InputError
from components.evaluator.settings import EvaluatorSettings, SliceSettings
from components.evaluator.tables import TRAINING_ROWS
from components.features import Columns
from components.value_counts import ValueCounts

MISSING = "(missing)"
SEEN_IN_TRAINING = "ad_seen_in_training"

_MOST_DISTINCT_NUMBERS = 20  # Attributes with more are sliced by ranges.
_RANGES = 5

Values = tuple[str, ...]


@dataclass(frozen=True)
class Slice:
    """Rows that share a value.

    Attributes:
        where: the value of each column that makes the slice.
        rows: positions of the rows.
    """

    where: dict[str, str]
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class SliceSpec:
    """What makes slices, as TFMA's SlicingSpec.

    Attributes:
        keys: columns each of whose values makes a slice, or each combination of them.
        values: columns that must have a value, in every slice.
    """

    keys: Values
    values: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(given: SliceSettings) -> SliceSpec:
        """Returns what a setting names."""
        return SliceSpec(given.feature_keys, tuple(given.feature_values.items()))

    @property
    def columns(self) -> Values:
        """All the columns, in the order in which they name a slice."""
        return (*(name for name, _ in self.values), *self.keys)


@dataclass(frozen=True)
class SlicePlan:
    """How blocks of rows are cut into slices.

    Attributes:
        specs: what makes slices.
        edges: of the ranges by which a column is sliced; other columns are sliced by value.
        kept: the values that make slices, of specs that have more.
    """

    specs: tuple[SliceSpec, ...]
    edges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    kept: Mapping[SliceSpec, frozenset[Values]] = field(default_factory=dict)

    def slices(self, rows: pa.Table) -> Iterator[Slice]:
        """Yields the slices of a score table, those of a spec with most rows first."""
        if not len(rows):
            return
        names = {
            name: self._names(rows, name).combine_chunks().dictionary_encode()
            for name in {name for spec in self.specs for name in spec.columns}
        }
        done = set()
        for spec in self.specs:
            for part in _by_values({name: names[name] for name in spec.columns}):
                where = tuple(part.where.items())
                is_kept = spec not in self.kept or tuple(part.where.values()) in self.kept[spec]
                if is_kept and where not in done and part.where.items() >= set(spec.values):
                    done.add(where)
                    yield part

    def has_combined(self) -> bool:
        """Whether several columns make slices together."""
        return any(len(spec.keys) > 1 for spec in self.specs)

    def count(self, rows: pa.Table) -> Counter[tuple[SliceSpec, Values]]:
        """Counts the rows of the slices that more than one column makes."""
        return Counter(
            {
                (spec, tuple(part.where.values())): len(part.rows)
                for spec in self.specs
                if len(spec.keys) > 1
                for part in replace(self, specs=(spec,)).slices(rows)
            }
        )

    def keep_most(self, counts: Counter[tuple[SliceSpec, Values]], most: int) -> SlicePlan:
        """Returns the plan with only the `most` slices of each spec that was counted."""
        kept: dict[SliceSpec, set[Values]] = {}
        for (spec, values), _ in sorted(counts.items(), key=lambda each: (-each[1], each[0][1])):
            if len(kept.setdefault(spec, set())) < most:
                kept[spec].add(values)
        return replace(
            self, kept={**self.kept, **{spec: frozenset(values) for spec, values in kept.items()}}
        )

    def _names(self, rows: pa.Table, name: str) -> pa.ChunkedArray:
        """Names the values of a column: strings by themselves, numbers by value or range."""
        if name == SEEN_IN_TRAINING:
            return pc.if_else(pc.greater(rows[TRAINING_ROWS], 0), "yes", "no")
        if name in self.edges:
            numbers = rows[name].cast(pa.float64()).to_numpy()
            return pa.chunked_array([_ranges(numbers, self.edges[name])])
        return _as_text(rows[name])


def slice_specs(
    attributes: Sequence[str], names: Sequence[str], settings: EvaluatorSettings
) -> tuple[SliceSpec, ...]:
    """Returns what makes slices: every attribute, ads seen in training or not, and the settings.

    Args:
        attributes: the attributes of the data.
        names: all its columns.
        settings: with `crosses` and `slices`.

    Raises:
        InputError: a setting names a column that the data does not have.
    """
    for cross in settings.crosses:
        for name in sorted(set(cross) - set(attributes)):
            raise InputError(
                f"evaluator.crosses: {name}: no such attribute; there are {', '.join(attributes)}"
            )
    known = [*names, SEEN_IN_TRAINING]
    specs = [
        *(SliceSpec((name,)) for name in [*attributes, SEEN_IN_TRAINING]),
        *(SliceSpec(tuple(cross)) for cross in settings.crosses),
    ]
    for given in settings.slices:
        specs.append(SliceSpec.of(given))
        _check("evaluator.slices", specs[-1].columns, known)
    for rule in settings.rules:
        _check("evaluator.rules", rule.slice, known)
        if rule.slice:
            specs.append(SliceSpec((), tuple(rule.slice.items())))
    return tuple(dict.fromkeys(specs))


def _check(setting: str, named: Iterable[str], known: Sequence[str]) -> None:
    for name in named:
        if name not in known:
            raise InputError(f"{setting}: {name}: no such column; there are {', '.join(known)}")


class ColumnSummary(BaseModel):
    """What slicing needs to know of a column.

    Attributes:
        edges: of the ranges that make slices of many numbers.
        kept: names of the values that make slices, where only some do.
    """

    model_config = ConfigDict(frozen=True)

    edges: tuple[float, ...] | None = None
    kept: tuple[str, ...] | None = None

    @staticmethod
    def of(counts: ValueCounts, most: int) -> ColumnSummary:
        """Sums up a column, of which at most `most` values are to make slices."""
        values = counts.values()
        if not counts.is_text() and len(values.drop_null()) > _MOST_DISTINCT_NUMBERS:
            edges = np.unique(counts.quantiles(np.linspace(0, 1, _RANGES + 1).tolist()))
            return ColumnSummary(edges=tuple(edges.tolist()))
        if len(values) <= most:
            return ColumnSummary()
        names = _as_text(pa.chunked_array([values[:most]])).to_pylist()
        return ColumnSummary(kept=tuple(names))


def plan_slices(specs: tuple[SliceSpec, ...], columns: Mapping[str, ColumnSummary]) -> SlicePlan:
    """Decides how rows are cut, from what makes slices and from what the columns hold."""
    return SlicePlan(
        specs,
        {name: each.edges for name, each in columns.items() if each.edges is not None},
        {
            SliceSpec((name,)): frozenset((value,) for value in each.kept)
            for name, each in columns.items()
            if each.kept is not None
        },
    )


def slices(rows: pa.Table, columns: Columns, most: int) -> Iterator[Slice]:
    """Yields the slices of each attribute of a table.

    Args:
        rows: raw columns.
        columns: which of them are attributes.
        most: most slices of an attribute, those with most rows first.
    """
    summaries = {}
    for name in columns.attributes(rows.column_names):
        counts = ValueCounts()
        counts.add(rows[name])
        summaries[name] = ColumnSummary.of(counts, most)
    specs = tuple(SliceSpec((name,)) for name in summaries)
    yield from plan_slices(specs, summaries).slices(rows)


def _by_values(values: dict[str, pa.DictionaryArray]) -> Iterator[Slice]:
    """Yields the slices that share all `values`, those with most rows first."""
    code = np.zeros(len(next(iter(values.values()))), np.int64)
    for encoded in values.values():
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy()
    code = code.astype(np.min_scalar_type(code.max()))  # NumPy sorts short ones by counting
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for part in sorted(np.split(order, starts[1:]), key=len, reverse=True):
        yield Slice({name: column[int(part[0])].as_py() for name, column in values.items()}, part)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type):
        column = column.cast(pa.float64()).cast(pa.string())
    return pc.fill_null(column, MISSING)


def _ranges(numbers: NDArray[np.float64], edges: Sequence[float]) -> pa.Array:
    names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    position = np.searchsorted(edges[1:-1], numbers)
    named = pa.array(names).take(pa.array(position, mask=np.isnan(numbers)))
    return pc.fill_null(named, MISSING)


def label(where: Mapping[str, str]) -> str:
    """Names a slice, as in `att_device = mobile, att_os = ios`."""
    return ", ".join(f"{name} = {value}" for name, value in where.items())
