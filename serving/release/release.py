"""Moves the labels `stable` and `canary` from version to version, so that they always answer.

A server gives a label only to a version that it has loaded. So a move has two steps: load what will
have a label beside all that has one now, and wait; then move the labels, and let go of the rest.
Each step is one models.config, for all models together. It is written to the file first, since
servers that read the file again and again would else undo it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from components.errors import InputError, TwotowerError
from components.folder_lock import hold
from components.output_file import write_text
from components.pusher.labels import record_labels
from components.pusher.work_folder import recover
from components.serving_root import (
    CANARY,
    STABLE,
    pushed_at,
    version_folders,
    versions,
    withdrawn,
    withdrawn_at,
)
from components.serving_root import labels as recorded_labels
from serving.release.model_server import AVAILABLE, ModelServer
from serving.release.models_config import change, labels_of, new_text, parse, pushed_models
from serving.server.model_config import wanted_versions

Say = Callable[[str], None]


@dataclass(frozen=True)
class Deployment:
    """The pushed models in service: the file that says which versions, and who serves them.

    Args:
        config_file: models.config.
        serving_root: where the versions are, as seen from here; None for where the file says.
        servers: host:port of each server that is told and asked; others read the file.
        timeout: seconds that a server may take to load a version.
    """

    config_file: Path
    serving_root: Path | None = None
    servers: tuple[str, ...] = ()
    timeout: float = 300.0

    @cached_property
    def root(self) -> Path:
        """The serving root.

        Raises:
            InputError: it is not here.
        """
        root = self.serving_root
        if root is None:
            root = Path(pushed_models(self.read())[0].base_path).parent
        if not root.is_dir():
            raise InputError(
                f"{self.config_file}: the models' folder {root} is not there; --models gives the "
                "folder that `twotower run` pushed to, as this machine sees it"
            )
        return root

    @cached_property
    def asked(self) -> list[ModelServer]:
        """The servers."""
        return [ModelServer(target, self.timeout) for target in self.servers]

    def text(self) -> str:
        """Returns what is in the file; where there is none, a new one of the serving root."""
        try:
            return self.config_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            if self.serving_root is not None:
                return new_text(self.serving_root)
            raise InputError(
                f"{self.config_file}: no such file; with --models it is written anew for the "
                "models there"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.config_file}: cannot be read as text ({error})") from None

    def read(self) -> ModelServerConfig:
        """Returns what the file says."""
        return parse(self.text(), self.config_file)

    @property
    def models(self) -> list[str]:
        """The pushed models that the file lists."""
        return [model.name for model in pushed_models(self.read())]

    def whole(self) -> list[int]:
        """Returns the versions that can serve, oldest first."""
        return [version.number for version in versions(self.root)]

    def loaded(self) -> set[int]:
        """Returns the versions that servers load of every model, going by the file."""
        found = []
        for model in pushed_models(self.read()):
            model.base_path = str(self.root / model.name)
            found.append(set(wanted_versions(model)))
        return set.intersection(*found)


def canary(deployment: Deployment, version: int, say: Say) -> None:
    """Has a version answer as `canary`, beside the stable one.

    Args:
        deployment: where.
        version: the number.
        say: is told what happened, line by line.

    Raises:
        InputError: the version cannot serve, is the stable one, or a server refuses.
        TwotowerError: a server cannot load it; everything is as it was.
    """
    labels = current_labels(deployment)
    if version == labels.get(STABLE):
        raise InputError(f"version {version} is {STABLE} already; a {CANARY} is another one")
    _move(deployment, {CANARY: version}, set(), say)


def promote(deployment: Deployment, version: int | None, say: Say) -> None:
    """Has the canary answer as `stable`; the one before stays loaded, for `rollback`.

    Args:
        deployment: where.
        version: to promote in place of the canary.
        say: as in `canary`.

    Raises:
        InputError, TwotowerError: as in `canary`, or there is no canary.
    """
    labels = current_labels(deployment) if version is None else _agreed(deployment)
    before = labels.get(STABLE)
    if version is None:
        version = labels.get(CANARY)
        if version is None or version == before:
            raise InputError(
                f"{deployment.config_file}: no {CANARY} is under way; begin one with `twotower "
                "release canary N`, or name the version to promote"
            )
    keep = {before} if before is not None and before < version else set()
    _move(deployment, {STABLE: version, CANARY: version}, keep & set(deployment.whole()), say)


def rollback(deployment: Deployment, say: Say) -> list[int]:
    """Takes the last step back: a canary that is under way, or else the last promotion.

    Args:
        deployment: where.
        say: as in `canary`.

    Returns:
        The versions that no label names any more.

    Raises:
        InputError, TwotowerError: as in `canary`, or there is nothing to go back to.
    """
    labels = current_labels(deployment)
    stable, trial = labels.get(STABLE), labels.get(CANARY)
    if stable is None:
        raise InputError(f"{deployment.config_file}: no version is {STABLE}; nothing to go back to")
    target = stable if trial not in (None, stable) else _before(deployment, stable)
    _move(deployment, {STABLE: target, CANARY: target}, set(), say)
    return sorted({stable, trial or stable} - {target})


def _before(deployment: Deployment, stable: int) -> int:
    earlier = [number for number in deployment.loaded() if number < stable]
    if not earlier:
        others = ", ".join(str(n) for n in deployment.whole() if n != stable) or "none"
        raise InputError(
            f"{deployment.config_file}: no version before {stable} is loaded; `twotower release "
            f"promote N` takes another one that can serve ({others})"
        )
    return max(earlier)


def current_labels(deployment: Deployment) -> dict[str, int]:
    """Returns the labels and their versions, going by the file.

    Raises:
        InputError: a label is of different versions in different models.
    """
    labels = _agreed(deployment)
    for label, by_model in labels_of(deployment.read()).items():
        if label not in labels:
            found = ", ".join(f"{model} {version}" for model, version in by_model.items())
            raise InputError(
                f"{deployment.config_file}: {label} is not one version ({found}); `twotower "
                "release promote N` gives all models the same"
            )
    return labels


def _agreed(deployment: Deployment) -> dict[str, int]:
    """Returns the labels that every model has, at one version."""
    models = deployment.models
    return {
        label: min(by_model.values())
        for label, by_model in labels_of(deployment.read()).items()
        if len(by_model) == len(models) and len(set(by_model.values())) == 1
    }


def _move(deployment: Deployment, labels: Mapping[str, int], keep: set[int], say: Say) -> None:
    """Moves labels, and lets go of all versions that have none, but for those to keep."""
    with _alone(deployment.config_file):
        recover(deployment.root)  # a push that was killed; and the labels can be remembered there
        text, file = deployment.text(), deployment.config_file
        now = _agreed(deployment)
        after = {**now, **labels}
        wanted = sorted({*after.values(), *keep})
        _check_whole(deployment, after)
        both = sorted({*wanted, *now.values()} & set(deployment.whole()))
        is_read = file.exists() and not deployment.servers
        if is_read and not set(wanted) <= deployment.loaded():
            write_text(file, change(text, {}, both, file))
            say(
                f"{file}: servers that read it load version {_listed(wanted)} now; when they have, "
                "the same command again moves the labels (with --server, it waits and does both)"
            )
            return
        with _undone(deployment, text, say):
            if deployment.servers:
                _apply(deployment, change(text, {}, both, file), wanted)
                for server in deployment.asked:
                    health = server.health() or "not switched on"
                    say(f"{server.target}: version {_listed(wanted)} AVAILABLE, health {health}")
            _apply(deployment, change(text, labels, wanted, file), wanted)
            _check_answers(deployment, labels)
        record_labels(deployment.root, after)
    said = " and ".join(f"{label} is version {version}" for label, version in after.items())
    who = ", ".join(deployment.servers)
    say(f"{said}, says {who}" if who else f"{file}: {said} for servers that read it")


def _apply(deployment: Deployment, text: str, wanted: list[int]) -> None:
    write_text(deployment.config_file, text)
    config = parse(text, deployment.config_file)
    for server in deployment.asked:
        server.reload(config)
    for server in deployment.asked:
        server.wait(deployment.models, wanted)


def _check_answers(deployment: Deployment, labels: Mapping[str, int]) -> None:
    """Asks each server who answers now: what it took is not yet what it does."""
    for server in deployment.asked:
        for model in deployment.models:
            for label, version in labels.items():
                found = server.answering(model, label)
                if found != version:
                    raise TwotowerError(
                        f"{server.target}: {model} answers {label} with version {found}, not "
                        f"{version}"
                    )


def _check_whole(deployment: Deployment, labels: Mapping[str, int]) -> None:
    """Refuses what would leave a label without a version that can serve."""
    whole = deployment.whole()
    for label, version in labels.items():
        if version not in whole:
            gone = " (it is withdrawn)" if version in withdrawn(deployment.root) else ""
            raise InputError(
                f"{label} would be version {version}, which {deployment.root} has not{gone}; what "
                f"can serve is {_listed(whole) or 'none'}; `twotower release promote N` moves "
                f"{STABLE} and {CANARY}"
            )


@contextmanager
def _undone(deployment: Deployment, text: str, say: Say) -> Iterator[None]:
    """Puts file and servers back to what they were, if something goes wrong."""
    had_file = deployment.config_file.exists()
    try:
        yield
    except BaseException:
        if had_file:
            write_text(deployment.config_file, text)
        else:
            deployment.config_file.unlink(missing_ok=True)
        for server in deployment.asked:
            with suppress(TwotowerError):
                server.reload(parse(text, deployment.config_file))
        say("nothing was moved: file and servers are put back to what they were")
        raise


@contextmanager
def _alone(config_file: Path) -> Iterator[None]:
    """Keeps other releases of the same file out.

    Raises:
        InputError: one is under way.
    """
    folder = config_file.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{config_file}: there is no folder {folder}")
    with hold(folder) as is_alone:
        if not is_alone:
            raise InputError(f"{config_file}: another release is under way; wait for its end")
        yield


@dataclass(frozen=True)
class VersionStatus:
    """What is known of a version.

    Attributes:
        number: the version.
        pushed: when it came into the root; None where it is not there.
        withdrawn: when it was withdrawn; None if it was not, or nobody knows.
        labels: that it has.
        states: what each server says of it, by host:port: one word, or a word for each model.
    """

    number: int
    pushed: datetime | None
    withdrawn: datetime | None
    labels: list[str]
    states: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """Who answers clients.

    Attributes:
        label: that they ask for; None for those that name none.
        version: by the file, for a label.
        since: when the label came to it, if a release moved it there.
        servers: the version that each server answers with, by host:port; None if none does.
    """

    label: str | None
    version: int | None
    since: datetime | None
    servers: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """Versions, newest first, and who answers what."""

    versions: list[VersionStatus]
    answers: list[Answer]
    health: dict[str, str | None]


def status(deployment: Deployment) -> Status:
    """Tells what is in the root, in the file and on the servers.

    Raises:
        InputError: one of them cannot be read or does not answer.
    """
    labels = current_labels(deployment)
    states = {server.target: _states(server, deployment.models) for server in deployment.asked}
    gone = withdrawn(deployment.root)
    there = {n for model in deployment.models for n in version_folders(deployment.root, model)}
    numbers = (
        there | set(gone) | set(labels.values()) | {n for each in states.values() for n in each}
    )
    return Status(
        versions=[
            VersionStatus(
                number,
                pushed_at(deployment.root, number),
                withdrawn_at(deployment.root, number) if number in gone else None,
                sorted(label for label, version in labels.items() if version == number),
                {target: found[number] for target, found in states.items() if number in found},
            )
            for number in sorted(numbers, reverse=True)
        ],
        answers=_answers(deployment, labels),
        health={server.target: server.health() for server in deployment.asked},
    )


def _states(server: ModelServer, models: list[str]) -> dict[int, str]:
    """Returns the state of each version: one word where all models agree."""
    by_model = {model: server.states(model) for model in models}
    numbers = set().union(*by_model.values())
    found = {}
    for number in numbers:
        names = {
            model: states[number].name if number in states else "not seen"
            for model, states in by_model.items()
        }
        same = set(names.values())
        words = ", ".join(f"{model} {name}" for model, name in names.items() if name != AVAILABLE)
        found[number] = same.pop() if len(same) == 1 else words
    return found


def _answers(deployment: Deployment, labels: Mapping[str, int]) -> list[Answer]:
    recorded = recorded_labels(deployment.root)
    model = deployment.models[0]
    answers = []
    for label in [*sorted(labels, reverse=True), None]:
        version = labels[label] if label is not None else None
        entry = recorded.get(label) if label is not None else None
        since = entry.since if entry is not None and entry.version == version else None
        asked = {server.target: server.answering(model, label) for server in deployment.asked}
        answers.append(Answer(label, version, since, asked))
    return answers


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
