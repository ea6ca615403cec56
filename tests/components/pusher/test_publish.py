import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.features import MODELS
from components.pusher.cache_key import push_cache_key, record_push
from components.pusher.publish import VERSION_ASSET, publish
from components.pusher.work_folder import recover
from components.serving_root import versions

FILES = ("saved_model.pb", "variables/variables.index", "assets/model_version", "assets/vocab.txt")


def make_models(folder: Path, content: str) -> Path:
    """Stands in for a training's exports: what the files hold is none of the pusher's business."""
    for model in MODELS:
        for file in FILES:
            path = folder / model / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("0" if path.name == "model_version" else f"{model} {content}")
        file = folder / model / FILES[0]
        file.write_text(f"\x12{chr(file.stat().st_size)}{file.read_text()}")  # a protocol buffer
    return folder


def served(root: Path) -> dict[str, dict[str, str]]:
    """What TF Serving would find: {model: {version: content}}; fails if a version is not whole."""
    found: dict[str, dict[str, str]] = {model: {} for model in MODELS}
    for model in MODELS:
        for folder in (root / model).glob("[0-9]*"):
            texts = {file: (folder / file).read_text() for file in FILES}
            texts[FILES[0]] = texts[FILES[0]][2:]
            assert int(texts.pop("assets/model_version")) == int(folder.name)
            assert len(set(texts.values())) == 1
            found[model][folder.name] = texts["saved_model.pb"].removeprefix(f"{model} ")
    return found


def numbers_in_service(root: Path) -> list[int]:
    return [version.number for version in versions(root)]


def every_model(**by_version: str) -> dict[str, dict[str, str]]:
    return {model: {v.removeprefix("v"): c for v, c in by_version.items()} for model in MODELS}


@pytest.fixture(autouse=True, scope="module")
def _no_wait_for_the_disk() -> Iterator[None]:
    """A kill loses nothing that was written; only a power cut does, which no test here shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


class Killed(BaseException):
    pass


# An audit hook sees every change to the file system before it is made, whatever code makes it.
# It cannot be removed, so it is switched.
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.copyfile")
_steps_left: int | None = None


def _count_down(event: str, arguments: tuple[object, ...]) -> None:
    global _steps_left
    opens_to_write = event == "open" and "w" in str(arguments[1])
    if _steps_left is None or not (event in _CHANGES or opens_to_write):
        return
    if _steps_left == 0:
        raise Killed
    _steps_left -= 1


sys.addaudithook(_count_down)


@contextmanager
def killed_before_step(step: int) -> Iterator[None]:
    global _steps_left
    _steps_left = step
    try:
        yield
    finally:
        _steps_left = None


def test_all_models_land_under_one_version_and_know_it(tmp_path: Path) -> None:
    models = make_models(tmp_path / "models", "first")
    pushed = publish(models, tmp_path / "root", keep_versions=3)
    assert (pushed.version, pushed.root, pushed.new) == (1, tmp_path / "root", True)
    assert served(tmp_path / "root") == every_model(v1="first")
    assert (models / MODELS[0] / VERSION_ASSET).read_text() == "0"


def test_version_is_one_more_than_the_highest_of_any_model(tmp_path: Path) -> None:
    root = tmp_path / "root"
    publish(make_models(tmp_path / "a", "a"), root, keep_versions=9)
    shutil.copytree(root / MODELS[2] / "1", root / MODELS[2] / "0041")
    (root / MODELS[1] / "99.tmp").mkdir()
    assert publish(make_models(tmp_path / "b", "b"), root, keep_versions=9).version == 42
    assert numbers_in_service(root) == [1, 42]


def test_models_made_from_a_version_follow_that_version_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    publish(make_models(tmp_path / "a", "a"), root, keep_versions=9)
    made_from_1 = make_models(tmp_path / "b", "b")
    assert publish(made_from_1, root, keep_versions=9, after=1).version == 2
    with pytest.raises(InputError, match=r"version 2 is in service now, .* made from version 1"):
        publish(make_models(tmp_path / "c", "c"), root, keep_versions=9, after=1)
    assert served(root) == every_model(v1="a", v2="b")


@settings(deadline=None, max_examples=15)
@given(st.sets(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 4))
def test_newest_versions_stay(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], keep: int
) -> None:
    folder = tmp_path_factory.mktemp("prune")
    root = folder / "root"
    old = make_models(folder / "old", "old")
    for number, model in itertools.product(numbers, MODELS):
        shutil.copytree(old / model, root / model / str(number))
    pushed = publish(make_models(folder / "new", "new"), root, keep)
    assert numbers_in_service(root) == sorted([*numbers, pushed.version])[-keep:]
    assert {path.name for path in root.iterdir()} == {*MODELS, ".push"}


def test_a_model_that_is_there_already_is_not_copied_again(tmp_path: Path) -> None:
    first, second = make_models(tmp_path / "a", "a"), make_models(tmp_path / "b", "b")
    root = tmp_path / "root"
    publish(first, root, keep_versions=3)
    again = publish(first, root, keep_versions=3)
    assert (again.version, again.new) == (1, False)
    publish(second, root, keep_versions=3)
    back = publish(first, root, keep_versions=3)
    assert (back.version, back.new) == (3, True)


def test_a_damaged_newest_version_is_replaced(tmp_path: Path) -> None:
    models, root = make_models(tmp_path / "a", "a"), tmp_path / "root"
    publish(models, root, keep_versions=3)
    (root / MODELS[0] / "1" / "assets" / "vocab.txt").unlink()
    assert publish(models, root, keep_versions=1).version == 2
    assert served(root) == every_model(v2="a")


def test_killed_before_any_step_leaves_whole_versions_and_the_next_push_recovers(
    tmp_path: Path,
) -> None:
    start = tmp_path / "start"
    publish(make_models(tmp_path / "a", "oldest"), start, keep_versions=2)
    publish(make_models(tmp_path / "b", "before"), start, keep_versions=2)
    after = make_models(tmp_path / "c", "after")
    outcomes = set()
    for step in range(10_000):
        root = shutil.copytree(start, tmp_path / f"root-{step}")
        try:
            with killed_before_step(step):
                publish(after, root, keep_versions=2)
        except Killed:
            found = served(root)
            towers = found[MODELS[0]]
            assert all(found[model].keys() <= towers.keys() for model in MODELS)
        else:
            break
        recover(root)
        assert len({max(found) for found in served(root).values()}) == 1
        outcomes.add(numbers_in_service(root)[-1])
        assert publish(after, root, keep_versions=2).version == 3
        assert served(root) == every_model(v2="before", v3="after")
        assert {path.name for path in (root / ".push").iterdir()} == {"lock"}
        shutil.rmtree(root)
    assert step > 40  # the push was taken apart indeed
    assert outcomes == {2, 3}  # undone and finished, both


PUSH_FOR_EVER = """
import itertools, sys
from pathlib import Path
from components.pusher.publish import publish
models, root = map(Path, sys.argv[1:])
for each in itertools.cycle(models.iterdir()):
    print(publish(each, root, keep_versions=2).version, flush=True)
