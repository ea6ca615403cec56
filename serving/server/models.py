"""Which versions of which models are in memory: polling, policies, labels, load and unload."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tensorflow_serving.apis import get_model_status_pb2, model_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from serving.server.loading import load_model
from serving.server.model_config import check_model_config, wanted_versions
from serving.server.options import ServerOptions
from serving.server.saved_model import SavedModel
from serving.server.status import Code, ServingError, invalid

logger = logging.getLogger(__name__)

State = get_model_status_pb2.ModelVersionStatus.State


@dataclass
class _Version:
    """One version of one model, from its first sight on."""

    state: int = State.START
    error: ServingError | None = None
    model: SavedModel | None = None
    attempts: int = 0
    retry_at: float = 0.0
    users: int = 0


@dataclass
class _Model:
    config: ModelConfig | None  # None once no config lists it any more
    versions: dict[int, _Version] = field(default_factory=dict)  # also those that are gone
    available: frozenset[int] = frozenset()


class Models:
    """The models of a server.

    A new version answers before the old one leaves memory, and a version leaves memory when the
    last request that uses it is done, as under TF Serving's availability-preserving policy.

    Args:
        options: the server's flags.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._models: dict[str, _Model] = {}
        # Guards what requests see; `_changing` keeps polls and reloads apart, which may take long.
        self._lock = threading.Condition()
        self._changing = threading.Lock()

    def reload(self, config: ModelServerConfig, threads: int | None = None) -> list[str]:
        """Serves what `config` lists from now on; returns the new models that do not answer.

        Args:
            config: names, folders, version policies and labels.
            threads: how many versions are loaded at once; as in the options if None.

        Raises:
            ServingError: the config cannot be served; nothing has changed then, but for a config
                that asks for logging where there is no log, which TF Serving says last.
        """
        configs = {entry.name: entry for entry in config.model_config_list.config}
        with self._changing:
            if config.WhichOneof("config") != "model_config_list":
                self._refuse_unless_first(config)
                return []
            check_model_config(config)
            for entry in configs.values():
                self._check_labels(entry)
            listed = self._listed()
            new = set(configs) - set(listed)
            with self._lock:
                for name, entry in configs.items():
                    self._models.setdefault(name, _Model(entry)).config = entry
            for name in set(listed) - set(configs):
                self._drop(name)
            self._poll(threads)
            if not self._options.log_requests and any(
                entry.HasField("logging_config") for entry in configs.values()
            ):
                invalid("No request-logger-creator provided.")
            return self._unavailable(new)

    def poll(self) -> None:
        """Looks for versions once: loads what is new, unloads what is no longer wanted."""
        with self._changing:
            self._poll()

    def close(self) -> None:
        """Unloads everything, once the requests in progress are done."""
        with self._changing:
            for name in self._models:
                self._drop(name)

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[SavedModel]:
        """Lends the model that `spec` names; it stays in memory while it is lent.

        Raises:
            ServingError: no such model, version or label.
        """
        with self._lock:
            version = self._find(spec)
            version.users += 1
        try:
            assert version.model is not None
            yield version.model
        finally:
            with self._lock:
                version.users -= 1
                self._lock.notify_all()

    def ready(self) -> bool:
        """Returns whether every model has a version that answers."""
        with self._lock:
            return all(model.available for model in self._listed().values())

    def failed(self) -> list[str]:
        """Returns the models all of whose versions failed to load, and will not be tried again."""
        with self._lock:
            failed = {
                name
                for name, model in self._listed().items()
                if model.versions
                and all(
                    version.state == State.END and version.error
                    for version in model.versions.values()
                )
            }
            return self._unavailable(failed)

    def missing(self) -> list[str]:
        """Returns the models that do not answer, and why."""
        with self._lock:
            return self._unavailable(self._listed())

    def sampling_rate(self, name: str) -> float | None:
        """Returns the share of a model's requests to log, if its config says."""
        config = self._models[name].config
        if config is None or not config.HasField("logging_config"):
            return None
        return float(config.logging_config.sampling_config.sampling_rate)

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the states of a model's versions, newest first, or of the one asked for.

        Raises:
            ServingError: no such model or version.
        """
        response = get_model_status_pb2.GetModelStatusResponse()
        with self._lock:
            versions = self._models[spec.name].versions if spec.name in self._models else {}
            if spec.HasField("version"):
                number = spec.version.value
                if number not in versions:
                    message = f"Could not find version {number} of model {spec.name}"
                    raise ServingError(Code.NOT_FOUND, message)
                versions = {number: versions[number]}
            if not versions:
                message = f"Could not find any versions of model {spec.name}"
                raise ServingError(Code.NOT_FOUND, message)
            for number, version in sorted(versions.items(), reverse=True):
                entry = response.model_version_status.add(version=number, state=version.state)
                entry.status.SetInParent()
                if version.error is not None:
                    entry.status.error_code = version.error.number
                    entry.status.error_message = version.error.message
        return response

    def _find(self, spec: model_pb2.ModelSpec) -> _Version:
        if not spec.name:
            invalid("ModelSpec has no name specified.")
        model = self._models.get(spec.name)
        available = model.available if model else frozenset()
        number: int | None
        match choice := spec.WhichOneof("version_choice"):
            case "version_label":
                labels = model.config.version_labels if model and model.config else {}
                if spec.version_label not in labels:
                    invalid(f"Unrecognized servable version label: {spec.version_label}")
                number = labels[spec.version_label]
            case "version":
                number = spec.version.value
            case _:
                number = max(available, default=None)
        if model is None or number not in available:
            asked = f"Specific({spec.name}, {number})" if choice else f"Latest({spec.name})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
        return model.versions[number]

    def _check_labels(self, config: ModelConfig) -> None:
        model = self._models.get(config.name)
        available = model.available if model else frozenset()
        present = model.config.version_labels if model and model.config else {}
        for label, number in config.version_labels.items():
            unused = label not in present or present[label] == number
            if self._options.allow_version_labels_for_unavailable_models and unused:
                continue
            if number not in available:
                message = (
                    f"Request to assign label to version {number} of model {config.name}, "
                    "which is not currently available for inference"
                )
                raise ServingError(Code.FAILED_PRECONDITION, message)

    def _listed(self) -> dict[str, _Model]:
        return {name: model for name, model in self._models.items() if model.config is not None}

    def _refuse_unless_first(self, config: ModelServerConfig) -> None:
        if config.WhichOneof("config") is not None:
            invalid("A custom_model_config is not supported; give a model_config_list")
        if self._models:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one "
                "ModelConfigList to another.",
            )

    def _unavailable(self, names: Iterable[str]) -> list[str]:
        missing = [name for name in sorted(names) if not self._models[name].available]
        return [self._why_unavailable(name) for name in missing]

    def _why_unavailable(self, name: str) -> str:
        model = self._models[name]
        if not model.versions:
            return f"{{name: {name}, no version in {model.config and model.config.base_path}}}"
        number, version = max(model.versions.items())
        return f"{{{{name: {name} version: {number}}} due to error: {version.error}}}"

    def _poll(self, threads: int | None = None) -> None:
        wanted = {}
        for name, model in self._listed().items():
            assert model.config is not None
            try:
                wanted[name] = wanted_versions(model.config)
            except OSError as error:
                # As in TF Serving, one folder that is not there stops the poll for every model.
                logger.error(
                    "FileSystemStoragePathSource encountered a filesystem access error: Could not "
                    "find base path %s for servable %s with error %s",
                    *(model.config.base_path, name, error.strerror),
                )
                return
        loads = [
            (name, number, folder)
            for name, folders in wanted.items()
            for number, folder in folders.items()
        ]
        with ThreadPoolExecutor(threads or max(self._options.num_load_threads, 1)) as pool:
            list(pool.map(lambda load: self._load(*load), loads))
        for name, folders in wanted.items():
            if folders or not self._is_pinned(name):
                self._unload_others(name, set(folders))

    def _is_pinned(self, name: str) -> bool:
        """Says whether a model has the version that was in service in --models.

        It may be withdrawn after it was found there; the one in memory then answers until the next
        poll knows what follows it.
        """
        config = self._models[name].config
        if self._options.models is None or config is None:
            return False
        return config.model_version_policy.WhichOneof("policy_choice") == "specific"

    def _unload_others(self, name: str, wanted: set[int]) -> None:
        """Only now the old versions may go, and only if there is another to answer instead."""
        model = self._models[name]
        if not wanted or model.available & wanted:
            for number in model.available - wanted:
                self._unload(name, number)
        present = wanted | model.available
        for number, version in model.versions.items():
            if number not in present:  # it may come back
                version.state, version.attempts, version.retry_at = State.END, 0, 0.0

    def _load(self, name: str, number: int, folder: Path) -> None:
        with self._lock:
            version = self._models[name].versions.setdefault(number, _Version())
        over = version.attempts > self._options.max_num_load_retries
        if version.state == State.AVAILABLE or over or time.monotonic() < version.retry_at:
            return
        version.state, version.error = State.LOADING, None
        version.attempts += 1
        try:
            loaded = load_model(folder, number, self._options)
        except ServingError as error:
            logger.error("Loading version %d of %s failed: %s", number, name, error)
            self._note_failure(version, error)
            return
        with self._lock:
            version.model, version.state = loaded, State.AVAILABLE
            self._models[name].available |= {number}
            version.attempts, version.retry_at = 0, 0.0
        logger.info("Version %d of %s is available", number, name)

    def _note_failure(self, version: _Version, error: ServingError) -> None:
        with self._lock:
            version.error = error
            if version.attempts > self._options.max_num_load_retries:
                version.state = State.END
            else:
                interval = self._options.load_retry_interval_micros / 1e6
                version.retry_at = time.monotonic() + interval

    def _drop(self, name: str) -> None:
        for number in self._models[name].available:
            self._unload(name, number)
        with self._lock:
            self._models[name].config = None  # the states of its versions stay

    def _unload(self, name: str, number: int) -> None:
        served = self._models[name]
        version = served.versions[number]
        with self._lock:
            version.state = State.UNLOADING
            served.available -= {number}
            self._lock.wait_for(lambda: version.users == 0)
            model, version.model = version.model, None
        assert model is not None
        model.close()
        version.state = State.END
        logger.info("Version %d of %s is unloaded", number, name)
