"""What is in service, in roots with everything in them that is no version."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from components.errors import InputError
from components.features import CLICK_MODEL, ITEM_TOWER, MODELS, RECOMMENDER
from components.pusher.publish import publish
from components.serving_root import CHECKSUMS_FILE, in_service, newest, versions, withdrawn

SAVED_MODEL = b"\x08\x01\x12\x05graph"  # a schema version and a graph of five bytes


def make_models(folder: Path, name: str) -> Path:
    for model in MODELS:
        (folder / model / "variables").mkdir(parents=True)
        (folder / model / "saved_model.pb").write_bytes(SAVED_MODEL)
        (folder / model / "variables" / "variables.index").write_text(f"{model} {name}")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Versions 1 and 2, pushed."""
    for name in ("a", "b"):
        publish(make_models(tmp_path / name, name), tmp_path / "root", keep_versions=5)
    return tmp_path / "root"


BREAKS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "no folder": ("there is none of click_model", shutil.rmtree),
    "empty folder": ("there is no saved_model.pb", lambda at: (shutil.rmtree(at), at.mkdir())),
    "a file": ("there is none of", lambda at: (shutil.rmtree(at), at.write_text("not a model"))),
    "dangling link": ("there is none", lambda at: (shutil.rmtree(at), at.symlink_to("nowhere"))),
    "cut off": (
        "saved_model.pb is damaged",
        lambda at: (at / "saved_model.pb").write_bytes(SAVED_MODEL[:-1]),
    ),
    "no bytes": ("saved_model.pb is damaged", lambda at: (at / "saved_model.pb").write_bytes(b"")),
    "other bytes": (
        "saved_model.pb is damaged",
        lambda at: (at / "saved_model.pb").write_bytes(SAVED_MODEL.replace(b"a", b"b")),
    ),
    "no weights": (
        "there is no variables/variables.index",
        lambda at: (at / "variables" / "variables.index").unlink(),
    ),
    "other weights": (
        "variables/variables.index is damaged",
        lambda at: (at / "variables" / "variables.index").write_text("click_model B"),
    ),
    "broken checksums": (
        "checksums.json is damaged",
        lambda at: (at / CHECKSUMS_FILE).write_text("{"),
    ),
    "checksums of another kind": (
        "saved_model.pb is damaged",
        lambda at: (at / CHECKSUMS_FILE).write_text('{"saved_model.pb": 1}'),
    ),
}


@pytest.mark.parametrize(("told", "damage"), BREAKS.values(), ids=BREAKS)
def test_a_broken_version_is_named_and_the_one_before_is_in_service(
    root: Path, caplog: pytest.LogCaptureFixture, told: str, damage: Callable[[Path], object]
) -> None:
    damage(root / CLICK_MODEL / "2")
    version = in_service(root)
    assert version.number == 1
    assert all(version.folder(model) == root / model / "1" for model in MODELS)
    (warning,) = caplog.messages
    assert warning.startswith(f"{root}: not in service: version 2: ")
    assert told in warning
    damage(root / CLICK_MODEL / "1")
    assert newest(root) is None
    with pytest.raises(InputError, match=f"{told}.*{told}.* `twotower run` pushed to"):
        in_service(root)


def test_without_checksums_the_savedmodel_itself_is_looked_at(root: Path) -> None:
    for file in (root / CLICK_MODEL).glob(f"*/{CHECKSUMS_FILE}"):
        file.unlink()
    assert in_service(root).number == 2
    for content in (b"", b"some text", SAVED_MODEL[:-1], SAVED_MODEL + b"\x12"):
        (root / CLICK_MODEL / "2" / "saved_model.pb").write_bytes(content)
        assert in_service(root).number == 1


def test_a_real_savedmodel_without_checksums_is_whole(tmp_path: Path) -> None:
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    for model in MODELS:
        tf.saved_model.save(module, str(tmp_path / model / "7"))
    assert in_service(tmp_path).number == 7


def test_names_that_are_no_versions_are_left_alone(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("3.tmp", "latest", "\u0663", "-4", "1e3", "9" * 19):
        shutil.copytree(root / ITEM_TOWER / "2", root / ITEM_TOWER / name)
    (root / "another_model" / "9").mkdir(parents=True)
    assert in_service(root).number == 2
    assert caplog.messages == []


def test_leading_zeros_are_tf_servings(root: Path) -> None:
    (root / RECOMMENDER / "2").rename(root / RECOMMENDER / "0002")
    assert in_service(root).folder(RECOMMENDER) == root / RECOMMENDER / "0002"


def test_a_version_on_its_way_is_no_fault(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / ".push" / "ready-3").mkdir()
    shutil.copytree(root / ITEM_TOWER / "2", root / ITEM_TOWER / "3")
    assert in_service(root).number == 2
    assert caplog.messages == []


def test_a_version_may_go_while_it_is_looked_at(root: Path) -> None:
    numbers = range(100, 2, -1)
    for model, number in itertools.product(MODELS, numbers):
        shutil.copytree(root / model / "2", root / model / str(number))

    def remove() -> None:
        for number in numbers:
            shutil.rmtree(root / CLICK_MODEL / str(number))

    remover = threading.Thread(target=remove)
    remover.start()
    while remover.is_alive():
        assert newest(root) is not None
    remover.join()
    assert in_service(root).number == 2


def test_a_withdrawn_version_is_not_in_service(root: Path) -> None:
    (root / ".push" / "withdrawn").mkdir()
    (root / ".push" / "withdrawn" / "2.json").write_text("")
    assert withdrawn(root) == [2]
    assert in_service(root).number == 1
    assert [version.number for version in versions(root)] == [1]


def test_nothing_there_is_nothing_in_service(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "none"):
        assert newest(root) is None
        with pytest.raises(InputError, match="no pushed models in it; give the folder"):
            in_service(root)


def test_a_root_that_is_a_uri_is_read_by_tensorflow(caplog: pytest.LogCaptureFixture) -> None:
    root = "ram://store/models/"
    for model in MODELS:
        for number in (1, 2, 3):
            tf.io.gfile.makedirs(f"{root}{model}/{number}")
            if number < 3:
                with tf.io.gfile.GFile(f"{root}{model}/{number}/saved_model.pb", "w") as file:
                    file.write("-")
    version = newest(root)
    assert version is not None
    assert (version.number, version.folders[CLICK_MODEL]) == (2, f"{root}{CLICK_MODEL}/2")
    assert "version 3: item_tower/3: there is no saved_model.pb" in caplog.text
