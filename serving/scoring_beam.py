"""Every ad for every user as an Apache Beam job, for user files that outgrow one machine.

A file is read by one worker at a time, because a quoted line break makes a CSV file one piece; its
blocks of users are scored by any worker. The user tower and the ads' embeddings travel with the
job, so workers need to reach the users' files and the folder for the scores, nothing else.

What they write lies in a folder of its own in there until the job has ended well: scores are all
there, or none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from threadpoolctl import threadpool_limits

from components.errors import InputError
from components.example_gen.csv_reader import read_batches
from components.example_gen.csv_types import TEXT, Types
from components.example_gen.input_files import read_header
from components.example_gen.layout import is_data
from components.example_gen.settings import ReadingSettings
from components.features import LOGIT_EMBEDDING, USER_TOWER, Columns
from serving.exported import Exported
from serving.raw_rows import typed, types_for
from serving.scoring import Ads, Scored, in_blocks, make_scorer, with_scores, write_parquet
from serving.towers import Towers

_USERS = "users"
_PARTIAL = ".partial"  # The folder of what is written, until all is.

_Part = tuple[str, pa.Table]


def score_on_beam(
    serving_root: Path,
    users: str,
    ads: Path,
    out: str,
    best: int | None = None,
    *,
    arguments: Sequence[str],
) -> Scored:
    """Does what `scoring.score` does on a Beam runner.

    Args:
        serving_root: the folder that a run pushed to.
        users: CSV file, folder, or pattern of files, also in an object store; all of one header.
        ads: CSV input with ad ids and texts.
        out: folder for Parquet files, also in an object store.
        best: keep so many ads a user, best first; a column for every ad if unset.
        arguments: Beam's command line, as `--runner=DataflowRunner`.

    Raises:
        InputError: an input cannot be used, or `out` is not empty.
    """
    _check_empty(out)
    towers = Towers(serving_root)
    files = _files(users)
    header = read_header(files[0], ReadingSettings(columns=towers.columns))
    types = types_for(files[0], header.names, towers.user_tower.inputs)
    catalogue = Ads.of(ads, towers)
    scorer = make_scorer(catalogue, best)
    scorer.check(types)
    tower = _contents(towers.in_service.folder(USER_TOWER))
    partial = FileSystems.join(out, _PARTIAL)
    _remove(partial)
    FileSystems.mkdirs(partial)
    pipeline = beam.Pipeline(options=PipelineOptions(list(arguments)))
    _ = (
        pipeline
        | beam.Create(list(enumerate(files)))
        | "Spread files" >> beam.Reshuffle()
        | beam.FlatMapTuple(_Read(towers.columns, types, scorer.users))
        | "Spread blocks" >> beam.Reshuffle()
        | beam.ParDo(_Score(tower, towers.version, catalogue, best, partial, types))
    )
    try:
        result = pipeline.run()
        result.wait_until_finish()
        _move(partial, out)
    finally:
        _remove(partial)
    (counter,) = result.metrics().query(MetricsFilter().with_name(_USERS))["counters"]
    return Scored(counter.committed, len(catalogue.ids), towers.version)


class _Read:
    """Cuts a file into named blocks of users."""

    def __init__(self, columns: Columns, types: Types, rows: int) -> None:
        self._settings = ReadingSettings(columns=columns)
        self._types = types
        self._rows = rows

    def __call__(self, number: int, file: str) -> Iterator[_Part]:
        if set(read_header(file, self._settings).names) != set(self._types):
            raise InputError(f"{file}: expected the columns {', '.join(self._types)}")
        as_texts = dict.fromkeys(self._types, TEXT)
        batches = map(pa.table, read_batches([file], self._settings, as_texts, []))
        for block, users in enumerate(in_blocks(batches, self._rows)):
            yield f"part-{number:05}-{block:05}.parquet", users


class _Score(beam.DoFn):
    """Writes a block of users with their scores."""

    def __init__(
        self,
        tower: Mapping[str, bytes],
        version: int,
        ads: Ads,
        best: int | None,
        out: str,
        types: Types,
    ) -> None:
        self._tower = tower
        self._version = version
        self._ads = ads
        self._best = best
        self._out = out
        self._types = types

    def setup(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._tower.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            self._loaded = Exported(Path(folder))
        self._scorer = make_scorer(self._ads, self._best)
        threadpool_limits(1)  # for good: the runner has a worker a core

    def process(self, part: _Part) -> None:
        name, users = part
        embeddings = self._loaded.call(typed(users, self._types, name), LOGIT_EMBEDDING)
        scores = self._scorer.score(embeddings)
        with FileSystems.create(FileSystems.join(self._out, name)) as file:
            write_parquet(with_scores(users, scores, self._version), file)
        Metrics.counter(__name__, _USERS).inc(len(users))


def _check_empty(out: str) -> None:
    if _files_in(out):
        raise InputError(f"{out}: expected an empty folder, or none yet, for the scores")


def _files_in(folder: str) -> list[str]:
    found = FileSystems.match([FileSystems.join(folder, "*")])[0].metadata_list
    return [match.path for match in found]


def _move(partial: str, out: str) -> None:
    parts = _files_in(partial)
    names = [FileSystems.split(part)[1] for part in parts]
    FileSystems.rename(parts, [FileSystems.join(out, name) for name in names])


def _remove(folder: str) -> None:
    FileSystems.delete(_files_in(folder))
    if FileSystems.exists(folder):  # in an object store, it went with its files
        FileSystems.delete([folder])


def _files(users: str) -> list[str]:
    is_folder = Path(users).is_dir()
    found = FileSystems.match([f"{users}/*" if is_folder else users])[0].metadata_list
    paths = sorted(match.path for match in found)
    files = [path for path in paths if not is_folder or is_data(Path(path).name)]
    if not files:
        raise InputError(f"{users}: no such file; give a CSV file, a folder or a pattern")
    return files


def _contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
