"""Every setting of twotower: composed of the rooms' own, read from YAML, explained."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from components.errors import InputError
from components.evaluator.settings import EvaluatorSettings
from components.example_gen.settings import DataSettings
from components.pusher.settings import PusherSettings
from components.schema_gate.settings import DataCheckSettings
from components.settings import Settings
from components.trainer.settings import ModelSettings, TrainerSettings, teacher_settings
from components.transform.settings import TextEncoderSettings, TransformSettings
from components.validator.settings import ValidatorSettings
from pipeline.settings import BeamSettings, DeploySettings, TuneSettings, WatchSettings
from serving.monitor.settings import MonitorSettings
from serving.release.settings import ReleaseSettings

# How pydantic names the members of a union in the location of an error.
_OF_PYDANTIC = {"str", "int", "float", "bool", "path", "none", "is-instance", "constrained-str"}

# A ValueError: of a date that there is not, or bytes that are no text. Brackets may be too deep.
_NO_YAML = (yaml.YAMLError, ValueError, RecursionError)

# Old keys, read for one more version, and what they are called now.
_RENAMED = {
    "model.centre": "model.center_embeddings",
    "model.normalise": "model.normalize",
}


class PipelineConfig(Settings):
    """Every setting of a pipeline."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="The pipeline's name.")
    runs: Path = Field(
        Path("runs"), description="Where runs keep their artifacts, logs and records."
    )
    cache: bool = Field(
        True, description="Reuse a node's output when nothing it depends on changed."
    )
    data: DataSettings
    data_checks: DataCheckSettings = DataCheckSettings()
    text_encoder: TextEncoderSettings = TextEncoderSettings()
    transform: TransformSettings = TransformSettings()
    model: ModelSettings = ModelSettings()
    trainer: TrainerSettings = TrainerSettings()
    tune: TuneSettings = TuneSettings()
    evaluator: EvaluatorSettings = EvaluatorSettings()
    validator: ValidatorSettings = ValidatorSettings()
    pusher: PusherSettings = PusherSettings()
    watch: WatchSettings = WatchSettings()
    monitor: MonitorSettings = MonitorSettings()
    release: ReleaseSettings = ReleaseSettings()
    beam: BeamSettings = BeamSettings()
    deploy: DeploySettings = DeploySettings()

    @model_validator(mode="after")
    def _user_id_is_named(self) -> PipelineConfig:
        needed_by = {
            "model.user_id": self.model.user_id,
            "trainer.distillation": self.trainer.distillation > 0,
        }
        for setting, needs_it in needed_by.items():
            if needs_it and self.data.columns.user_id is None:
                raise ValueError(f"{setting} needs the name of a column in data.columns.user_id")
        return self

    @model_validator(mode="after")
    def _a_teacher_has_settings(self) -> PipelineConfig:
        teacher_settings(self.model, self.trainer)
        return self

    @model_validator(mode="after")
    def _a_pair_is_of_two(self) -> PipelineConfig:
        texts = self.data.columns.ad_texts
        if self.text_encoder.pair and len(texts) != 2:
            raise ValueError(
                f"text_encoder.pair needs two columns in data.columns.text, not {', '.join(texts)}"
            )
        return self

    @model_validator(mode="after")
    def _context_is_not_known_to_requests(self) -> PipelineConfig:
        columns = self.data.columns
        if self.model.served_position is not None and columns.position is None:
            raise ValueError(
                "model.served_position needs the name of a column in data.columns.position"
            )
        for name in columns.context(self.model.training_only):
            if name in columns.attributes([name]) or name in {*columns.ad_texts, columns.ad_id}:
                raise ValueError(f"{name} is asked of every request, so not known in training only")
        return self

    @property
    def folder(self) -> Path:
        """Where everything of this pipeline's runs is."""
        return self.runs / self.name


