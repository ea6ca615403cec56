"""What runs leave, made by hand, and Debian's chromium to look at their reports with."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.evaluator.verdict import VERDICT_FILE
from components.features import MODELS
from components.findings import Finding, to_json
from components.validator.validation import VALIDATION_FILE, Check, Validation
from pipeline.config import PipelineConfig
from pipeline.run_record import NodeRecord, RunRecord
from tests.evaluations import InService, evaluate

HOSTILE = "<script>alert('an ad')</script> & <b>more</b>"
DEVICES = ("phone", "tablet", "<i>television</i>")


def eval_rows(count: int, ads: int, seed: int = 3) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Rows of an eval split, the probabilities their clicks are drawn with, and worse ones."""
    draw = np.random.default_rng(seed)
    ad = np.minimum(draw.geometric(4 / ads, count) - 1, ads - 1)
    truth = 1 / (1 + np.exp(2.5 - draw.normal(size=count) - draw.normal(size=ads)[ad]))
    rows = {
        "att_device": [DEVICES[number] for number in draw.integers(0, 3, count)],
        "att_days": draw.integers(0, 1000, count).astype(np.float32),
        "text": [HOSTILE if number == 0 else f"Buy number {number} today" for number in ad],
        "message_id": [f"ad-{number}" for number in ad],
        "clicked": (draw.random(count) < truth).astype(np.int64),
    }
    return pa.table(rows), truth, np.clip(truth + draw.normal(0, 0.1, count), 0, 1)


def statistics(shares: dict[str, int], missing: int) -> bytes:
    """Statistics of 1,000 rows: the device's values by rows, and numbers of two columns."""
    split = statistics_pb2.DatasetFeatureStatistics(num_examples=1000)
    device = split.features.add(path={"step": ["att_device"]}, type="STRING").string_stats
    device.common_stats.tot_num_values = 1000 - missing
    device.unique = len(shares)
    for value, rows in shares.items():
        device.rank_histogram.buckets.add(label=value, sample_count=rows)
    days = split.features.add(path={"step": ["att_days"]}, type="INT").num_stats
    days.common_stats.tot_num_values = 1000
    days.min, days.median, days.max = 0, 365, 3650
    label = split.features.add(path={"step": ["clicked"]}, type="INT").num_stats
    label.common_stats.tot_num_values = 1000
    label.mean = 0.125
    return statistics_pb2.DatasetFeatureStatisticsList(datasets=[split]).SerializeToString()


