"""What the project's processes set is set before TensorFlow is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = """\
import contextlib, io
from pipeline.__main__ import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
"""
REPORT = """
import gc
from tensorflow.python.framework.test_util import IsMklEnabled
print(IsMklEnabled(), gc.get_threshold()[0])
"""


@pytest.mark.parametrize("entry_point", [COMMAND, "import pipeline.container"])
def test_products_are_onednns_on_every_processor(entry_point: str) -> None:
    told = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    result = subprocess.run(
        [sys.executable, "-c", entry_point + REPORT, "--version"],
        cwd=ROOT,
        env=told,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["True", "100000"], result.stderr
