"""From blocks of scored rows to what TFMA's evaluators read.

TFMA's own extractors make a step of Python for each row, and each slice of it. Here an extract
holds all rows of a block that are in a slice, for metrics that can read so many at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray
from tensorflow_model_analysis.slicer.slicer_lib import slice_keys_to_numpy_array

from components.evaluator.click_metrics import NO_GROUP, SQUARED_WEIGHTS
from components.evaluator.folded_rows import Keys, hash_groups
from components.evaluator.slices import Slice, SlicePlan
from components.evaluator.tables import BASELINE_PROBABILITY
from components.features import PROBABILITY, Columns
from components.metrics import is_probability
from components.outcomes import weights_of

BLOCKS_STAGE = "ExtractSlicesOfBlocks"
ROWS_STAGE = "ExtractRows"

_BLOCK = "block"
_POSITIONS = "positions"


def slices_of_blocks(
    plan: SlicePlan, columns: Columns, has_baseline: bool, *, with_rows: bool
) -> tfma.extractors.Extractor:
    """Makes an extract of each slice of a block of scored rows, with the rows as arrays.

    Args:
        plan: how blocks are cut into slices.
        columns: which columns hold the text, the ids, the label and the attributes.
        has_baseline: whether the rows have scores of the model in service, too.
        with_rows: whether the extracts are to hold what `single_rows` needs. Beam pickles some of
            what passes to know its size, so that a whole block in each of them is no small matter.
    """
    return tfma.extractors.Extractor(
        BLOCKS_STAGE, beam.ParDo(_SliceBlock(plan, columns, has_baseline, with_rows))
    )


def single_rows() -> tfma.extractors.Extractor:
    """Makes an extract of each row of those: what every metric of TFMA can read."""
    return tfma.extractors.Extractor(ROWS_STAGE, beam.FlatMap(_rows))


class _SliceBlock(beam.DoFn):
    def __init__(
        self, plan: SlicePlan, columns: Columns, has_baseline: bool, with_rows: bool
    ) -> None:
        self._plan = plan
        self._columns = columns
        self._has_baseline = has_baseline
        self._with_rows = with_rows

    def process(self, extracts: tfma.types.Extracts) -> Iterator[tfma.types.Extracts]:
        block = pa.Table.from_batches([extracts[tfma.ARROW_RECORD_BATCH_KEY]])
        labels = block[self._columns.label].to_numpy()
        scores = {tfma.CANDIDATE_KEY: block[PROBABILITY].to_numpy()}
        if self._has_baseline:
            scores[tfma.BASELINE_KEY] = block[BASELINE_PROBABILITY].to_numpy()
        weights = weights_of(block)
        groups = {
            name: _hashed(block[name])
            for name in (self._columns.ad_id, self._columns.user_id)
            if name is not None
        }
        everything = Slice({}, np.arange(len(block)))
        for part in (everything, *self._plan.slices(block)):
            of_part = {name: values[part.rows] for name, values in scores.items()}
            yield {
                tfma.LABELS_KEY: labels[part.rows],
                tfma.PREDICTIONS_KEY: of_part
                if self._has_baseline
                else of_part[tfma.CANDIDATE_KEY],
                tfma.EXAMPLE_WEIGHTS_KEY: weights.sums[part.rows],
                SQUARED_WEIGHTS: weights.squares[part.rows],
                tfma.FEATURES_KEY: {name: values[part.rows] for name, values in groups.items()},
                tfma.SLICE_KEY_TYPES_KEY: slice_keys_to_numpy_array([tuple(part.where.items())]),
                **({_BLOCK: block, _POSITIONS: part.rows} if self._with_rows else {}),
            }


def _rows(extracts: tfma.types.Extracts) -> Iterator[tfma.types.Extracts]:
    """Yields the rows of an extract, those whose probabilities are ones."""
    labels, predictions = extracts[tfma.LABELS_KEY], extracts[tfma.PREDICTIONS_KEY]
    features = extracts[_BLOCK].take(extracts[_POSITIONS]).to_pylist()
    models = predictions.values() if isinstance(predictions, dict) else [predictions]
    usable = np.logical_and.reduce([is_probability(scores) for scores in models])
    for row in np.flatnonzero(usable).tolist():
        yield {
            tfma.LABELS_KEY: labels[row : row + 1],
            tfma.PREDICTIONS_KEY: _row(predictions, row),
            tfma.EXAMPLE_WEIGHTS_KEY: extracts[tfma.EXAMPLE_WEIGHTS_KEY][row : row + 1],
            tfma.FEATURES_KEY: {
                name: np.array([value])
                for name, value in features[row].items()
                if value is not None
            },
            tfma.SLICE_KEY_TYPES_KEY: extracts[tfma.SLICE_KEY_TYPES_KEY],
        }


def _row(predictions: Any, row: int) -> Any:
    if isinstance(predictions, dict):
        return {name: scores[row : row + 1] for name, scores in predictions.items()}
    return predictions[row : row + 1]


def _hashed(column: pa.ChunkedArray) -> Keys:
    """Hashes the values [N] of a column; a missing one is in no group."""
    encoded = column.combine_chunks().dictionary_encode()
    hashes = np.append(hash_groups(_names(encoded.dictionary)), np.uint64(NO_GROUP))
    positions: NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy()
    return hashes[positions]


def _names(values: pa.Array) -> NDArray[np.object_]:
    return np.array(values.cast(pa.string()).to_pylist(), object)
