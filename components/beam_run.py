"""Calls of a function as the work of a Beam pipeline, where they would else be a loop."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import apache_beam as beam
from tfx.dsl.io import fileio

from components.read_artifact import read_file
from components.write_artifact import write_file

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class BeamRun:
    """Does what `map` does, on Beam's workers: results come in the order of the items.

    Args:
        make_pipeline: Makes a Beam pipeline.
        folder: For the results, one of which is held at a time; every worker reaches it.
    """

    def __init__(
        self, make_pipeline: Callable[[], AbstractContextManager[beam.Pipeline]], folder: str
    ) -> None:
        self._make_pipeline = make_pipeline
        self._folder = folder

    def __call__(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], /
    ) -> Iterator[_Result]:
        """Yields what the function returns for each item."""
        if not items:
            return
        folder = self._folder

        def call(number: int, item: _Item) -> None:
            write_file(folder, str(number), pickle.dumps(function(item)))

        with self._make_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(list(enumerate(items)))
                | beam.Reshuffle()
                | beam.MapTuple(call)
            )
        for number in range(len(items)):
            yield pickle.loads(read_file(folder, str(number)))
        fileio.rmtree(folder)
