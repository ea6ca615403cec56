"""Statistics from blocks of examples are those of the stock component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow_data_validation as tfdv
from tfx.components.statistics_gen import executor as stock
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Artifact, artifact_utils, standard_artifacts

from components.statistics.component import Executor
from tests.analysis import write_examples

IN_MEMORY = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]


def statistics(
    executor: type[BaseBeamExecutor], examples: Path, out: Path
) -> tuple[dict[str, Any], Artifact]:
    """Runs an executor; returns by split what it wrote, and the artifact."""
    read, written = standard_artifacts.Examples(), standard_artifacts.ExampleStatistics()
    read.uri, written.uri = str(examples), str(out)
    read.split_names = artifact_utils.encode_split_names(["train", "eval"])
    context = executor.Context(beam_pipeline_args=IN_MEMORY, tmp_dir=str(out / "tmp"))
    executor(context).Do({"examples": [read]}, {"statistics": [written]}, {})
    by_split = {
        split: tfdv.load_stats_binary(str(out / f"Split-{split}" / "FeatureStats.pb"))
        for split in ("train", "eval")
    }
    return by_split, written


def write_split(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    folder.mkdir(parents=True)
    half = len(rows) // 2
    write_examples(folder / "data-0.gz", rows[:half])
    write_examples(folder / "data-1.gz", rows[half:])


def test_blocks_give_what_single_rows_give(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In whole blocks, too, a column is missing: the attribute comes only with the last rows.
    late = [
        row | {"att_late": number / 8 if number > 250 else None} for number, row in enumerate(rows)
    ]
    write_split(tmp_path / "examples" / "Split-train", late)
    write_split(tmp_path / "examples" / "Split-eval", late[200:])
    monkeypatch.setattr("components.beam_source.ROWS", 16)

    ours, our_artifact = statistics(Executor, tmp_path / "examples", tmp_path / "ours")
    theirs, their_artifact = statistics(stock.Executor, tmp_path / "examples", tmp_path / "theirs")

    properties = [
        (each.mlmd_artifact.properties, each.mlmd_artifact.custom_properties)
        for each in (our_artifact, their_artifact)
    ]
    assert properties[0] == properties[1]

    assert ours["train"].datasets[0].num_examples == len(rows)
    for split, expected in theirs.items():
        (mine,), (other,) = ours[split].datasets, expected.datasets
        names = {each.path.step[0]: each for each in mine.features}
        assert set(names) == {each.path.step[0] for each in other.features}
        for each in other.features:
            assert names[each.path.step[0]] == each
