"""A run is taken for an earlier one only while all that it depends on is as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import unchanged
from pipeline.config import PipelineConfig
from pipeline.run_record import NodeRecord, RunRecord
from pipeline.unchanged import find_unchanged, reuse, run_cache_key

CSV = "att_age,text,message_id,clicked\n25-34,fresh pasta,1,1\n"


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text(CSV)
    (tmp_path / "schema.pbtxt").write_text("")
    settings = {
        "name": "demo",
        "runs": tmp_path / "runs",
        "data": {"input": tmp_path / "data", "schema_file": tmp_path / "schema.pbtxt"},
        "pusher": {"serving_root": tmp_path / "serving"},
    }
    return PipelineConfig.model_validate(settings)


def test_where_runs_are_kept_and_what_is_tuned_changes_nothing(config: PipelineConfig) -> None:
    moved = config.model_copy(update={"runs": Path("elsewhere")})
    assert run_cache_key(moved) == run_cache_key(config)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "data" / "a.csv").write_text(CSV.replace("pasta", "bread")),
        lambda folder: (folder / "data" / "a.csv").rename(folder / "data" / "b.csv"),
        lambda folder: (folder / "data" / "b.csv").write_text(CSV),
        lambda folder: (folder / "schema.pbtxt").write_text("feature {}"),
    ],
    ids=["content", "name", "another file", "schema"],
)
def test_what_a_node_reads_changes_the_key(
    config: PipelineConfig, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    before = run_cache_key(config)
    change(tmp_path)
    assert run_cache_key(config) != before


def test_a_setting_and_a_package_change_the_key(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run_cache_key(config)
    trainer = config.trainer.model_copy(update={"seed": 2})
    assert run_cache_key(config.model_copy(update={"trainer": trainer})) != before
    monkeypatch.setattr(unchanged, "_installed_packages", lambda: ["keras-4.dist-info"])
    assert run_cache_key(config) != before


def record(config: PipelineConfig, run_id: str, output: Path | None = None) -> RunRecord:
    folder = config.folder / run_id
    folder.mkdir(parents=True)
    outputs = {} if output is None else {"examples": str(output)}
    return RunRecord(
        run_id=run_id,
        folder=folder,
        status="pushed",
        exit_code=0,
        config=config.model_dump(mode="json"),
        data={},
        nodes=[NodeRecord(id="example_gen", state="done", seconds=2, outputs=outputs)],
        cache_key="same",
        push_cache_key="pushed",
        version=7,
    )


def test_a_run_is_reused_while_what_it_pushed_is_in_service(
    config: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "examples"
    output.mkdir()
    record(config, "1", output).write()
    now = record(config, "2").model_copy(update={"nodes": [], "version": None})

    monkeypatch.setattr(unchanged, "push_cache_key", lambda root: "pushed")
    earlier = find_unchanged(now, config.folder)
    assert earlier is not None
    reuse(earlier, now)
    assert (now.version, now.nodes[0].state, now.output("example_gen", "examples")) == (
        7,
        "cached",
        output,
    )

    monkeypatch.setattr(unchanged, "push_cache_key", lambda root: "another")
    assert find_unchanged(now, config.folder) is None
    monkeypatch.setattr(unchanged, "push_cache_key", lambda root: "pushed")
    output.rmdir()
    assert find_unchanged(now, config.folder) is None


def test_a_run_with_another_key_is_not_reused(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(config, "1").write()
    monkeypatch.setattr(unchanged, "push_cache_key", lambda root: "pushed")
    now = record(config, "2").model_copy(update={"cache_key": "other"})
    assert find_unchanged(now, config.folder) is None
