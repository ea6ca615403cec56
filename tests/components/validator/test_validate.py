"""Exports on a real server, in a process of its own: good ones, and broken ones of many kinds."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.errors import InputError
from components.features import (
    CLICK_MODEL,
    EXAMPLES_SIGNATURE,
    ITEM_TOWER,
    MODELS,
    RAW_SIGNATURE,
    RECOMMENDER,
    USER_TOWER,
    Columns,
)
from components.trainer.catalogue import Catalogue
from components.trainer.recommender import read_catalogue, replace_catalogue
from components.validator import model_server, trials, validate
from components.validator.settings import ValidatorSettings
from components.validator.trials import read_rows
from components.validator.validation import Validation
from tests.serving import small_models
from tests.serving.small_models import CATALOGUE, users

pytestmark = pytest.mark.e2e

Validate = Callable[..., Validation]

FAKE_DOCKER = """\
# Runs the local server in place of an image: the mounts become paths of this machine.
import re, subprocess, sys

arguments = sys.argv[1:]
assert arguments[:2] == ["run", "--rm"], arguments
image = next(a for a in arguments[2:] if not a.startswith("--"))
if image != "tensorflow/serving:2.19.1":
    sys.exit("Unable to find image " + image)
options, flags = arguments[2:arguments.index(image)], arguments[arguments.index(image) + 1:]
(port,) = [o for o in options if o.startswith("--publish=127.0.0.1:")]
assert port.endswith(":8500")
mounts = dict(reversed(o.removeprefix("--volume=").removesuffix(":ro").rsplit(":", 1))
              for o in options if o.startswith("--volume="))
(file,) = [f.removeprefix("--model_config_file=") for f in flags if "config_file" in f]
config = open(mounts.pop(file)).read()
import pathlib, tempfile
with tempfile.TemporaryDirectory() as folder:
    for inside, outside in mounts.items():
        path = pathlib.Path(folder + inside)
        path.parent.mkdir(parents=True)
        path.symlink_to(outside)
    there = pathlib.Path(folder, "models.config")
    there.write_text(config.replace('"/models', f'"{folder}/models'))
    command = [sys.executable, "-m", "serving.server", f"--model_config_file={there}",
               "--rest_api_port=0", "--port=" + port.split(":")[1]]
    server = subprocess.Popen(command)
    import signal
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    sys.exit(server.wait())
"""


@pytest.fixture
def models(analyse: Callable[..., Path], tmp_path: Path) -> Path:
    """Exports that may be broken."""
    copy = tmp_path / "models"
    shutil.copytree(small_models.exports(analyse), copy)
    return copy


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows as example_gen writes them: a missing value has no entry."""
    folder = tmp_path_factory.mktemp("split")
    texts = list(CATALOGUE.values())
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        for number, user in enumerate(users(40)):
            example = tf.train.Example()
            row = {**user, "text": texts[number % 12], "message_id": f"ad-{number % 12}"}
            for name, value in row.items():
                feature = example.features.feature[name]
                if isinstance(value, str):
                    feature.bytes_list.value.append(value.encode())
                elif value is not None:
                    feature.int64_list.value.append(value)
            writer.write(example.SerializeToString())
    return folder


@pytest.fixture
def check(split: Path, tmp_path: Path) -> Validate:
    def run(models: Path, **settings: Any) -> Validation:
        rows = read_rows(str(split), 30, Columns())
        required = ValidatorSettings(**settings)
        return validate.validate(models, rows, Columns(), required, tmp_path / "server.log")

    return run


def test_good_exports_pass(models: Path, check: Validate) -> None:
    found = check(models)
    assert found.passed, found.failures()
    assert found.rows == 30
    compared = {(c.model, c.what.split(",")[0]) for c in found.checks if "direct" in c.what}
    assert compared == {
        (ITEM_TOWER, RAW_SIGNATURE),
        (USER_TOWER, RAW_SIGNATURE),
        (CLICK_MODEL, RAW_SIGNATURE),
        (CLICK_MODEL, EXAMPLES_SIGNATURE),
        (RECOMMENDER, RAW_SIGNATURE),
    }
    assert sum("latency" in c.what for c in found.checks) == len(compared)
    for what in ("size", "ops that stock TF Serving lacks"):
        assert [c.model for c in found.checks if c.what == what] == list(MODELS)
    assert [c.what for c in found.checks[-2:]] == [
        "difference from the towers",
        "difference from the click model",
    ]


