"""What must be known of the splits: the same from example_gen's counts and from the rows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tfx.types import artifact_utils, standard_artifacts

from components.evaluator.survey import Survey, survey
from components.evaluator.tables import TEXTS_FILE
from components.example_gen.component import csv_example_gen
from components.example_gen.executor import ColumnarCsvExecutor
from components.example_gen.layout import find_layout
from components.example_gen.settings import ReadingSettings
from components.features import Columns


def test_counts_tell_what_the_rows_do(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(
            ["att_age", "att_share", "att_device", "att_none", "text", "message_id", "clicked"]
        )
        for number in range(2000):
            ad, clicked = draw.integers(0, 7), int(draw.random() < 0.3)
            device = draw.choice(["mobile", "täblet", ""])
            age, share = draw.choice(["", "18", "42"]), draw.integers(0, 9) / 8
            out.writerow([age, share, device, "", f"Ad {ad}", f"ad-{number % 3}", clicked])
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "examples")
    node = csv_example_gen(find_layout(tmp_path / "in.csv"), ReadingSettings())
    ColumnarCsvExecutor().Do({}, {"examples": [examples]}, dict(node.exec_properties))
    files = {
        split: sorted(map(str, Path(artifact_utils.get_split_uri([examples], split)).iterdir()))
        for split in ("train", "eval")
    }

    def found(name: str) -> tuple[Survey, dict[str, int]]:
        work = tmp_path / name
        seen = survey(map, examples.uri, files, Columns(), 100, str(work))
        texts = pq.read_table(work / TEXTS_FILE)
        assert texts.schema.field("values").type == pa.string()
        return seen, dict(zip(*texts.to_pydict().values(), strict=True))

    by_counts = found("counts")
    for file in Path(examples.uri).glob("counts-*"):
        file.unlink()
    assert found("rows") == by_counts
    assert by_counts[0].types["att_share"] == "float"
    assert "att_none" not in by_counts[0].types
