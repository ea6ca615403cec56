"""Where towers are made, TensorFlow multiplies with oneDNN on every processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """\
import contextlib
from pipeline import local
from pipeline.display import Display

def stop(config, again):
    raise SystemExit

local.prepare = stop  # TFX is loaded by then
with contextlib.suppress(SystemExit):
    local._load(None, Display(), again=False)
"""
CONTAINER = "import pipeline.container"
REPORT = """
import os
from tensorflow.python.framework.test_util import IsMklEnabled
print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), IsMklEnabled())
"""


@pytest.mark.parametrize("entry_point", [RUN, CONTAINER])
def test_products_are_onednns(entry_point: str) -> None:
    told = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    result = subprocess.run(
        [sys.executable, "-c", entry_point + REPORT],
        cwd=ROOT,
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    # Where TensorFlow takes oneDNN by itself, the variable alone shows that it was asked for.
    assert result.stdout.split()[-2:] == ["1", "True"]