def test_what_began_early_comes_to_the_same(
    models: Path, split: Path, check: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = []
    whole = model_server.start_child

    def counted(*given: Any) -> Any:
        starts.append(given)
        return whole(*given)

    monkeypatch.setattr(model_server, "start_child", counted)
    with validate.validating_early(models, lambda: read_rows(str(split), 30, Columns())):
        early = check(models)
    assert early.passed, early.failures()
    assert len(starts) == 1
    assert [one.what for one in early.checks] == [one.what for one in check(models).checks]
    assert len(starts) == 2


def test_rows_that_cannot_be_read_early_are_told_when_they_are_needed(
    models: Path, tmp_path: Path, check: Validate
) -> None:
    with (
        validate.validating_early(models, lambda: read_rows(str(tmp_path), 2, Columns())),
        pytest.raises(InputError, match="no rows"),
    ):
        check(models)


def test_what_is_broken_is_said_and_the_rest_is_looked_at(models: Path, check: Validate) -> None:
    (models / CLICK_MODEL / "variables" / "variables.index").unlink()
    (models / RECOMMENDER / "saved_model.pb").write_bytes(b"not a model")
    warm_up = models / USER_TOWER / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(warm_up)) as writer:
        writer.write(b"\xff no request")
    found = check(models)
    assert not found.passed
    failed = {c.model: c for c in found.checks if c.what == "loading"}
    assert failed.keys() == {CLICK_MODEL, RECOMMENDER, USER_TOWER}
    # By which of its operations comes first.
    missing = ("Could not find variable", "does not exist")
    assert any(words in failed[CLICK_MODEL].measured for words in missing)
    assert "warmup" in failed[USER_TOWER].measured  # which only a server reads
    passed = {c.model for c in found.checks if "direct" in c.what and c.passed}
    assert passed == {ITEM_TOWER}


def test_every_limit_is_looked_at(
    models: Path, check: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = trials._ask

    def slightly_off(*arguments: Any) -> dict[str, np.ndarray]:
        answer = ask(*arguments)
        return {n: v + 1e-4 if v.dtype == np.float32 else v for n, v in answer.items()}

    monkeypatch.setattr(trials, "_ask", slightly_off)
    monkeypatch.setattr(validate, "unsupported_ops", lambda folder: ["DecodeWebP"])
    found = check(models, max_megabytes=0.001, max_latency_ms=0.0001)
    failed = Counter(c.what.split(", ")[-1] for c in found.checks)
    assert failed == {
        "size": 4,
        "ops that stock TF Serving lacks": 4,
        "difference from direct scores": 5,
        "median latency of one row": 5,
    }
    assert len(found.failures()) == len(found.checks)
    assert any("DecodeWebP (none)" in line for line in found.failures())
    assert sum("difference from direct scores: 1.0e-04" in line for line in found.failures()) == 5


def test_models_that_do_not_belong_together(models: Path, check: Validate) -> None:
    known = read_catalogue(models / RECOMMENDER)
    other = Catalogue(known.ad_ids, known.texts, known.embeddings[::-1])
    shutil.move(models / RECOMMENDER, models / "before")
    replace_catalogue(models / "before", other, models / RECOMMENDER)
    (failure,) = check(models).failures()
    assert failure.startswith("FAIL  recommender, difference from the click model")


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "docker"
    fake.parent.mkdir()
    script = tmp_path / "docker.py"
    script.write_text(FAKE_DOCKER)
    # Not a #! line: the path of this Python may hold spaces.
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))


@pytest.mark.usefixtures("docker")
def test_an_image_serves_in_docker(analyse: Callable[..., Path], check: Validate) -> None:
    found = check(small_models.exports(analyse, ids=True), image="tensorflow/serving:2.19.1")
    assert found.passed, found.failures()
    assert found.server == "tensorflow/serving:2.19.1"


@pytest.mark.usefixtures("docker")
def test_a_server_that_ends_is_no_endless_wait(models: Path, check: Validate) -> None:
    found = check(models, image="tensorflow/serving:nightmare")
    assert len(found.failures()) == len(MODELS)
    expected = "the server ended: Unable to find image tensorflow/serving:nightmare"
    assert all(expected in line for line in found.failures())


def test_an_image_without_docker(
    models: Path, check: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"validator\.image x: no docker command"):
        check(models, image="x")


def test_a_split_without_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows"):
        read_rows(str(tmp_path), 10, Columns())
