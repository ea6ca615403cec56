"""Labels move from version to version on a running server, and every client gets an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import InputError, TwotowerError
from components.features import CLICK_MODEL, MODELS
from components.pusher.withdraw import rollback as roll_root_back
from components.pusher.withdraw import withdraw
from components.serving_root import labels
from serving.release.release import Deployment, canary, promote, rollback, status
from tests.ports import free_port
from tests.serving.small_models import twotower
from tests.serving.traffic import asked_again, traffic

# As the files in serving/deploy have it: a server begins with labels before it has loaded anything.
LABELS_FIRST = {"allow_version_labels_for_unavailable_models": True}


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def push_all(push: Any) -> Callable[..., None]:
    def push_version(version: int, **options: Any) -> None:
        for model in MODELS:
            push(model, version, **options if model == CLICK_MODEL else {})

    return push_version


@pytest.fixture
def root(push_all: Callable[..., None], tmp_path: Path) -> Path:
    push_all(7)
    push_all(8)
    return tmp_path / "models"


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    """A models.config beside the root, whose stable version is 7."""
    file = tmp_path / "models.config"
    deployment = Deployment(file, root)
    promote(deployment, 7, quiet)
    return file


def names(file: Path) -> dict[str, set[str]]:
    """The policies and labels in a file, as they are written there."""
    text = file.read_text()
    found = {"loaded": set(re.findall(r"specific \{([^}]*)\}", text))}
    for label, version in re.findall(r'key: "(\w+)"\s*value: (\d+)', text):
        found.setdefault(label, set()).add(version)
    return found


def test_without_a_server_the_file_says_it_in_two_steps(root: Path, config: Path) -> None:
    said: list[str] = []
    seven = {"loaded": {" versions: 7 "}, "stable": {"7"}, "canary": {"7"}}
    assert names(config) == seven
    canary(Deployment(config), 8, said.append)
    assert names(config) == seven | {"loaded": {" versions: 7 versions: 8 "}}
    assert "load version 7, 8 now" in said[-1]
    canary(Deployment(config), 8, said.append)
    both = seven | {"loaded": {" versions: 7 versions: 8 "}, "canary": {"8"}}
    assert names(config) == both
    promote(Deployment(config), None, said.append)
    assert names(config) == both | {"stable": {"8"}}
    assert rollback(Deployment(config), said.append) == [8]
    assert names(config) == seven


def test_what_would_leave_a_label_without_a_version_is_refused(
    root: Path, config: Path, push_all: Callable[..., None]
) -> None:
    place, before = Deployment(config), config.read_text()
    for act, message in [
        (lambda: canary(place, 9, quiet), "canary would be version 9, which .*; what can serve is"),
        (lambda: promote(place, 9, quiet), "stable would be version 9"),
        (lambda: canary(place, 7, quiet), "version 7 is stable already"),
        (lambda: promote(place, None, quiet), "no canary is under way"),
        (lambda: rollback(place, quiet), r"no version before 7 is loaded; .*serve \(8\)"),
        (lambda: withdraw(root, 7), "version 7 is labeled stable"),
    ]:
        with pytest.raises(InputError, match=message):
            act()
    assert config.read_text() == before
    withdraw(root, 8)
    with pytest.raises(InputError, match=r"has not \(it is withdrawn\)"):
        canary(place, 8, quiet)
    push_all(9)
    promote(place, 9, quiet)
    promote(place, 9, quiet)
    with pytest.raises(InputError, match="version 9 is labeled stable"):
        roll_root_back(root)


def test_labels_of_several_versions_are_made_one(root: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("value: 7", "value: 8", 1))
    with pytest.raises(InputError, match=r"is not one version \(item_tower 8, user_tower 7"):
        canary(Deployment(config), 8, quiet)
    promote(Deployment(config), 7, quiet)
    assert names(config)["stable"] == names(config)["canary"] == {"7"}


def test_a_file_that_cannot_be_used_is_named(root: Path, config: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none: no such file; with --models"):
        promote(Deployment(tmp_path / "none"), 7, quiet)
    config.write_text(config.read_text().replace(str(root), "/mnt/elsewhere"))
    with pytest.raises(InputError, match="/mnt/elsewhere is not there; --models gives"):
        status(Deployment(config))
    status(Deployment(config, root))


@pytest.mark.e2e
@pytest.mark.parametrize("reads_the_file", [False, True])
def test_canary_promotion_and_rollback_under_traffic(
    config: Path, push_all: Any, serve: Any, tmp_path: Path, reads_the_file: bool
) -> None:
    poll = 0.1 if reads_the_file else 0
    server = serve(
        model_config_file=config, model_config_file_poll_wait_seconds=poll, **LABELS_FIRST
    )
    place = Deployment(config, servers=(server.target,))
    said: list[str] = []
    with traffic(server.target) as answered:
        assert asked_again(answered) == {"stable": {7}, "canary": {7}, None: {7}}
        canary(place, 8, said.append)
        assert asked_again(answered) == {"stable": {7}, "canary": {8}, None: {8}}
        promote(place, None, said.append)
        assert asked_again(answered) == {"stable": {8}, "canary": {8}, None: {8}}
        push_all(9)
        canary(place, 9, said.append)
        assert asked_again(answered) == {"stable": {8}, "canary": {9}, None: {9}}
        assert rollback(place, said.append) == [9]
        withdraw(tmp_path / "models", 9)
        assert asked_again(answered) == {"stable": {8}, "canary": {8}, None: {8}}
        promote(place, 7, said.append)  # an older one: it is loaded first
        assert asked_again(answered) == {"stable": {7}, "canary": {7}, None: {7}}
    assert said[0] == f"{server.target}: version 7, 8 AVAILABLE, health SERVING"
    assert said[1] == f"stable is version 7 and canary is version 8, says {server.target}"
    found = status(place)
    assert [(v.number, v.labels, v.states.get(server.target)) for v in found.versions] == [
        (9, [], "END"),
        (8, [], "END"),
        (7, ["canary", "stable"], "AVAILABLE"),
    ]
    assert found.versions[0].withdrawn
    assert [(a.label, a.servers[server.target]) for a in found.answers] == [
        ("stable", 7),
        ("canary", 7),
        (None, 7),
    ]
    assert found.answers[0].since == labels(tmp_path / "models")["stable"].since


@pytest.mark.e2e
def test_a_version_that_cannot_be_loaded_moves_nothing(
    config: Path, push_all: Any, serve: Any, tmp_path: Path
) -> None:
    def spoil(folder: Path) -> None:  # a SavedModel to look at, but not to load
        (folder / "saved_model.pb").write_bytes(b"\x08\x01")

    push_all(9, prepare=spoil)
    server = serve(model_config_file=config, **LABELS_FIRST)
    place, before = Deployment(config, servers=(server.target,)), config.read_text()
    said: list[str] = []
    with traffic(server.target) as answered:
        with pytest.raises(TwotowerError, match="version 9 of click_model cannot be loaded"):
            canary(place, 9, said.append)
        assert asked_again(answered) == {"stable": {7}, "canary": {7}, None: {7}}
    assert said == ["nothing was moved: file and servers are put back to what they were"]
    assert config.read_text() == before


@pytest.mark.e2e
def test_the_command(config: Path, serve: Any) -> None:
    server = serve(model_config_file=config, **LABELS_FIRST)
    options = ["--model_config_file", config, "--server", server.target]
    twotower("release", "canary", 8, *options)
    shown = twotower("release", "status", *options)
    assert re.search(r"^8 .* canary +AVAILABLE", shown, re.MULTILINE)
    assert re.search(r"^stable +7 +20.* 7 *$", shown, re.MULTILINE)
    assert "stable is version 8" in twotower("release", "promote", *options)
    assert "twotower withdraw 8" in twotower("release", "rollback", *options)
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(InputError, match="does not answer"):
        twotower("release", "status", "--model_config_file", config, "--server", nobody)
