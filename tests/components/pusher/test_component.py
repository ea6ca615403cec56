import shutil
from pathlib import Path
from typing import Any

import pytest
from tfx.types import Channel, standard_artifacts
from tfx.utils import io_utils, json_utils

from components.errors import NotBlessedError, WithdrawnError
from components.evaluator.verdict import VERDICT_FILE, Judgement, Verdict
from components.features import CLICK_MODEL, MODELS
from components.pusher import executor
from components.pusher.cache_key import push_cache_key
from components.pusher.component import ClickPusher, click_pusher
from components.pusher.withdraw import rollback
from components.schema_gate.anomalies import STATISTICS_FILE, Statistics
from components.serving_root import TRAINING_STATISTICS_FILE, versions
from components.validator.validation import VALIDATION_FILE, Check, Validation

Model = standard_artifacts.Model
ModelBlessing = standard_artifacts.ModelBlessing
InfraBlessing = standard_artifacts.InfraBlessing
ExampleStatistics = standard_artifacts.ExampleStatistics
PushedModel = standard_artifacts.PushedModel


@pytest.fixture
def model(tmp_path: Path) -> Any:
    for name in MODELS:
        folder = tmp_path / "model" / "Format-Serving" / name
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_text(name)
    artifact = Model()
    artifact.uri = str(tmp_path / "model")
    return artifact


def blessing(kind: Any, blessed: bool, folder: Path) -> Any:
    artifact = kind()
    artifact.uri = str(folder)
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def node(root: Path, again: bool = False) -> ClickPusher:
    return click_pusher(
        model=Channel(type=Model),
        blessing=Channel(type=ModelBlessing),
        infra_blessing=Channel(type=InfraBlessing),
        statistics=Channel(type=ExampleStatistics),
        serving_root=root,
        keep_versions=2,
        cache_key=push_cache_key(root),
        again=again,
    )


def statistics(folder: Path) -> Any:
    seen = Statistics()
    seen.datasets.add(num_examples=7)
    (folder / "statistics/Split-train").mkdir(parents=True, exist_ok=True)
    (folder / "statistics/Split-train" / STATISTICS_FILE).write_bytes(seen.SerializeToString())
    artifact = ExampleStatistics()
    artifact.uri = str(folder / "statistics")
    return artifact


def run(root: Path, again: bool = False, **inputs: Any) -> Any:
    pusher = node(root, again)
    inputs["statistics"] = statistics(root.parent)
    pushed = PushedModel()
    pusher.executor_spec.executor_class().Do(
        {name: [artifact] for name, artifact in inputs.items()},
        {"pushed_model": [pushed]},
        dict(pusher.exec_properties),
    )
    return pushed


def test_node_has_its_id_and_carries_its_settings(tmp_path: Path) -> None:
    pusher = node(tmp_path / "root")
    assert pusher.id == "pusher"
    config = json_utils.loads(pusher.exec_properties["custom_config"])
    assert config[executor.SERVING_ROOT] == str(tmp_path / "root")
    assert config[executor.KEEP_VERSIONS] == 2


def test_blessed_model_is_pushed_and_the_artifact_says_where(tmp_path: Path, model: Any) -> None:
    root = tmp_path / "root"
    inputs = {
        "model": model,
        "model_blessing": blessing(ModelBlessing, True, tmp_path),
        "infra_blessing": blessing(InfraBlessing, True, tmp_path),
    }
    pushed = run(root, **inputs)
    assert pushed.get_string_custom_property("pushed_version") == "1"
    assert pushed.get_string_custom_property("pushed_destination") == str(root)
    assert pushed.get_int_custom_property("pushed") == 1
    again = run(root, **inputs)
    assert again.get_string_custom_property("pushed_version") == "1"
    assert again.get_int_custom_property("pushed") == 0
    assert [version.number for version in versions(root)] == [1]


def test_a_withdrawn_model_is_not_pushed_until_it_is_asked_for(tmp_path: Path, model: Any) -> None:
    root, other = tmp_path / "root", Model()
    shutil.copytree(model.uri, tmp_path / "other")
    other.uri = str(tmp_path / "other")
    (tmp_path / "other" / "Format-Serving" / CLICK_MODEL / "more").write_text("another model")
    blessed = blessing(ModelBlessing, True, tmp_path)
    for each in (model, other):
        run(root, model=each, model_blessing=blessed)
    assert rollback(root) == [2, 1]
    with pytest.raises(WithdrawnError, match=r"is version 2, .*run --again"):
        run(root, model=other, model_blessing=blessed)
    assert [version.number for version in versions(root)] == [1]
    pushed = run(root, again=True, model=other, model_blessing=blessed)
    assert pushed.get_string_custom_property("pushed_version") == "3"


def test_statistics_of_the_training_data_are_beside_the_click_model(
    tmp_path: Path, model: Any
) -> None:
    run(tmp_path / "root", model=model, model_blessing=blessing(ModelBlessing, True, tmp_path))
    content = (tmp_path / "root" / CLICK_MODEL / "1" / TRAINING_STATISTICS_FILE).read_bytes()
    assert Statistics.FromString(content).datasets[0].num_examples == 7


def test_model_in_an_object_store_is_pushed(tmp_path: Path, model: Any) -> None:
    stored = Model()
    stored.uri = "ram://artifacts/model"
    io_utils.copy_dir(model.uri, stored.uri)
    run(
        tmp_path / "root",
        model=stored,
        model_blessing=blessing(ModelBlessing, True, tmp_path),
    )
    for name in MODELS:
        assert (tmp_path / "root" / name / "1" / "saved_model.pb").read_text() == name


def test_model_that_is_not_blessed_fails_with_the_verdict(tmp_path: Path, model: Any) -> None:
    failed = Judgement(
        rule="min_auc", what="AUC", at_least=0.7, measured=0.512, passed=False, rows=100, clicks=9
    )
    verdict = Verdict(judgements=(failed,))
    (tmp_path / VERDICT_FILE).write_text(verdict.model_dump_json(), encoding="utf-8")
    refused = blessing(ModelBlessing, False, tmp_path)
    with pytest.raises(NotBlessedError) as raised:
        run(tmp_path / "root", model=model, model_blessing=refused)
    assert str(raised.value).splitlines()[1:] == verdict.lines()
    assert not (tmp_path / "root").exists()


def test_model_that_could_not_be_served_fails(tmp_path: Path, model: Any) -> None:
    check = Check(
        model="item_tower", what="answers", required="an answer", measured="none", passed=False
    )
    validation = Validation(server="a server", rows=1, seconds=1.0, checks=(check,))
    (tmp_path / VALIDATION_FILE).write_text(validation.model_dump_json())
    with pytest.raises(NotBlessedError, match="item_tower, answers: none"):
        run(
            tmp_path / "root",
            model=model,
            model_blessing=blessing(ModelBlessing, True, tmp_path),
            infra_blessing=blessing(InfraBlessing, False, tmp_path),
        )
    assert not (tmp_path / "root").exists()
