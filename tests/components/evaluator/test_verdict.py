from __future__ import annotations

import json
import subprocess
import sys

import pytest

from components.evaluator.verdict import Judgement, Verdict, read_verdict

CLICKS = Judgement(
    rule="min_clicks",
    what="Clicks to judge by",
    at_least=30,
    measured=2391,
    passed=True,
    rows=20_000,
    clicks=2391,
)
AUC = Judgement(
    rule="min_auc",
    what="AUC of clicks",
    slice="att_device = mobile",
    at_least=0.7,
    measured=0.65512,
    passed=False,
    rows=20_000,
    clicks=2391,
    note="95% lower bound of 0.6671",
)
FIRST = Judgement(
    rule="max_auc_drop",
    what="AUC lost to the model in service",
    at_most=0.01,
    measured=None,
    passed=None,
    rows=20_000,
    clicks=2391,
    note="none to compare with",
)


def test_a_line_says_rule_requirement_measure_and_what_it_rests_on():
    assert Verdict(judgements=(CLICKS, AUC, FIRST)).lines() == [
        "PASS  Clicks to judge by                  at least 30      measured 2,391   "
        "20,000 rows, 2,391 clicks",
        "FAIL  AUC of clicks, att_device = mobile  at least 0.7000  measured 0.6551  "
        "20,000 rows, 2,391 clicks  95% lower bound of 0.6671",
        "NOTE  AUC lost to the model in service    at most 0.0100   not measured     "
        "20,000 rows, 2,391 clicks  none to compare with",
    ]


def test_a_requirement_can_have_two_sides():
    both = AUC.model_copy(update={"at_least": 0.9, "at_most": 1.1})
    assert both.required == "at least 0.9000 and at most 1.1000"


def test_only_a_failed_rule_withholds_the_blessing():
    assert Verdict(judgements=(CLICKS, FIRST)).blessed
    assert not Verdict(judgements=(CLICKS, AUC, FIRST)).blessed


@pytest.mark.parametrize("folder", ["blessing", "folder with spaces"])
def test_a_verdict_is_read_back_from_its_folder(tmp_path, folder):
    verdict = Verdict(judgements=(CLICKS, AUC, FIRST))
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "verdict.json").write_text(verdict.model_dump_json())
    assert read_verdict(str(tmp_path / folder)) == verdict
    assert read_verdict(f"{(tmp_path / folder).as_uri()}") == verdict


def test_the_file_tells_other_programs_all_there_is(tmp_path):
    written = json.loads(Verdict(judgements=(AUC,)).model_dump_json())
    assert written["blessed"] is False
    (line,) = written["judgements"]
    assert line["required"] == "at least 0.7000"
    assert {"rule", "slice", "measured", "passed", "rows", "clicks", "note"} < set(line)


def test_no_verdict_is_a_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_verdict(str(tmp_path))


def test_reading_a_verdict_or_metrics_imports_no_tensorflow():
    code = (
        "import sys, components.evaluator.verdict, components.evaluator.measure;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'tfx', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