class Runs:
    """A pipeline's folder, in which runs are made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = 0

    def make(
        self,
        status: str,
        *,
        version: int | None = None,
        rows: int = 3000,
        ads: int = 40,
        message: str = "",
        in_service: int | None = None,
        broken: str | None = None,
        **settings: Any,
    ) -> RunRecord:
        """Writes a run that ended with `status`; one that the data stopped has no model.

        Of the exports, `broken` could not be loaded.
        """
        self._runs += 1
        run_id = f"20260102-0304{self._runs:02}-000000"
        folder = self.folder / run_id
        folder.mkdir(parents=True)
        config = PipelineConfig.model_validate(
            {
                "name": "shop",
                "runs": self.folder.parent,
                "data": {"input": "data.csv", "schema_file": "schema.pbtxt"},
                "evaluator": {"min_auc": 0.6, "min_slice_clicks": 50, **settings},
            }
        )
        nodes = [self._statistics()]
        if status != "stopped by data":
            nodes += [
                self._gate(),
                self._training(),
                self._evaluation(config, rows, ads, in_service),
                self._validation(broken),
            ]
        record = RunRecord(
            run_id=run_id,
            folder=folder,
            status=status,  # type: ignore[arg-type]
            exit_code=0,
            message=message,
            config=config.model_dump(mode="json"),
            data={
                "rows": 5 * rows,
                "clicks": rows,
                "ads": ads,
                "texts": ads,
                "split": "20 rows (20.0%) for evaluation: by chance",
                "bad_rows": 2,
                "warnings": ["an ad id has two texts"],
            },
            nodes=nodes,
            version=version,
        )
        record.write()
        return record

    def _artifact(self, name: str) -> Path:
        folder = self.folder / "artifacts" / name / str(self._runs)
        folder.mkdir(parents=True)
        return folder

    def _statistics(self) -> NodeRecord:
        folder = self._artifact("statistics")
        splits = {"train": (600, 300, 90), "eval": (550, 350, 80)}
        for split, counts in splits.items():
            (folder / f"Split-{split}").mkdir()
            content = statistics(dict(zip(DEVICES, counts, strict=True)), 1000 - sum(counts))
            (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(content)
        return node("statistics", statistics=folder)

    def _gate(self) -> NodeRecord:
        notes = self._artifact("schema_gate") / "value"
        finding = Finding(split="train", column="att_days", problem="drifted", detail="by <0.2>")
        notes.write_text(to_json([finding]))
        return node("schema_gate", notes=notes)

    def _training(self) -> NodeRecord:
        folder = self._artifact("trainer")
        history = {"loss": [0.5, 0.4, 0.3], "val_loss": [0.52, 0.41, 0.44]}
        (folder / "training.json").write_text(json.dumps({"history": history}))
        return node("trainer", model_run=folder)

    def _evaluation(
        self, config: PipelineConfig, count: int, ads: int, in_service: int | None
    ) -> NodeRecord:
        rows, scores, others = eval_rows(count, ads)
        baseline = (
            InService()
            if in_service is None
            else InService(f"serving/click_model/{in_service}", scores=others)
        )
        texts = {f"Buy number {number} today": 10 * number for number in range(ads)}
        evaluation, blessing = self._artifact("evaluation"), self._artifact("blessing")
        judged = evaluate(
            rows, scores, texts, evaluation, in_service=baseline, settings=config.evaluator
        )
        (blessing / VERDICT_FILE).write_text(judged.verdict.model_dump_json())
        return node("evaluator", evaluation=evaluation, blessing=blessing)

    def _validation(self, broken: str | None) -> NodeRecord:
        folder = self._artifact("infra_blessing")
        checks = tuple(
            Check(
                model=model,
                what="loading",
                required="it loads",
                measured="no such op: <Odd>" if model == broken else "in 0.4 s",
                passed=model != broken,
            )
            for model in MODELS
        )
        validation = Validation(server="local server", rows=64, seconds=2.5, checks=checks)
        (folder / VALIDATION_FILE).write_text(validation.model_dump_json())
        return node("validator", blessing=folder)


def node(name: str, **outputs: Path) -> NodeRecord:
    folders = {output: str(folder) for output, folder in outputs.items()}
    return NodeRecord(id=name, state="done", seconds=1.5, outputs=folders)


@pytest.fixture(scope="module")
def new_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Runs]:
    """Makes an empty folder for a pipeline's runs."""
    return lambda: Runs(tmp_path_factory.mktemp("runs") / "shop")


class Page:
    """A page of chromium, driven over a pipe by the DevTools protocol.

    Attributes:
        complaints: what was written to the console as a warning or an error.
        requests: the addresses that were asked for.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb", buffering=0)
        self._answers = os.fdopen(answers, "rb")
        self._number = 0
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the DevTools protocol and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._notice(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, file: Path, *, width: int = 1400, dark: bool = False) -> None:
        """Loads a file, and waits until its plots are drawn, if it has any."""
        self.complaints.clear()
        self.requests.clear()
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=file.as_uri())
        self.evaluate(
            """new Promise((resolve) => {
                const plots = () => [...document.querySelectorAll(".plot")];
                const ready = () => document.readyState === "complete"
                  && plots().every((plot) => plot.querySelector(".main-svg"));
                const look = () => ready() ? resolve() : setTimeout(look, 20);
                look();
            })"""
        )

    def evaluate(self, script: str) -> Any:
        """Returns the value of a JavaScript expression; of a promise, what it resolves to."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Presses a key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    def type(self, selector: str, text: str) -> None:
        """Types into a field, in place of what is in it."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def screenshot(self) -> bytes:
        """Returns the whole page as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**size, "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """Returns the page as it prints."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def _read(self) -> dict[str, Any]:
        answer = bytearray()
        while not answer.endswith(b"\0"):
            part = self._answers.peek()
            assert part, "chromium is gone"
            answer += self._answers.read(part.find(b"\0") + 1 or len(part))
        return json.loads(answer[:-1])

    def _notice(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"]["text"])
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error"):
            self.complaints.append(str(parameters["args"]))
        if method == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
            self.complaints.append(parameters["entry"]["text"])
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, lack: Callable[..., NoReturn]) -> Iterator[Page]:
    """An empty page of a headless browser."""
    program = shutil.which("chromium")
    if program is None:
        lack("chromium")
    commands, answers = os.pipe(), os.pipe()

    def connect() -> None:  # chromium reads commands from descriptor 3 and answers on 4
        os.dup2(commands[0], 3)
        os.dup2(answers[1], 4)

    process = subprocess.Popen(
        [
            *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--remote-debugging-pipe", f"--user-data-dir={tmp_path_factory.mktemp('profile')}"),
        ],
        preexec_fn=connect,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands[0])
    os.close(answers[1])
    yield Page(commands[1], answers[0])
    process.kill()
    process.wait()