def load_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Reads settings from the YAML file `path`, with `key.sub=value` overrides on top.

    A key that was renamed is read under its old name too, with a `FutureWarning` that says so.

    Raises:
        InputError: a file that cannot be read, or settings that are unknown or wrong, all at once.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; give the path of a YAML file of settings"
        ) from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give a YAML file of settings"
        ) from None
    except _NO_YAML as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: expected a mapping of settings, as in pipeline/configs/demo.yaml"
        )
    for override in overrides:
        _apply(values, override)
    _rename(values, path)
    try:
        return PipelineConfig.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(problem)}" for problem in error.errors())
        raise InputError(f"{path}: settings that cannot be used:\n{problems}") from None


def describe(config: PipelineConfig) -> Iterator[tuple[str, Any, str]]:
    """Yields (dotted key, effective value, meaning) for every setting, in the order of the YAML."""
    yield from _describe(config, "")


def require(config: PipelineConfig, purpose: str, *keys: str) -> None:
    """Checks that settings which are none by default are given.

    Raises:
        InputError: some are not; all are named, with what they mean.
    """
    missing = [
        f"  {key}: missing; {meaning}"
        for key, value, meaning in describe(config)
        if key in keys and value is None
    ]
    if missing:
        raise InputError("\n".join([f"{purpose} needs settings that are not given:", *missing]))


def _describe(settings: BaseModel, prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _describe(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"--set {override}: expected key=value, as in trainer.epochs=5")
    *groups, name = key.split(".")
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {override}: {group} is a value, not a group of settings")
        values = inner
    try:
        values[name] = yaml.load(text, _Loader)
    except _NO_YAML as error:
        raise InputError(f"--set {override}: {text!r} is not a YAML value: {error}") from None


def _rename(values: dict[str, Any], path: Path) -> None:
    for old, new in _RENAMED.items():
        group, name = old.split(".")
        settings = values.get(group)
        if isinstance(settings, dict) and name in settings:
            message = f"{path}: {old} is called {new} now; the old name goes with the next version"
            warnings.warn(message, FutureWarning, stacklevel=3)
            settings.setdefault(new.split(".")[1], settings.pop(name))


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} is there twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


# What is expected, in words, by the type of pydantic's error; the rest is said well enough there.
_EXPECTED = {
    "path_type": "a path",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a group of keys and values",
    "model_type": "a group of settings",
    "model_attributes_type": "a group of settings",
}


def _explain(problem: Any) -> str:
    location = _location(problem["loc"])
    key, kind = ".".join(map(str, location)), problem["type"]
    if kind == "extra_forbidden":
        return f"{key}: no such setting; there are: {', '.join(_siblings(location))}"
    if kind == "missing":
        return f"{key}: missing; {_field_meaning(location)}"
    if kind == "value_error":
        return ": ".join(filter(None, [key, str(problem["ctx"]["error"])]))
    said = problem["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return f"{key}: expected {_EXPECTED.get(kind, said)}, got {problem['input']!r}"


def _location(location: Sequence[str | int]) -> list[str | int]:
    """Returns the keys of a setting, without what pydantic adds of its own types."""
    keys: list[str | int] = []
    for part in location:
        is_key = isinstance(part, int) or (
            re.fullmatch(r"[\w.-]+", part) is not None and part not in _OF_PYDANTIC
        )
        if is_key or part in _siblings([*keys, ""]):
            keys.append(part)
    return keys


def _group(location: Sequence[str | int]) -> type[BaseModel]:
    group: type[BaseModel] = PipelineConfig
    for part in location:
        field = group.model_fields.get(str(part))  # None where the part is a key of a mapping
        annotation = field.annotation if field else None
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                group = inner
    return group


def _siblings(location: Sequence[str | int]) -> list[str]:
    return sorted(_group(location[:-1]).model_fields)


def _field_meaning(location: Sequence[str | int]) -> str:
    field = _group(location[:-1]).model_fields[str(location[-1])]
    return field.description or f"a group with {', '.join(_siblings([*location, '']))}"
