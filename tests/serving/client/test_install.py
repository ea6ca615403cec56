"""The client as somebody installs it who has nothing else of twotower."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
UV = ROOT / ".venv/bin/uv"
PACKAGES = ["grpcio", "numpy", "protobuf", "twotower-client", "typing-extensions"]

ASK = """
import asyncio, json, sys
from importlib.metadata import distributions
from twotower_client import AsyncClient, Client

async def top(target):
    async with AsyncClient(target) as client:
        return await client.top_k({"att_age": "25-34"}, 2)

with Client(sys.argv[1]) as client:
    clicks = client.click_probability({"att_age": ["25-34"]}, ["pasta"])
print(json.dumps({
    "installed": sorted(d.name.lower().replace("_", "-") for d in distributions()),
    "probability": clicks.probabilities.tolist(),
    "ads": [ad.ad_id for ad in asyncio.run(top(sys.argv[1])).ads],
}))
"""


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the client and what it asks for, no more."""
    folder = tmp_path_factory.mktemp("client")
    # A build leaves files beside what it builds.
    shutil.copytree(ROOT / "serving/client", folder / "source")
    config = (ROOT / ".venv/pyvenv.cfg").read_text()
    base = re.search(r"^executable = (.+)$", config, re.MULTILINE)
    assert base
    uv("venv", "--python", base[1], str(folder / "venv"))
    python = folder / "venv/bin/python"
    lock = str(ROOT / "requirements.lock")
    install = ["pip", "install", "--python", str(python), str(folder / "source")]
    pins = ["--constraint", lock, "--build-constraint", lock]
    try:  # The set-up has just had these versions, so they need not come over the network again.
        uv(*install, *pins, "--offline")
    except subprocess.CalledProcessError:
        uv(*install, *pins)
    return python


def uv(*arguments: str) -> None:
    subprocess.run([UV, "--quiet", *arguments], check=True, capture_output=True, text=True)


def test_it_asks_a_server_from_an_empty_environment(empty_environment: Path, server: Any) -> None:
    run = subprocess.run(
        [empty_environment, "-I", "-c", ASK, server.target],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(run.stdout)
    np.testing.assert_allclose(answer["probability"], [1 / (1 + len("pasta") + 2)], rtol=1e-6)
    assert answer["ads"] == ["a", "b"]
    # A client takes up no more room, and no more time to import, than these.
    assert answer["installed"] == PACKAGES


def test_type_checkers_find_its_types(empty_environment: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from twotower_client import Client\n"
        "reveal_type(Client().top_k({}, 1).ads[0].probability)\n"
        "Client().top_k({}, '1')\n"
    )
    mypy = [ROOT / ".venv/bin/mypy", "--python-executable", empty_environment, program]
    run = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert re.search(r'Revealed type is "(builtins\.)?float"', run.stdout), run.stdout
    assert 'incompatible type "str"; expected "int"' in run.stdout
    assert "Found 1 error" in run.stdout
