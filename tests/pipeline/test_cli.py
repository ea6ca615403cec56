"""The command as a person meets it, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def twotower(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("release", "status", "--help"),
        ("config", "--config", "pipeline/configs/demo.yaml"),
        ("runs", "--config", "pipeline/configs/demo.yaml"),
        ("check", "README.md"),
    ],
)
def test_what_needs_no_tensorflow_does_not_wait_for_it(arguments: tuple[str, ...]) -> None:
    result = twotower(*arguments, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "pipeline.cli" in imported
    assert not imported & {"tensorflow", "keras", "tfx", "apache_beam"}


def test_bad_settings_end_in_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = twotower("run", "--config", tmp_path / "nowhere.yaml")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"twotower: {tmp_path}/nowhere.yaml: no such file; give the path of a YAML file of settings"
    ]


def test_bad_input_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(
        "att_age,text,message_id,clicked\nold,,1,1\nold,An ad,2,maybe\n"
    )
    result = twotower(
        "run",
        *("--config", "pipeline/configs/demo.yaml"),
        *("--set", f"data.input={tmp_path}/data.csv"),
        *("--set", f"runs={tmp_path}/runs"),
    )
    assert result.returncode == 2
    assert "line 2" in result.stderr
    assert "line 3" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_sample_says_what_it_holds_and_how_well_it_can_be_predicted(tmp_path: Path) -> None:
    result = twotower("sample", "campaign", "--rows", 500, "--ads", 20, "--seed", 3, tmp_path)
    assert result.returncode == 0
    assert "500 impressions of 20 ads" in result.stdout
    assert "best AUC" in result.stdout
    assert (tmp_path / "impressions.csv").read_text().count("\n") == 501


def test_predict_without_models_says_where_they_come_from(tmp_path: Path) -> None:
    result = twotower("predict", "--models", tmp_path, "--text", "An ad")
    assert result.returncode == 2
    assert "give the folder that `twotower run` pushed to" in result.stderr


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_imported_ends_in_one_line(number: signal.Signals) -> None:
    with start("--help", PYTHONPROFILEIMPORTTIME="1") as process:
        assert process.stderr is not None
        while "typer" not in next(process.stderr):
            pass
        process.send_signal(number)
        said = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 128 + number
    (line,) = (line for line in said if "import time:" not in line)
    assert line.startswith("twotower: interrupted; every file is whole or as it was before")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_all_is_done_changes_nothing(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys, time\n"
        "atexit.register(lambda: (print('ending', flush=True), time.sleep(0.5)))\n"
    )
    with start("--help", PYTHONPATH=str(tmp_path)) as process:
        assert process.stdout is not None
        while next(process.stdout) != "ending\n":
            pass
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
