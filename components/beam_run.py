"""Calls of a function as the work of a Beam pipeline."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio

from components.read_artifact import read_file
from components.run import Run, in_threads
from components.write_artifact import write_file

_IN_MEMORY = "FnApiRunner"  # Beam's runner that does all in this process

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MakePipeline = Callable[[], AbstractContextManager[beam.Pipeline]]


class RunningExecutor(BaseBeamExecutor):
    """An executor of TFX whose work is done by a `Run` where a pipeline is not needed for more."""

    def _run(self, folder: str) -> Run:
        """Returns what does the work: Beam, or threads where Beam would have this process alone.

        Args:
            folder: For results on their way, which every worker reaches; it is removed again.
        """
        options = PipelineOptions(self._beam_pipeline_args).view_as(StandardOptions)
        if options.runner is None or options.runner.endswith(_IN_MEMORY):
            return in_threads
        return BeamRun(self._make_beam_pipeline, folder)


class BeamRun:
    """The `Run` of Beam's workers.

    Args:
        make_pipeline: Makes a Beam pipeline.
        folder: For the results, of which one is read at a time.
    """

    def __init__(self, make_pipeline: MakePipeline, folder: str) -> None:
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
