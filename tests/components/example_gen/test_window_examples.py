"""The Examples of a window: what they hold, and what is read again when something changes."""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import artifact_utils, standard_artifacts

from components.errors import InputError
from components.example_gen.component import csv_example_gen
from components.example_gen.counts_file import read_counts
from components.example_gen.csv_reader import check_input
from components.example_gen.executor import QUARANTINE_FILE, ColumnarCsvExecutor
from components.example_gen.settings import ReadingSettings, WindowSettings
from components.example_gen.span_store import SpanStore
from components.example_gen.spans import SpanLayout


class Settings(WindowSettings, ReadingSettings):
    pass


def write_day(folder: Path, day: int, rows: int = 30, age: str = "") -> None:
    draw = np.random.default_rng(day)
    lines = [
        f"{age or draw.integers(18, 80)},{draw.choice(['a', 'b', ''])},Ad {day % 4},m{day % 4},"
        f"{int(number % 3 == 0)}"
        for number in range(rows)
    ]
    file = folder / f"day=2026-11-{day:02d}" / "part.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(["att_age,att_site,text,message_id,clicked", *lines]) + "\n")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for day in range(1, 6):
        write_day(tmp_path / "logs", day)
    return tmp_path / "logs"


class Runs:
    """Runs example_gen on a log, each time into a folder of its own."""

    def __init__(self, logs: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.pattern = f"{logs}/day={{YYYY}}-{{MM}}-{{DD}}/*.csv"
        self.store = logs.parent / "store"
        self._folder = logs.parent
        self._log = caplog
        self._count = 0

    def __call__(self, *, kept: bool = True, **settings: object) -> Path:
        """Returns the folder of the Examples."""
        self._count += 1
        self._log.clear()
        both = Settings(**{"window": 4, **settings})
        layout = SpanLayout.of(self.pattern, both)
        reading = ReadingSettings(**{n: getattr(both, n) for n in ReadingSettings.model_fields})
        node = csv_example_gen(layout, reading, "", str(self.store) if kept else None)
        artifact = standard_artifacts.Examples()
        artifact.uri = str(self._folder / f"examples-{self._count}")
        with self._log.at_level(logging.INFO, "components"):
            ColumnarCsvExecutor().Do({}, {"examples": [artifact]}, dict(node.exec_properties))
        assert artifact_utils.decode_split_names(artifact.split_names) == ["train", "eval"]
        return Path(artifact.uri)

    def were_read(self) -> list[int]:
        """Returns the days whose Examples the last run made."""
        said = [record.getMessage() for record in self._log.records]
        return sorted(int(each.split("2026-11-")[1][:2]) for each in said if each[:5] == "read ")


@pytest.fixture
def run(logs: Path, caplog: pytest.LogCaptureFixture) -> Runs:
    return Runs(logs, caplog)


def examples(folder: Path, split: str) -> list[bytes]:
    files = sorted(map(str, (folder / f"Split-{split}").iterdir()))
    return [each.numpy() for each in tf.data.TFRecordDataset(files, "GZIP")]


def same(one: Path, other: Path) -> bool:
    """Whether two folders of Examples hold the same files, byte for byte."""
    names = [
        sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
        for root in (one, other)
    ]
    return names[0] == names[1] and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names[0]
    )


def test_the_newest_day_is_for_evaluation_and_only_it_is_read(run: Runs, logs: Path) -> None:
    first = run()
    assert run.were_read() == [2, 3, 4, 5]
    assert (len(examples(first, "train")), len(examples(first, "eval"))) == (90, 30)
    write_day(logs, 6, rows=40)
    second = run()
    assert run.were_read() == [6]
    assert (len(examples(second, "train")), len(examples(second, "eval"))) == (90, 40)
    assert same(second, run(kept=False))
    assert run.were_read() == [3, 4, 5, 6]
    assert len(list((run.store / "examples").iterdir())) == 4  # what left the window is gone
    assert len(list((run.store / "counts").iterdir())) == 4


def test_a_day_that_changed_is_read_again_and_named(run: Runs, logs: Path) -> None:
    settings = Settings(window=4)
    store = SpanStore(run.store)
    check_input(Path(run.pattern), settings, store=store)
    run()
    file = logs / "day=2026-11-03" / "part.csv"
    before = file.stat()
    file.write_text(file.read_text().replace(",1\n", ",0\n", 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = check_input(Path(run.pattern), settings, store=store)
    assert "changed since they were read, and read again: 2026-11-03" in found.warnings
    changed = run()
    assert run.were_read() == [3]
    assert same(changed, run(kept=False))
    assert not check_input(Path(run.pattern), settings, store=store).warnings


def test_types_are_those_of_the_window_whatever_the_order_of_the_days(
    run: Runs, logs: Path
) -> None:
    run()
    write_day(logs, 6, age="35.5")
    as_numbers = run()
    assert run.were_read() == [3, 4, 5, 6]
    feature = tf.train.Example.FromString(examples(as_numbers, "train")[0]).features.feature
    assert feature["att_age"].WhichOneof("kind") == "float_list"
    assert same(as_numbers, run(kept=False))
    run(until="2026-11-05")
    assert run.were_read() == [2, 3, 4, 5]  # whole numbers once more


def test_settings_that_change_what_is_read_are_obeyed_and_others_cost_nothing(run: Runs) -> None:
    run()
    run(eval_spans=2)
    assert run.were_read() == []
    run(categorical=("att_age",))
    assert run.were_read() == [2, 3, 4, 5]


def test_counts_are_those_of_the_examples(run: Runs) -> None:
    folder = run()
    for split in ("train", "eval"):
        counts = read_counts(str(folder), split)
        assert counts is not None
        parsed = map(tf.train.Example.FromString, examples(folder, split))
        rows = [each.features.feature for each in parsed]
        assert counts.rows == len(rows)
        kinds = {"att_site": "bytes_list", "att_age": "int64_list", "clicked": "int64_list"}
        for name, kind in kinds.items():
            expected = Counter(next(iter(getattr(row[name], kind).value), None) for row in rows)
            table = counts.columns[name].to_pydict()
            assert dict(zip(table["value"], table["rows"], strict=True)) == expected
    assert read_counts(str(folder), "other") is None


def test_a_bad_row_is_refused_or_set_aside_once_more_in_each_run(run: Runs, logs: Path) -> None:
    file = logs / "day=2026-11-04" / "part.csv"
    file.write_text(file.read_text() + "20,a,Ad,m,maybe\n")
    with pytest.raises(InputError, match="expected 0 or 1, got 'maybe' on line 32"):
        run()
    with pytest.raises(InputError, match="expected 0 or 1, got 'maybe' on line 32"):
        run()
    for _ in range(2):
        folder = run(bad_rows="quarantine")
        assert "maybe" in (folder / QUARANTINE_FILE).read_text()
        assert len(examples(folder, "train")) == 90


def test_a_split_without_clicks_is_refused(run: Runs, logs: Path) -> None:
    file = logs / "day=2026-11-05" / "part.csv"
    file.write_text(file.read_text().replace(",1\n", ",0\n"))
    with pytest.raises(InputError, match="eval: column clicked is 0 in all 30 good rows"):
        run()
