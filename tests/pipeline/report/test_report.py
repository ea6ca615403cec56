"""The report as a file: whole, small, quick, harmless."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.evaluator.verdict import read_verdict
from components.findings import Finding
from pipeline.report.report import write_report
from pipeline.run_record import RunRecord

if TYPE_CHECKING:
    from conftest import Runs
else:
    Runs = Any

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def runs(new_runs: Callable[[], Runs]) -> Runs:
    return new_runs()


@pytest.fixture(scope="module")
def first(runs: Runs) -> RunRecord:
    return runs.make("pushed", version=1)


def text_of(file: Path) -> str:
    """What a reader sees, more or less."""
    page = re.sub(r"(?s)<(script|style).*?</\1>", " ", file.read_text(encoding="utf-8"))
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_every_line_of_the_verdict_is_in_it(runs: Runs) -> None:
    record = runs.make("not blessed", min_auc=0.99, min_slice_auc=0.95, max_ece=0.5)
    page = text_of(write_report(record, None))
    blessing = record.output("evaluator", "blessing")
    verdict = read_verdict(str(blessing))
    assert len(verdict.judgements) > 8
    failed = sum(judgement.passed is False for judgement in verdict.judgements)
    assert f"{failed} of {len(verdict.judgements)} judgements failed" in page
    for judgement in verdict.judgements:
        for cell in judgement.cells():
            assert cell in page


@pytest.mark.parametrize(
    ("status", "title", "lead"),
    [
        ("pushed", "Pushed as version 2", "It takes over from version 1."),
        ("not blessed", "Not blessed", "Nothing was pushed; version 1 stays in service."),
        (
            "stopped by data",
            "Stopped by the data",
            "Nothing was trained or pushed; version 1 stays in service.",
        ),
        ("failed", "Failed", "Nothing was pushed; version 1 stays in service."),
    ],
)
def test_how_the_run_ended_is_said_first(
    runs: Runs, first: RunRecord, status: str, title: str, lead: str
) -> None:
    record = runs.make(status, version=2 if status == "pushed" else None)
    page = text_of(write_report(record, first))
    assert page.index(title) < page.index(lead) < page.index("Since the model in service")


def test_what_stopped_the_run_is_a_table(runs: Runs) -> None:
    record = runs.make("stopped by data", message="the data does not fit:\n\ntable\n\nCorrect it")
    record.findings = [
        Finding(split="eval", column="att_x", problem="new", detail="5%: <b>", stops=True),
        Finding(split="train", column="", problem="fewer clicks", detail="by half"),
    ]
    page = text_of(write_report(record, None))
    stopped, noticed = page.index("What stopped the run"), page.index("Also noticed")
    assert stopped < page.index("att_x eval new 5%: <b>") < noticed
    assert noticed < page.index("– train fewer clicks by half") < page.index("Correct it")


def test_exports_that_cannot_be_served_are_named(runs: Runs) -> None:
    whole = text_of(write_report(runs.make("pushed", version=1), None))
    assert "The exports were served by the local server, and asked about 64 rows" in whole
    assert "4 checks passed" in whole
    broken = text_of(write_report(runs.make("not blessed", broken="item_tower"), None))
    assert "The model passed the gate, but its exports cannot be served." in broken
    assert "FAIL item_tower, loading no such op: <Odd> it loads" in broken
    assert "3 checks passed" in broken


def test_the_first_run_takes_over_from_nothing(runs: Runs) -> None:
    page = text_of(write_report(runs.make("pushed", version=1), None))
    assert "takes over" not in page
    assert "Since the model in service" not in page


def test_it_tells_what_changed_since_the_model_in_service(runs: Runs, first: RunRecord) -> None:
    record = runs.make("pushed", version=2, rows=2000, in_service=1, min_auc=0.65)
    page = text_of(write_report(record, first))
    assert "Both models scored the same 2,000 rows." in page
    assert "rows 15,000 10,000" in page  # what the first run read, and this one
    assert "evaluator.min_auc 0.6 0.65" in page
    assert "evaluator.max_ece" not in page.split("Quality")[0]  # is the same


def test_notes_warnings_bad_rows_and_the_split_are_in_it(runs: Runs) -> None:
    page = text_of(write_report(runs.make("pushed", version=1), None))
    assert "att_days train drifted by <0.2>" in page
    assert "an ad id has two texts" in page
    assert "2 bad rows set aside" in page
    assert "Split: 20 rows (20.0%) for evaluation" in page


def test_what_data_says_is_never_taken_for_markup(runs: Runs) -> None:
    page = write_report(runs.make("pushed", version=1), None).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(&#39;an ad&#39;)" in page
    assert "<i>television" not in page


def test_it_loads_nothing(runs: Runs) -> None:
    page = write_report(runs.make("pushed", version=1), None).read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    markup = re.sub(r"(?s)<script.*?</script>", "", page)
    assert all(address.startswith("#") for address in re.findall(r'(?:src|href)="(.*?)"', markup))
    assert not re.search(r"<(img|link|iframe|object|embed|form)\b|url\(|@import", markup)


def test_a_report_without_plots_is_small(runs: Runs) -> None:
    assert write_report(runs.make("stopped by data"), None).stat().st_size < 100_000


def test_artifacts_that_are_gone_are_left_out(runs: Runs) -> None:
    record = runs.make("pushed", version=1)
    for node in record.nodes:
        for folder in node.outputs.values():
            shutil.rmtree(folder, ignore_errors=True)
            Path(folder).unlink(missing_ok=True)
    page = text_of(write_report(record, None))
    assert "Pushed as version 1" in page
    assert "evaluator.min_auc 0.6" in page


def test_one_of_half_a_million_impressions_is_built_in_seconds_and_under_5_mb(
    runs: Runs,
) -> None:
    record = runs.make("pushed", version=2, rows=100_000, ads=5000, in_service=1)
    start = time.monotonic()
    report = write_report(record, None)
    assert time.monotonic() - start < 5
    assert report.stat().st_size < 5_000_000


def test_building_it_does_not_wait_for_tensorflow(runs: Runs) -> None:
    record = runs.make("pushed", version=1)
    script = (
        "import sys; from pathlib import Path; from pipeline import runs;"
        "runs.ensure_report(runs.open_run(sys.argv[1], Path()), anew=True);"
        "print('tensorflow' in sys.modules, 'tfx' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(record.folder)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["False", "False"]
