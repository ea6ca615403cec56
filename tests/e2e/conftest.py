"""One whole run on a small campaign, which the end-to-end tests share."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.config import load_config
from pipeline.display import Display
from pipeline.local import run
from pipeline.run_record import RunRecord, read_record
from pipeline.samples.campaign import write_campaign
from pipeline.summary import show
from tests.conftest import MakeOnce

ROOT = Path(__file__).parents[2]
SETTINGS = """\
name: small
data:
  input: {folder}/data
  schema_file: schema/campaign/schema.pbtxt
runs: {folder}/runs
trainer:
  epochs: 8
  learning_rate: 0.005
evaluator:
  min_auc: 0.5
  confidence: 0
  min_calibration: null  # of 800 rows, chance may have either
  max_calibration: null
pusher:
  serving_root: {folder}/serving
"""


def command(arguments: Sequence[str]) -> list[str]:
    """The `twotower` command, as pyproject.toml installs it."""
    return [sys.executable, "-m", "pipeline", *arguments]


@dataclass(frozen=True)
class Campaign:
    """A folder with a campaign, its settings, and what its runs leave."""

    folder: Path

    @property
    def serving(self) -> Path:
        return self.folder / "serving"

    def arguments(self, *overrides: str) -> list[str]:
        sets = [part for override in overrides for part in ("--set", override)]
        return ["run", "--config", str(self.folder / "config.yaml"), *sets]

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        """Starts a run and does not wait."""
        return subprocess.Popen(
            command(self.arguments(*overrides)), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    def twotower(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(arguments), cwd=ROOT, capture_output=True, text=True, check=False
        )

    def run(self, *overrides: str) -> subprocess.CompletedProcess[str]:
        return self.twotower(*self.arguments(*overrides))

    def run_here(self, *overrides: str) -> tuple[RunRecord, str]:
        """Runs in this process, which has imported TFX; returns what the terminal says, too."""
        record = run(load_config(self.folder / "config.yaml", overrides), Display())
        out = io.StringIO()
        show(record, Console(file=out, width=200))
        return record, out.getvalue()

    def record(self) -> RunRecord:
        """Of the newest run."""
        return read_record(max((self.folder / "runs" / "small").glob("2*")))

    def first_record(self) -> RunRecord:
        """Of the run that pushed version 1."""
        return read_record(min((self.folder / "runs" / "small").glob("2*")))


def write_settings_and_data(folder: Path) -> Campaign:
    write_campaign(folder / "data", rows=4000, ads=30, seed=5)
    (folder / "config.yaml").write_text(SETTINGS.format(folder=folder))
    return Campaign(folder)


@pytest.fixture(scope="session")
def new_campaign(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Campaign]:
    """Makes a campaign in a folder of its own."""
    return lambda: write_settings_and_data(tmp_path_factory.mktemp("a campaign"))


@pytest.fixture(scope="session")
def pushed(make_once: MakeOnce) -> Campaign:
    """A campaign that one run has pushed models for; what comes after may not push."""

    def make(folder: Path) -> None:
        result = write_settings_and_data(folder).run()
        assert result.returncode == 0, result.stdout + result.stderr

    return Campaign(make_once("a pushed campaign", make))
