"""`twotower check`: what a run would make of its input, in seconds and without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app

HEADER = "att_age,att_visits,att_zip,text,message_id,clicked\n"
ROWS = [
    f"{('young', 'old', '')[n % 3]},{n if n % 9 else 'unknown'},0{n % 7},Ad {n % 4},a{n % 4},"
    f"{n % 2}\n"
    for n in range(200)
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/1.csv").write_text(HEADER + "".join(ROWS[:100]))
    (tmp_path / "data/2.CSV").write_text(HEADER + "".join(ROWS[100:]))
    (tmp_path / "data/notes.xlsx").touch()
    return tmp_path / "data"


def check(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result.output


def table(output: str) -> dict[str, str]:
    """The lines of the tables by their first word."""
    return {line.split()[0]: " ".join(line.split()) for line in output.splitlines() if line.split()}


def test_counted_rows_are_told_as_impressions(data: Path, tmp_path: Path) -> None:
    text = (data / "1.csv").read_text().replace("clicked", "shown,hits")
    counted = text.replace(",1\n", ",10,2\n").replace(",0\n", ",10,0\n")
    (tmp_path / "counted.csv").write_text(counted)
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\ndata:\n  input: {tmp_path}/counted.csv\n  schema_file: none\n"
        "  columns: {impressions: shown, clicks: hits}\n"
    )
    output = check("--config", tmp_path / "mine.yaml")
    assert "100 rows, 1,000 impressions, 100 clicks (10.0%), 4 ads" in output


def test_it_says_what_a_run_would_make_of_the_input(data: Path) -> None:
    output = check(data)
    assert f"{data}: 200 rows, 100 clicks (50.0%), 4 ads with 4 texts" in output
    rows = table(output)
    assert rows["att_age"] == "att_age attribute text 33.0% 2 values: old, young"
    assert rows["att_zip"] == "att_zip attribute whole numbers 0 to 6"
    assert rows["message_id"] == "message_id ad id text"
    assert rows["clicked"] == "clicked label whole numbers 0 to 1"
    assert int(rows["train"].split()[1]) + int(rows["eval"].split()[1]) == 200
    assert "for evaluation: by chance" in output
    assert "column att_visits is numbers but for 'unknown' (23): it is read as text" in output
    assert "column att_zip has numbers that begin with 0, as 00, and they lose it" in output
    assert "not read, by their names: notes.xlsx" in output
    assert "A run can read this input" in output


def test_settings_say_how_it_is_read(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"name: mine\ndata:\n  input: {data}\n  schema_file: none.pbtxt\n"
        "  categorical: [att_zip]\n  missing: [unknown]\n  split: {by: [message_id]}\n"
    )
    output = check("--config", config, "--set", "data.eval_share=0.5")
    rows = table(output)
    assert rows["att_zip"].startswith("att_zip attribute text, by data.categorical 7 values")
    assert rows["att_visits"] == "att_visits attribute whole numbers 11.5% 1 to 199"
    assert "whole groups of message_id" in output
    assert "numbers" not in output.partition("Warnings")[2]
    assert "by chance" in check(data / "1.csv", "--config", config, "--set", "data.split=rows")


def test_what_is_wrong_stands_below_what_could_be_read(data: Path) -> None:
    (data / "3.csv").write_text(HEADER + "young,1,2,Ad,a,maybe\n")
    (data / "4.csv").write_text("att_age;text\n1;2\n")
    output = check(data, code=2)
    assert "200 rows" in output
    assert "att_age" in output
    assert "Errors: a run refuses this input" in output
    assert "3.csv, column clicked: expected 0 or 1, got 'maybe' on line 2" in output
    assert "4.csv, line 1: no column message_id" in output
    assert "A run can read" not in output


def test_a_split_that_cannot_be_judged_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("att_a,text,message_id,clicked\n" + "x,t,m,1\n" + "x,t,m,0\n" * 3)
    assert "the input cannot be split" in check(file, code=2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give the path of a file or folder"),
        (["data", "--set", "data.eval_share=0.5"], "--set overrides a setting of the file"),
        (["nowhere"], "nowhere: no such file or folder"),
    ],
)
def test_what_cannot_be_checked_is_said(arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(app, ["check", *arguments])
    assert problem in str(result.exception)


def test_it_loads_neither_tensorflow_nor_tfx(data: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app;"
        f"assert CliRunner().invoke(app, ['check', {str(data)!r}]).exit_code == 0;"
        "print({'tensorflow', 'tfx', 'keras', 'apache_beam'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_window_of_days_is_shown_day_by_day(tmp_path: Path) -> None:
    for day in (1, 2, 4):
        (tmp_path / f"day=2026-11-0{day}").mkdir()
        (tmp_path / f"day=2026-11-0{day}/a.csv").write_text(HEADER + "".join(ROWS[: 10 * day]))
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\ndata:\n  input: {tmp_path}/day={{YYYY}}-{{MM}}-{{DD}}/*.csv\n"
        "  schema_file: none\n  window: 3\n"
    )
    output = check("--config", tmp_path / "mine.yaml")
    rows = table(output)
    assert rows["2026-11-02"] == "2026-11-02 train 20 10 50.0%"
    assert rows["2026-11-03"] == "2026-11-03 missing"
    assert rows["2026-11-04"] == "2026-11-04 eval 40 20 50.0%"
    assert "2026-11-01" not in rows
    assert "Split: 2026-11-04 for evaluation, 2026-11-02 to train on" in output
    output = check("--config", tmp_path / "mine.yaml", "--set", "data.until=2026-11-02")
    assert "Split: 2026-11-02 for evaluation, 2026-11-01 to train on" in output
