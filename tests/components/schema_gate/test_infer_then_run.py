"""A draft allows the data that it was drafted from, in each split that a run makes of it."""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import tensorflow_data_validation as tfdv
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.errors import InputError
from components.example_gen.csv_reader import check_input, require_splits
from components.example_gen.examples import examples_by_split
from components.example_gen.layout import find_layout
from components.example_gen.parts import find_parts
from components.example_gen.settings import ReadingSettings, SplitSettings
from components.features import Columns
from components.findings import Finding
from components.schema_gate.anomalies import misfits
from components.schema_gate.infer import infer_schema, parse, statistics

FIELD = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "", "0", "1", "007", "2", "-1.5", "1e308", "inf", "nan", "NA", "a|b"]),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
)


def examples_of(file: Path, reading: ReadingSettings) -> dict[str, list[bytes]]:
    """The serialized Examples of each split of a small file."""
    layout, summary = find_layout(file), check_input(file, reading)
    (part,) = find_parts(layout.files())["whole"]
    rows = defaultdict(list)
    for of_splits in examples_by_split(part, layout.base, reading, summary):
        for split, examples in of_splits.items():
            rows[split] += examples
    return rows


def misfits_of(file: Path, reading: ReadingSettings) -> list[Finding]:
    """What of each split does not fit the draft and would stop a run."""
    require_splits(check_input(file, reading))
    schema = parse(infer_schema(file, reading))
    found = []
    for split, examples in examples_of(file, reading).items():
        seen = statistics([ExamplesToRecordBatchDecoder().DecodeBatch(examples)])
        anomalies = tfdv.validate_statistics(seen, schema)
        found += misfits(split, anomalies, seen, schema, reading.columns)
    return [finding for finding in found if finding.stops]


@settings(max_examples=15, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(FIELD, FIELD, st.sampled_from("abc"), st.sampled_from("01")),
        min_size=40,
        max_size=90,
    ),
    st.sampled_from([{}, {"by": ("att_a", "att_b")}]),
)
def test_a_run_on_the_data_of_a_draft_is_not_stopped(
    rows: list[tuple[str, ...]], split: dict[str, tuple[str, ...]]
) -> None:
    reading = ReadingSettings(split=SplitSettings(**split))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ads.csv"
        with file.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["att_a", "att_b", "text", "message_id", "clicked"])
            writer.writerows([a, b, f"Ad {ad}", ad, clicked] for a, b, ad, clicked in rows)
        try:
            require_splits(check_input(file, reading))
        except InputError:
            assume(False)
        assert misfits_of(file, reading) == []


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.951, 0.999])
def test_another_split_of_the_same_rows_is_within_chance_of_the_draft(
    tmp_path: Path, share: float
) -> None:
    draw = np.random.default_rng(0)
    file = tmp_path / "ads.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["att_a", "text", "message_id", "clicked"])
        for number in range(600):
            value = draw.choice(["x", "y"]) if draw.random() < share else ""
            writer.writerow([value, f"Ad {number % 7}", number % 7, number % 2])
    schema = parse(infer_schema(file, ReadingSettings()))
    for seed in range(20):
        part = draw.random(600) < 0.2
        lines = file.read_text(encoding="utf-8").splitlines()
        other = tmp_path / f"{seed}.csv"
        kept = [line for line, there in zip(lines[1:], part, strict=True) if there]
        other.write_text("\n".join([lines[0], *kept]) + "\n", encoding="utf-8")
        examples = [*chain.from_iterable(examples_of(other, ReadingSettings()).values())]
        seen = statistics([ExamplesToRecordBatchDecoder().DecodeBatch(examples)])
        anomalies = tfdv.validate_statistics(seen, schema)
        assert [*misfits("eval", anomalies, seen, schema, Columns())] == []
