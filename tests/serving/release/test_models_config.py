"""A models.config is changed where a release is about it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from components.errors import InputError
from components.features import MODELS
from serving.release.models_config import change, labels_of, parse

FILE = Path("models.config")
SHIPPED = Path(__file__).parents[3] / "serving/deploy/config/models.config"


def read(text: str) -> ModelServerConfig:
    return text_format.Parse(text, ModelServerConfig())


def test_the_shipped_file_keeps_its_shape() -> None:
    before = SHIPPED.read_text().splitlines()
    after = change("\n".join(before), {"canary": 8}, [1, 8], FILE).splitlines()
    different = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    policy = "    model_version_policy {{ {} }}"
    policy, label = "    model_version_policy {{ {} }}", '    version_labels {{ key: "canary" {} }}'
    specific = policy.format("specific { versions: 1 versions: 8 }")
    assert different == len(MODELS) * [
        (policy.format("latest { num_versions: 2 }"), specific),
        (label.format("value: 1"), label.format("value: 8")),
    ]


def test_what_is_missing_is_added_and_other_models_and_comments_stay() -> None:
    text = """\
# ours
model_config_list: {
  config <
    name: 'item_tower'  # a { in a comment
    base_path: "/m/{item}" model_platform: "tensorflow"
  >
  config { name: "other" base_path: "/o" version_labels { key: "canary" value: 3 } }
}
"""
    assert change(text, {"canary": 8}, [8], FILE) == text.replace(
        "  >\n",
        "    model_version_policy { specific { versions: 8 } }\n"
        '    version_labels { key: "canary" value: 8 }\n'
        "  >\n",
    )


@pytest.mark.parametrize(
    "entry",
    [
        'config: [{ name: "item_tower" }, { name: "other" }]',
        'config { name: "item" "_tower" }',
        'config { name: "item\\137tower" }',
        'config { name: "item_tower" version_labels { key: "canary" } }',
        'config { name: "item_tower" version_labels: [{ key: "canary" value: 2 }] }',
    ],
)
def test_a_form_that_is_not_known_is_written_anew(entry: str) -> None:
    changed = change(f"# a comment\nmodel_config_list {{ {entry} }}", {"canary": 8}, [8], FILE)
    assert labels_of(read(changed)) == {"canary": {"item_tower": 8}}


labels = st.dictionaries(
    st.sampled_from(["stable", "canary", "x"]) | st.text(min_size=1), st.integers(0, 2**62)
)


@st.composite
def configs(draw: st.DrawFn) -> ModelServerConfig:
    config = ModelServerConfig()
    names = st.sampled_from(MODELS) | st.text()
    for name in [draw(st.sampled_from(MODELS)), *draw(st.lists(names, max_size=3))]:
        model = config.model_config_list.config.add(name=name, base_path=draw(st.text()))
        model.version_labels.update(draw(labels))
        if draw(st.booleans()):
            model.model_version_policy.latest.num_versions = draw(st.integers(0, 9))
    return config


@given(configs(), labels, st.lists(st.integers(0, 2**62), unique=True), st.booleans())
def test_any_config_says_what_it_should(
    config: ModelServerConfig, moved: dict[str, int], versions: list[int], as_one_line: bool
) -> None:
    text = text_format.MessageToString(config, as_one_line=as_one_line)
    if not as_one_line:
        text = "# before\n" + text.replace("{\n", "{  # {\n")
    changed = change(text, moved, versions, FILE)
    expected = read(text)
    for model in expected.model_config_list.config:
        if model.name in MODELS:
            model.ClearField("model_version_policy")
            model.model_version_policy.specific.versions.extend(versions)
            for label, version in moved.items():
                model.version_labels[label] = version
    assert read(changed) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model_config_list { what", "models.config: not a ModelServerConfig: 1:21"),
        ('model_config_list { config { name: "m" } }', "lists no model that is pushed: item_tower"),
    ],
)
def test_what_is_no_models_config_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text, FILE)
