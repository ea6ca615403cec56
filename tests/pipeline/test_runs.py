"""Runs that are found, listed, compared and reported."""

from __future__ import annotations

import os
import signal
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from components.errors import AnomalyError, InputError, last_cause
from components.evaluator.measure import METRICS_FILE, BaselineMetrics, Metrics
from components.folder_lock import hold
from components.metrics import ClickMetrics, Estimate
from pipeline import interruption, local, runs
from pipeline.cli import app
from pipeline.config import PipelineConfig, load_config
from pipeline.display import Display
from pipeline.report.report import REPORT_FILE
from pipeline.run_record import NodeRecord, RunRecord, Status, read_record

DAY = "20260102-0{}0000-000000"

NewRun = Callable[..., RunRecord]


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """The folder of a pipeline, beside its settings."""
    (tmp_path / "shop.yaml").write_text(
        f"name: shop\nruns: {tmp_path}/runs\n"
        f"data: {{input: {tmp_path}/data.csv, schema_file: {tmp_path}/schema.pbtxt}}\n"
        f"pusher: {{serving_root: {tmp_path}/serving}}\n"
    )
    (tmp_path / "schema.pbtxt").write_text('feature { name: "att_device" }')
    return tmp_path / "runs" / "shop"


@pytest.fixture
def new_run(pipeline: Path) -> NewRun:
    """Writes the record of a run, and its metrics if it was judged."""
    config = load_config(pipeline.parents[1] / "shop.yaml")

    def make(
        hour: int,
        status: Status = "pushed",
        version: int | None = None,
        judged_against: int | None = None,
        root: str = "serving",
    ) -> RunRecord:
        run_id = DAY.format(hour)
        folder = pipeline / run_id
        folder.mkdir(parents=True)
        nodes = []
        if status in ("pushed", "not blessed"):
            evaluation = pipeline / "artifacts" / f"evaluation-{hour}"
            evaluation.mkdir(parents=True)
            (evaluation / METRICS_FILE).write_text(metrics(judged_against))
            outputs = {"evaluation": str(evaluation)}
            nodes.append(NodeRecord(id="evaluator", state="done", seconds=2, outputs=outputs))
        record = RunRecord(
            run_id=run_id,
            folder=folder,
            status=status,
            exit_code=0,
            message="the data does not fit",
            config={**config.model_dump(mode="json"), "pusher": {"serving_root": root}},
            data={"rows": 1000, "clicks": 90, "ads": 7, "bad_rows": 0, "warnings": []},
            nodes=nodes,
            version=version,
        )
        record.write()
        return record

    return make


def metrics(judged_against: int | None) -> str:
    """Metrics of a model with AUC 0.75, judged against a version."""
    model = None if judged_against is None else f"serving/click_model/{judged_against}"
    undefined = dict.fromkeys(ClickMetrics.model_fields)
    return Metrics(
        confidence=0.95,
        operating_point=0.4,
        unusable_rows=0,
        overall=ClickMetrics(
            **{**undefined, "rows": 4, "clicks": 2, "auc": Estimate(value=0.75), "named": {}}
        ),
        slices=(),
        baseline=BaselineMetrics(model=model, problem="none, or not looked at"),
        curves=None,
    ).model_dump_json()


