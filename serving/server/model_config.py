"""What to serve: reading and checking a ModelServerConfig, and its version policies."""

from __future__ import annotations

import re
from pathlib import Path

from tensorflow_serving.config.model_server_config_pb2 import (
    ModelConfig,
    ModelServerConfig,
    ModelType,
)

from components.errors import InputError
from components.serving_root import Version, newest
from serving.server.config_files import read_config
from serving.server.options import ServerOptions
from serving.server.status import invalid

_PLATFORM = "tensorflow"


def read_model_config(options: ServerOptions) -> ModelServerConfig:
    """Returns the models to serve: names, folders, version policies and labels.

    Raises:
        InputError: a folder or file that is not there, or a file that is no ModelServerConfig.
    """
    if options.model_config_file is not None:
        return read_config(options.model_config_file, ModelServerConfig())
    if options.model_base_path is not None:
        return _config({options.model_name: options.model_base_path})
    assert options.models is not None
    if not options.models.is_dir():
        raise InputError(f"--models {options.models}: no such folder; expected a folder of models")
    folders = [folder for folder in options.models.iterdir() if folder.is_dir()]
    config = _config({f.name: f for f in sorted(folders) if not f.name.startswith(".")})
    _pin(config, newest(options.models))
    return config


def _pin(config: ModelServerConfig, version: Version | None) -> None:
    """Lets the models that are pushed together be of one version: the one in service."""
    for model in config.model_config_list.config:
        if version is not None and model.name in version.folders:
            model.model_version_policy.specific.versions.append(version.number)


def _config(folders: dict[str, Path]) -> ModelServerConfig:
    config = ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, folder in folders.items():
        config.model_config_list.config.add(
            name=name, base_path=str(folder.absolute()), model_platform=_PLATFORM
        )
    return config


def check_model_config(config: ModelServerConfig) -> None:
    """Refuses what TF Serving refuses (ValidateModelConfigList and GetPlatform in server_core.cc).

    Raises:
        ServingError: a name given twice, a relative folder, or another platform than tensorflow.
    """
    seen: set[str] = set()
    for model in config.model_config_list.config:
        if model.name in seen:
            invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
    for model in config.model_config_list.config:
        if not Path(model.base_path).is_absolute():
            invalid(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
    for model in config.model_config_list.config:
        platform = _platform(model)
        if platform != _PLATFORM:
            invalid(f"Model {model.name} requests unsupported platform {platform}")


def _platform(model: ModelConfig) -> str:
    if not model.model_type:
        if not model.model_platform:
            invalid(
                "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
                f"ModelServerConfig::model_platform, model name is {model.name}"
            )
        return str(model.model_platform)
    if model.model_platform:
        invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    if model.model_type != ModelType.TENSORFLOW:
        invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    return _PLATFORM


def wanted_versions(config: ModelConfig) -> dict[int, Path]:
    """Returns the folders that the model's version policy asks for, by number, newest first.

    As in file_system_storage_path_source.cc, what is named by a number is a version, be it a folder
    or not, and other names are skipped, so that a version can be written under another name beside
    them and be renamed when it is complete.

    Raises:
        OSError: the model's folder is not there.
    """
    found = {
        number: path
        for path in sorted(Path(config.base_path).iterdir())
        if (number := _version(path.name)) is not None
    }
    newest_first = sorted(found, reverse=True)
    policy = config.model_version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            chosen = newest_first
        case "specific":
            chosen = [number for number in newest_first if number in policy.specific.versions]
        case _:
            chosen = newest_first[: max(policy.latest.num_versions, 1)]
    return {number: found[number] for number in chosen}


def _version(name: str) -> int | None:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,100}\s*", name, re.ASCII):
        return None
    number = int(name)
    return number if -(2**63) <= number < 2**63 else None