"""


def test_sigkill_at_random_moments_while_a_reader_polls(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a", "b", "c"):
        make_models(tmp_path / "models" / name, name)
    stop = threading.Event()
    torn: list[str] = []
    reader = threading.Thread(target=_poll, args=(root, stop, torn))
    reader.start()
    try:
        for attempt in range(8):
            _push_then_kill(tmp_path / "models", root, seconds=0.05 + 0.013 * attempt)
            served(root)
            last = publish(make_models(tmp_path / "d", f"{attempt}"), root, keep_versions=2)
            assert numbers_in_service(root)[-1] == last.version
            assert len({tuple(sorted(v.items())) for v in served(root).values()}) == 1
    finally:
        stop.set()
        reader.join()
    assert last.version >= 2 * 8  # pushes went through before each kill and after it
    assert torn == []


def _push_then_kill(models: Path, root: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PUSH_FOR_EVER, str(models), str(root)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline()  # the first push is done, the next one begins
    time.sleep(seconds)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def _poll(root: Path, stop: threading.Event, torn: list[str]) -> None:
    """Does as TF Serving: whatever folder has a number for a name is loaded at once."""
    while not stop.is_set():
        for folder in root.glob("*/[0-9]*"):
            missing = [file for file in FILES if not (folder / file).is_file()]
            if missing and folder.exists():  # it may have been pruned, as a whole, meanwhile
                torn.append(f"{folder.relative_to(root)}: {missing}")


def test_pushes_at_once_wait_for_each_other(tmp_path: Path) -> None:
    root = tmp_path / "root"
    pushed: list[int] = []
    threads = [
        threading.Thread(
            target=lambda models: pushed.append(publish(models, root, keep_versions=9).version),
            args=(make_models(tmp_path / str(number), f"{number}"),),
        )
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pushed) == [1, 2, 3, 4, 5, 6]
    assert len(set(served(root)[MODELS[0]].values())) == 6


def test_a_missing_model_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    models = make_models(tmp_path / "models", "a")
    shutil.rmtree(models / MODELS[1])
    with pytest.raises(InputError, match=f"no SavedModel for {MODELS[1]};"):
        publish(models, tmp_path / "root", keep_versions=3)
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file")
    with pytest.raises(InputError, match=r"root: cannot be written .*pusher\.serving_root"):
        publish(make_models(tmp_path / "models", "a"), tmp_path / "root", keep_versions=3)


def push(models: Path, root: Path, key: str) -> str:
    record_push(publish(models, root, keep_versions=3), key)
    return key


def test_the_cache_key_stays_while_the_push_is_the_newest(tmp_path: Path) -> None:
    a, root = make_models(tmp_path / "a", "a"), tmp_path / "root"
    assert push_cache_key(root) != push_cache_key(
        root
    )  # nothing pushed: nothing may be taken from a cache
    key = push(a, root, push_cache_key(root))
    assert push_cache_key(root) == key
    push(a, root, key)
    assert push_cache_key(root) == key


def test_the_cache_key_is_new_once_the_root_is_emptied(tmp_path: Path) -> None:
    root = tmp_path / "root"
    key = push(make_models(tmp_path / "a", "a"), root, push_cache_key(root))
    for model in MODELS:
        shutil.rmtree(root / model)
    assert push_cache_key(root) != key


def test_without_keys_as_in_containers_every_push_is_made(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number, content in enumerate("ab", start=1):
        push(make_models(tmp_path / content, content), root, "")
        assert numbers_in_service(root)[-1] == number


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_a_cache_keyed_by_model_and_root_never_skips_a_push_that_is_due(
    tmp_path_factory: pytest.TempPathFactory, runs: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("cache-keys")
    root = folder / "root"
    cached = set()
    for name in runs:
        key = push_cache_key(root)
        if (name, key) not in cached:
            push(make_models(folder / name, name), root, key)
            cached.add((name, key))
        assert served(root)[MODELS[0]][str(numbers_in_service(root)[-1])] == name