def twotower(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_runs_are_found_in_one_pipeline_or_in_several(pipeline: Path, new_run: NewRun) -> None:
    for hour in (3, 1, 2):
        new_run(hour)
    ids = [DAY.format(hour) for hour in (1, 2, 3)]
    assert [run.run_id for run in runs.find_runs(pipeline)] == ids
    assert [run.run_id for run in runs.find_runs(pipeline.parent)] == ids
    assert runs.find_runs(pipeline / "nowhere") == []


def test_runs_without_a_record_that_can_be_read_are_passed_over(
    pipeline: Path, new_run: NewRun
) -> None:
    new_run(1)
    (pipeline / "killed").mkdir()
    (pipeline / "older").mkdir()
    (pipeline / "older" / "run.json").write_text('{"id": 1}')
    assert [run.run_id for run in runs.find_runs(pipeline)] == [DAY.format(1)]
    with pytest.raises(InputError, match="another version"):
        runs.open_run(str(pipeline / "older"), pipeline)


def test_a_run_is_opened_by_its_folder_or_its_id(pipeline: Path, new_run: NewRun) -> None:
    record = new_run(1)
    assert runs.open_run(str(record.folder), Path("elsewhere")) == record
    assert runs.open_run(record.run_id, pipeline) == record
    with pytest.raises(InputError, match=f"2025: no such run.*{record.run_id}"):
        runs.open_run("2025", pipeline)


def test_the_model_in_service_is_the_one_that_was_judged_against(new_run: NewRun) -> None:
    first = new_run(1, version=1)
    second = new_run(2, version=2)
    new_run(3, version=7, root="other")
    new_run(4, "not blessed", judged_against=2)
    assert runs.run_in_service(first) is None
    assert runs.run_in_service(new_run(5, version=3, judged_against=1)) == first
    assert runs.run_in_service(new_run(6, "not blessed", judged_against=2)) == second
    assert runs.run_in_service(new_run(7, "not blessed", judged_against=9)) is None


def test_a_run_that_was_not_judged_left_the_newest_model_in_service(new_run: NewRun) -> None:
    new_run(1, version=1)
    second = new_run(2, version=2)
    new_run(3, version=7, root="other")
    stopped = new_run(4, "stopped by data")
    new_run(5, version=3)
    assert runs.run_in_service(stopped) == second


def test_a_report_is_written_once_unless_it_is_wanted_anew(new_run: NewRun) -> None:
    record = new_run(1, "stopped by data")
    report = runs.ensure_report(record)
    assert report == record.folder / REPORT_FILE
    report.write_text("kept")
    assert runs.ensure_report(record).read_text() == "kept"
    assert "Stopped by the data" in runs.ensure_report(record, anew=True).read_text()


def test_the_commands(pipeline: Path, new_run: NewRun, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("--config", pipeline.parents[1] / "shop.yaml")
    with pytest.raises(InputError, match="no runs"):
        twotower("runs", *settings)

    stopped, pushed = new_run(1, "stopped by data"), new_run(2, version=4)
    code, listed = twotower("runs", *settings)
    assert code == 0
    lines = listed.splitlines()
    assert lines[1].split() == [stopped.run_id, "shop", "stopped", "by", "data", "1,000", "0"]
    assert lines[2].split() == [pushed.run_id, "shop", "pushed", "4", "0.7500", "1,000", "2"]

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    code, printed = twotower("report", stopped.run_id, *settings)
    assert (code, printed.strip()) == (0, str(stopped.folder / REPORT_FILE))
    assert opened == []
    twotower("report", stopped.folder, "--open")
    assert opened == [(stopped.folder / REPORT_FILE).as_uri()]

    code, compared = twotower("compare", stopped.run_id, pushed.folder, *settings)
    assert code == 0
    rows = [line.split() for line in compared.splitlines()]
    assert ["status", "stopped", "by", "data", "pushed"] in rows
    assert ["AUC", "of", "clicks", "–", "0.7500"] in rows
    assert "trainer.epochs" not in compared  # the same in both


@pytest.fixture
def config(pipeline: Path) -> PipelineConfig:
    (pipeline.parents[1] / "data.csv").write_text(
        "att_age,text,message_id,clicked\n" + 50 * "old,An ad,1,1\nyoung,An ad,1,0\n"
    )
    return load_config(pipeline.parents[1] / "shop.yaml")


def stop(*_: Any) -> None:
    raise AnomalyError("the data does not fit")


def test_a_run_that_stops_leaves_a_report(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_load", stop)
    record = local.run(config, Display())
    assert record.status == "stopped by data"
    assert "the data does not fit" in (record.folder / REPORT_FILE).read_text()


def test_a_report_that_cannot_be_written_is_a_warning(
    config: PipelineConfig,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(local, "_load", stop)
    monkeypatch.setattr(runs, "write_report", lambda *_: Path("/proc/none/x").write_text(""))
    record = local.run(config, Display())
    assert record.status == "stopped by data"
    assert runs.find_runs(config.folder) == [record]
    assert "there is no report" in capfd.readouterr().out


def test_a_damaged_record_is_named_and_the_other_runs_are_listed(
    pipeline: Path, new_run: NewRun, caplog: pytest.LogCaptureFixture
) -> None:
    new_run(1)
    (new_run(2).folder / "run.json").write_text('{"run_id": ')
    (pipeline / "artifacts" / "evaluation-1" / METRICS_FILE).write_text("[")
    found = runs.find_runs(pipeline)
    assert [run.run_id for run in found] == [DAY.format(1)]
    assert f"{DAY.format(2)}/run.json: damaged" in caplog.text
    code, listed = twotower("runs", "--config", pipeline.parents[1] / "shop.yaml")
    assert code == 0
    assert DAY.format(1) in listed
    assert f"{METRICS_FILE}: cannot be read" in caplog.text
    with pytest.raises(InputError, match=r"run.json: damaged"):
        runs.open_run(DAY.format(2), pipeline)


def test_a_run_whose_process_is_gone_was_killed(new_run: NewRun) -> None:
    record = new_run(1, status="running")
    with hold(record.folder) as is_free:
        assert is_free
        assert read_record(record.folder).status == "running"
    assert read_record(record.folder).status == "killed"


def test_a_second_run_at_once_is_refused(config: PipelineConfig) -> None:
    config.folder.mkdir(parents=True)
    with hold(config.folder), pytest.raises(InputError, match="another run of this pipeline is"):
        local.run(config, Display())
    assert runs.find_runs(config.folder) == []


def test_a_signal_ends_a_run_in_good_order(
    config: PipelineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(local, "_load", interrupt)
    monkeypatch.setattr(interruption, "_received", [])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption.raise_on_signals()
    try:
        with pytest.raises(interruption.Interrupted, match="the same command goes on") as raised:
            local.run(config, Display())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert raised.value.exit_code == 143
    (record,) = runs.find_runs(config.folder)
    assert (record.status, record.exit_code) == ("interrupted", 143)


def test_the_last_cause_of_a_failed_node_is_shown() -> None:
    wrapped = RuntimeError("Traceback:\n  File x\nKeyError [while running 'Analyze']")
    wrapped.__cause__ = KeyError("att_age")
    assert last_cause(wrapped) == "KeyError: 'att_age'"
    of_beam = "Traceback:\n  File x\nValueError: no such row\n\n[while running 'A']"
    assert last_cause(RuntimeError(of_beam)) == "RuntimeError: ValueError: no such row"
