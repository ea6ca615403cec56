"""Days are run in order, each once, whatever happens in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import InputError, TwotowerError
from components.evaluator.verdict import Verdict
from components.findings import Finding
from components.folder_lock import hold
from components.metrics import Estimate
from pipeline.config import load_config
from pipeline.run_record import RunRecord, Status
from pipeline.watch import Child, Watch
from serving.monitor.history import Entry
from serving.monitor.measures import Measures, Part

CSV = "att_age,text,message_id,clicked\nyoung,Buy,1,0\nold,Sell,2,1\n"
CODES = {"pushed": 0, "not blessed": 3, "withdrawn": 3, "stopped by data": 4, "failed": 1}
FINDING = Finding(split="eval", column="att_age", problem="missing", detail="50%", stops=True)


MEASURED = Entry(
    day=date(2026, 11, 1),
    version=1,
    role="stable",
    pushed=datetime.now().astimezone(),
    log="log",
    measured=datetime.now().astimezone(),
    measures=Measures(
        confidence=0.95,
        overall=Part(rows=4, clicks=2, predicted=2.0),
        unusable_rows=0,
        auc=Estimate(value=None),
        log_loss=None,
        normalized_entropy=None,
        ece=None,
        unseen_values=None,
        unseen_by_attribute={},
        cold_ads=0,
        drift={},
        skew=None,
        slices=(),
    ),
    verdict=Verdict(judgements=()),
)


@dataclass
class Pipeline:
    """Settings, days of a log, and runs that end as they are told to, or else in a push."""

    folder: Path
    endings: dict[str, list[Status]] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def write(self, settings: str = "settled_minutes: 5") -> None:
        (self.folder / "config.yaml").write_text(
            f"name: small\nruns: {self.folder}/runs\nwatch: {{{settings}}}\n"
            f"data:\n  schema_file: schema.pbtxt\n"
            f"  input: {self.folder}/logs/day={{YYYY}}-{{MM}}-{{DD}}/*.csv\n"
        )

    def day(self, *days: int, age: float = 3600) -> None:
        """Lets the log of days come, so many seconds ago."""
        for day in days:
            file = self.folder / "logs" / f"day=2026-11-{day:02d}" / "part-0.csv"
            file.parent.mkdir(parents=True)
            file.write_text(CSV)
            os.utime(file, (time.time() - age, time.time() - age))

    def run(self, arguments: Sequence[str]) -> Child:
        if arguments[0] != "run":
            return self.after(arguments)
        assert arguments[:3] == ["run", "--config", str(self.folder / "config.yaml")]
        config = load_config(self.folder / "config.yaml", arguments[4::2])
        day = str(config.data.until)[-2:]
        self.ran.append(day)
        self.skipped[day] = [str(each)[-2:] for each in config.data.skip_spans]
        ending = self.endings.get(day, ["pushed"])
        status = ending.pop(0) if len(ending) > 1 else ending[0]
        if status == "failed" and len(ending) == 1:
            return Child(2, "twotower: the input cannot be used")
        folder = config.folder / f"2026-{len(self.ran):04d}"
        folder.mkdir(parents=True)
        code = CODES.get(status, -9)
        RunRecord(
            run_id=folder.name,
            folder=folder,
            status="running" if status == "killed" else status,
            exit_code=max(code, 0),
            message="why",
            findings=[FINDING] if status == "stopped by data" else [],
            config=config.model_dump(mode="json"),
            data={"rows": 4},
            nodes=[],
            version=len(self.ran) if status == "pushed" else None,
        ).write()
        return Child(code, "")

    def after(self, arguments: Sequence[str]) -> Child:
        """What comes after a run: the monitor, and a step of the release."""
        if arguments[0] == "release":
            self.ran.append("release")
            return Child(0, "", "version 1 is stable\n")
        options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
        assert options["--models"] == f"{self.folder}/serving"
        assert options["--log"] == f"{self.folder}/logs/day={options['--day']}/part-0.csv"
        self.ran.append(f"monitor {options['--day'][-2:]}")
        history = Path(options["--out"]) / "history.jsonl"
        history.parent.mkdir(exist_ok=True)
        entry = MEASURED.model_copy(update={"day": date.fromisoformat(options["--day"])})
        with history.open("a") as file:
            file.write(f"{entry.model_dump_json()}\n")
        return Child(5, "", f"{options['--day']}, version 1 (stable): 4 rows\n  FAIL  AUC\npage\n")

    def watch(self, **options: Any) -> Watch:
        return Watch(self.folder / "config.yaml", say=self.said.append, run=self.run, **options)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    made = Pipeline(tmp_path)
    made.write()
    return made


def test_it_begins_with_the_newest_day_and_goes_on_with_each(pipeline: Pipeline) -> None:
    pipeline.day(1, 2, 3)
    assert pipeline.watch().once() == 0
    assert pipeline.ran == ["03"]
    assert pipeline.said == ["2026-11-03: pushed as version 1, 4 rows, 0 s"]
    assert pipeline.watch().once() == 0
    assert pipeline.said[-1] == "nothing to do: the newest day, 2026-11-03, is done"
    pipeline.day(5, 4)
    pipeline.watch().once()
    assert pipeline.ran == ["03", "04", "05"]


def test_since_and_until_choose_the_days(pipeline: Pipeline) -> None:
    pipeline.day(1, 2, 3, 4, 5)
    first, last = (date(2026, 11, day) for day in (1, 4))
    assert pipeline.watch(since=first, until=last).forever() == 0
    assert pipeline.ran == ["02", "03", "04"]  # the first has nothing before it to train on
    pipeline.watch(since=first).once()
    assert pipeline.ran == ["02", "03", "04", "05"]
    with pytest.raises(InputError, match="--until: 4: expected a date"):
        pipeline.watch(until=4).once()


def test_a_day_that_was_killed_is_finished_first_and_none_is_left_out(pipeline: Pipeline) -> None:
    pipeline.day(1, 2)
    pipeline.endings["02"] = ["killed", "interrupted", "pushed"]
    for _ in range(2):
        with pytest.raises(TwotowerError, match=r"2026-11-02: (killed|interrupted): why"):
            pipeline.watch().once()
        pipeline.day(2 + len(pipeline.ran))
    pipeline.watch().once()
    assert pipeline.ran == ["02", "02", "02", "03", "04"]


def test_a_bad_day_is_named_and_left_out_of_later_days(pipeline: Pipeline) -> None:
    pipeline.day(1, 2, 3, 4, 5)
    pipeline.endings["03"] = ["stopped by data"]
    pipeline.endings["05"] = ["not blessed"]
    assert pipeline.watch(since=date(2026, 11, 2)).once() == CODES["not blessed"]
    assert pipeline.ran == ["02", "03", "04", "05"]
    assert pipeline.skipped == {"02": [], "03": [], "04": ["03"], "05": ["03"]}
    assert pipeline.said[1].startswith(
        "2026-11-03: stopped by the data, left out of later runs: att_age (eval): missing, 50%; "
    )
    assert pipeline.said[3].startswith("2026-11-05: not blessed: why; 4 rows, 0 s; ")


def test_a_day_that_cannot_be_run_ends_the_watch_and_is_tried_again(pipeline: Pipeline) -> None:
    pipeline.day(1, 2, 3)
    pipeline.endings["03"] = ["failed"]
    with pytest.raises(InputError, match="2026-11-03: the input cannot be used"):
        pipeline.watch().forever()
    pipeline.endings.clear()
    pipeline.watch().once()
    assert pipeline.ran == ["03", "03"]


def test_a_day_waits_until_it_is_complete_and_the_next_waits_for_it(pipeline: Pipeline) -> None:
    pipeline.day(1, 2)
    pipeline.watch().once()
    pipeline.day(3, age=60)
    pipeline.day(4)
    pipeline.watch().once()
    assert pipeline.ran == ["02"]
    assert pipeline.said[-1] == "nothing to do: 2026-11-03 is not complete yet"
    pipeline.write("settled_minutes: 0.5")
    pipeline.watch().once()
    assert pipeline.ran == ["02", "03", "04"]


def test_a_marker_ends_a_day(pipeline: Pipeline) -> None:
    pipeline.write("marker: _SUCCESS")
    pipeline.day(1, 2)
    pipeline.watch().once()
    assert pipeline.said == ["nothing to do: 2026-11-02 is not complete yet"]
    (pipeline.folder / "logs" / "day=2026-11-02" / "_SUCCESS").touch()
    pipeline.watch().once()
    assert pipeline.ran == ["02"]


def test_a_marker_needs_a_folder_a_day(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.write("marker: _SUCCESS")
    for number in (1, 2):
        (tmp_path / f"{number}.csv").write_text(CSV)
    overrides = [f"data.input={tmp_path}/{{SPAN}}.csv"]
    with pytest.raises(InputError, match="several days in one folder"):
        pipeline.watch(overrides=overrides).once()


def test_one_at_a_time(pipeline: Pipeline) -> None:
    pipeline.day(1, 2)
    runs = pipeline.folder / "runs" / "small"
    runs.mkdir(parents=True)
    with hold(runs):  # as a run does
        assert pipeline.watch().once() == 0
    assert pipeline.ran == []
    assert "another watch or run" in pipeline.said[0]


def test_a_release_follows_each_good_day(pipeline: Pipeline) -> None:
    pipeline.write("settled_minutes: 5")
    overrides = [
        "release.automatic=true",
        f"release.model_config_file={pipeline.folder}/models.config",
        f"pusher.serving_root={pipeline.folder}/serving",
    ]
    pipeline.day(1, 2)
    pipeline.watch(overrides=overrides).once()
    pipeline.day(3, 4)
    pipeline.endings["03"] = ["stopped by data"]
    for _ in range(2):
        pipeline.watch(overrides=overrides).once()
    after = ["release"]
    assert pipeline.ran == ["02", "monitor 02", *after, "03", "04", "monitor 04", *after]
    assert pipeline.said[1:3] == [
        "2026-11-02, version 1 (stable): 4 rows; FAIL AUC",
        "2026-11-02: version 1 is stable",
    ]


def test_what_a_killed_watch_left_to_measure_is_measured(pipeline: Pipeline) -> None:
    pipeline.day(1, 2)
    pipeline.watch().once()  # as if it had been killed right after the run
    overrides = [
        "release.automatic=true",
        f"release.model_config_file={pipeline.folder}/models.config",
        f"pusher.serving_root={pipeline.folder}/serving",
    ]
    pipeline.watch(overrides=overrides).once()
    assert pipeline.ran == ["02", "monitor 02", "release"]


def test_an_input_without_days_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(InputError, match="a watch needs a pattern of days"):
        pipeline.watch(overrides=[f"data.input={pipeline.folder}"]).once()


statuses = st.sampled_from(["pushed", "not blessed", "stopped by data", "killed", "interrupted"])


@given(arrivals=st.lists(st.integers(1, 3), max_size=4), endings=st.data())
def test_every_day_is_done_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    arrivals: list[int],
    endings: Any,
) -> None:
    pipeline = Pipeline(tmp_path_factory.mktemp("watch"))
    pipeline.write()
    pipeline.day(1, 2)
    last = 2
    for count in [0, *arrivals]:
        pipeline.day(*range(last + 1, last + count + 1))
        for day in range(last + (count > 0), last + count + 1):
            pipeline.endings[f"{day:02d}"] = [
                *endings.draw(st.lists(statuses, max_size=2)),
                "pushed",
            ]
        last += count
        with_errors(pipeline.watch().once)
    while with_errors(pipeline.watch().once):
        pass
    done = [
        day for day, before in zip(pipeline.ran[1:], pipeline.ran, strict=False) if day != before
    ]
    assert [pipeline.ran[0], *done] == [f"{day:02d}" for day in range(2, last + 1)]


def with_errors(act: Callable[[], int]) -> bool:
    """Whether an error ended it."""
    try:
        act()
    except TwotowerError:
        return True
    return False
