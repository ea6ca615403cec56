"""Small things that the tests of several rooms are built on.

TensorFlow is imported late: what hands the tests out reads this file too, and needs none.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import numpy as np
import pytest

from pipeline.startup import multiply_with_onednn

multiply_with_onednn()  # as a run does

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

# Where the programs come from that some tests need and setup.sh cannot install.
PROGRAMS = {
    "chromium": "apt-get install chromium",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "prism": "it is built where Go is, https://go.dev/doc/install",
}

# Files of tests by how long they take together, those of a minute and more.
LONGEST = (
    "test_kubeflow.py",
    "test_gate.py",
    "test_run.py",
    "test_job_servers.py",
    "test_pipeline_vs_stock_tfx.py",
    "test_combinations.py",
)

MakeOnce = Callable[[str, Callable[[Path], None]], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-have",
        action="append",
        default=[],
        choices=sorted(PROGRAMS),
        help="fail, not skip, the tests for which this program is missing",
    )
    parser.addoption("--image", help="ENGINE:TAG of an image to check, for e2e/check_image.py")
    parser.addoption(
        "--chaos", type=float, nargs="?", const=1.0, help="the long form of tests/chaos, or a share"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Makes a folder for all workers: the first that comes makes it, the others wait."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # then each worker's is a folder in the common one
        common = common.parent

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, is_made = common / name, common / f"{name}.made"
        with (common / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_made.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                is_made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def lack(pytestconfig: pytest.Config) -> Callable[..., NoReturn]:
    """Skips a test for want of a program, and says where it comes from."""

    def skip(program: str, why: str = "not found") -> NoReturn:
        message = f"needs {program}: {PROGRAMS[program]} ({why})"
        if program in pytestconfig.getoption("--must-have"):
            pytest.fail(message)
        pytest.skip(message)

    return skip


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compiled text encoder that costs nothing."""
    import tensorflow as tf

    from tests.analysis import CountingEncoder, Tokenizer

    folder = tmp_path_factory.mktemp("encoder")
    tf.saved_model.save(CountingEncoder(), str(folder))
    tf.saved_model.save(Tokenizer(), str(folder / "tokenizer"))
    return folder


Analyse = Callable[..., Path]


@pytest.fixture(scope="session")
def analyse(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Analyse:
    """Runs Transform's analysis over rows, and returns the folder of the transform graph."""
    from tests import analysis

    def run(rows: Sequence[Mapping[str, Any]], **settings: Any) -> Path:
        folder = tmp_path_factory.mktemp("transform")
        run.counters = analysis.analyse(  # type: ignore[attr-defined]
            folder, encoder_folder, rows, **settings
        )
        return folder / "graph"

    return run


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """Impressions with a string and a numeric attribute, some of them missing."""
    draw = np.random.default_rng(1)
    texts = [f"Ad number {number}, {'really ' * (number % 5)}good" for number in range(12)]
    impressions = []
    for _ in range(300):
        ad = int(draw.integers(12))
        impressions.append(
            {
                "att_age": [None, "young", "old", "äldre"][draw.choice(4, p=[0.1, 0.5, 0.3, 0.1])],
                "att_days": None if draw.random() < 0.1 else int(draw.integers(1000)),
                "text": texts[ad],
                "message_id": f"ad-{ad}",
                "clicked": int(draw.random() < 0.3),
            }
        )
    return impressions
