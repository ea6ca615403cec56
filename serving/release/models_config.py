"""TF Serving's models.config: read, and changed in the few places that a release is about.

Comments, other models and whatever else a person wrote stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

from components.errors import InputError
from components.features import MODELS
from components.serving_root import STABLE

_PLATFORM = "tensorflow"
_INDENT = "  "
_TOKEN = re.compile(
    r"""
    \#[^\n]*                                          # a comment
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'        # a string
    | [{}<>\[\]:;,]
    | [^\s{}<>\[\]:;,"'\#]+                           # a name or a number
    """,
    re.VERBOSE,
)
_OPEN, _CLOSE = ("{", "<"), ("}", ">")


def parse(text: str, file: Path) -> ModelServerConfig:
    """Reads the text of a models.config.

    Args:
        text: a ModelServerConfig in text form.
        file: where it is from.

    Raises:
        InputError: it is none, or lists none of the models that the pipeline pushes.
    """
    config = ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise InputError(f"{file}: not a ModelServerConfig: {error}") from None
    if not pushed_models(config):
        raise InputError(f"{file}: lists no model that is pushed: {', '.join(MODELS)}")
    return config


def new_text(root: Path) -> str:
    """Returns a models.config for the models of a serving root, without labels."""
    config = ModelServerConfig()
    for model in MODELS:
        config.model_config_list.config.add(
            name=model, base_path=str(root.absolute() / model), model_platform=_PLATFORM
        )
    return text_format.MessageToString(config)


def pushed_models(config: ModelServerConfig) -> list[ModelConfig]:
    """Returns the entries of the models that the pipeline pushes."""
    return [model for model in config.model_config_list.config if model.name in MODELS]


def labels_of(config: ModelServerConfig) -> dict[str, dict[str, int]]:
    """Returns the version of each label by model, by label; `stable` first, then by name."""
    found: dict[str, dict[str, int]] = {}
    for model in pushed_models(config):
        for label, version in model.version_labels.items():
            found.setdefault(label, {})[model.name] = version
    # A map of a proto has an order of its own in each process.
    return dict(sorted(found.items(), key=lambda item: (item[0] != STABLE, item[0])))


def change(text: str, labels: Mapping[str, int], versions: Iterable[int], file: Path) -> str:
    """Returns the text of a models.config with other labels, and just these versions loaded.

    What is written in a way that cannot be changed in its place, as lists in brackets, is written
    anew, without comments.

    Args:
        text: as it is.
        labels: the versions of labels that move.
        versions: to be loaded of each pushed model.
        file: where the text is from.
    """
    wanted = parse(text, file)
    policy = f"model_version_policy {{ specific {{ {' '.join(map(_version, versions))} }} }}"
    for model in pushed_models(wanted):
        model.ClearField("model_version_policy")
        model.model_version_policy.specific.versions.extend(versions)
        for label, version in labels.items():
            model.version_labels[label] = version
    try:
        changed = _change(text, labels, policy)
        if text_format.Parse(changed, ModelServerConfig()) == wanted:
            return changed
    except (text_format.ParseError, _NotUnderstood):
        pass
    return text_format.MessageToString(wanted)


def _version(version: int) -> str:
    return f"versions: {version}"


class _NotUnderstood(Exception):
    """The text has a form of text protos that is not looked for here."""


@dataclass
class _Field:
    """A field of a text proto: where it stands, and what is in it.

    Attributes:
        name: as written.
        start: of the name, in the text.
        value: start of the value.
        end: of the value.
        fields: of a message.
    """

    name: str
    start: int
    value: int
    end: int = 0
    fields: list[_Field] = field(default_factory=list)

    def named(self, name: str) -> list[_Field]:
        return [each for each in self.fields if each.name == name]


def _change(text: str, labels: Mapping[str, int], policy: str) -> str:
    tokens = [match for match in _TOKEN.finditer(text) if not match[0].startswith("#")]
    edits: list[tuple[int, int, str]] = []
    for lists in _fields(iter(tokens), None):
        for model in lists.named("config") if lists.name == "model_config_list" else []:
            name = "".join(_scalar(text, each) for each in model.named("name"))
            if name in MODELS:
                edits += _edits(text, model, labels, policy)
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _edits(
    text: str, model: _Field, labels: Mapping[str, int], policy: str
) -> Iterator[tuple[int, int, str]]:
    """Yields what is to change in the entry of a model: (start, end, new text)."""
    missing = []
    policies = model.named("model_version_policy")
    if len(policies) == 1:
        yield policies[0].start, policies[0].end, policy
    else:
        missing.append(policy)
    entries = {
        _scalar(text, key): value
        for entry in model.named("version_labels")
        for key in entry.named("key")
        for value in entry.named("value")
    }
    for label, version in labels.items():
        if label in entries:
            yield entries[label].value, entries[label].end, str(version)
        else:
            missing.append(f'version_labels {{ key: "{label}" value: {version} }}')
    if missing:
        yield _insertion(text, model.end - 1, missing)


def _insertion(text: str, brace: int, lines: list[str]) -> tuple[int, int, str]:
    """Puts lines before a closing brace: on lines of their own, where the brace has one."""
    begin = text.rfind("\n", 0, brace) + 1
    indent = text[begin:brace]
    if not indent.isspace() and indent:
        return brace, brace, "".join(f"{line} " for line in lines)
    return begin, begin, "".join(f"{indent}{_INDENT}{line}\n" for line in lines)


def _scalar(text: str, found: _Field) -> str:
    return text[found.value : found.end].strip("\"'")


def _fields(tokens: Iterator[re.Match[str]], close: str | None) -> list[_Field]:
    """Reads fields up to the brace that closes their message, whose end they do not include."""
    fields: list[_Field] = []
    for token in tokens:
        if token[0] == close:
            fields.append(_Field("", token.start(), token.start(), token.end()))
            return fields
        if token[0] in ";,":
            continue
        fields.append(_field(token, tokens))
    if close is not None:
        raise _NotUnderstood
    return fields


def _field(name: re.Match[str], tokens: Iterator[re.Match[str]]) -> _Field:
    value = next(tokens, None)
    if value is not None and value[0] == ":":
        value = next(tokens, None)
    if value is None or value[0] in "[]}>;,":
        raise _NotUnderstood
    found = _Field(name[0], name.start(), value.start(), value.end())
    if value[0] in _OPEN:
        *found.fields, end = _fields(tokens, _CLOSE[_OPEN.index(value[0])])
        found.end = end.end
    return found
