"""Beam's work through job servers, by workers in processes of their own.

The same run against Beam's two job servers for one machine: the one that comes with its Python SDK,
and Prism, a second implementation of the portable protocol, in Go, which takes nothing that the
protocol does not say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import apache_beam as beam
import numpy as np
import pytest

from components.evaluator.measure import Metrics, read_metrics
from components.evaluator.verdict import read_verdict
from components.features import EVAL, ITEM_TOWER, USER_TOWER
from components.schema_gate.anomalies import read_schema
from components.schema_gate.row_counts import count_rows, counted, read_counts
from components.value_counts import LABEL, VALUE
from pipeline.beam import beam_arguments
from pipeline.config import load_config
from tests.e2e.weights import tower_weights
from tests.ports import free_port
from tests.servers import running

if TYPE_CHECKING:
    from conftest import Campaign
else:
    Campaign = Any

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

WORKERS = 2
BEAM_NODES = ("example_gen", "transform", "evaluator")  # the others read no row
PRISM = Path("~/.cache/twotower/prism", beam.__version__).expanduser()


@pytest.fixture(scope="module")
def worker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Where Beam's worker pool listens, with what the image has: this environment; and its log."""
    port = free_port()
    command = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    log = tmp_path_factory.mktemp("worker pool") / "log"
    with running([sys.executable, *command], port, log):
        yield f"localhost:{port}", log


@pytest.fixture(params=["python", "prism"])
def job_server(
    request: pytest.FixtureRequest, tmp_path: Path, lack: Callable[..., NoReturn]
) -> Iterator[str]:
    port = free_port()
    if request.param == "python":
        module = "apache_beam.runners.portability.local_job_service_main"
        command = [sys.executable, "-m", module, f"--port={port}"]
    else:
        command = [str(prism(lack)), f"--job_port={port}", "--serve_http=false"]
    with running(command, port, tmp_path / "job_server.log"):
        yield f"localhost:{port}"


def prism(lack: Callable[..., NoReturn]) -> Path:
    """Returns Prism of the Beam that is installed; it is built where this machine has none yet."""
    binary = PRISM / "prism"
    if not binary.exists():
        go = shutil.which("go")
        if go is None:
            lack("prism", "no Go")
        package = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{beam.__version__}"
        built = subprocess.run(
            [go, "install", package],
            env={**os.environ, "GOBIN": str(PRISM)},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            lack("prism", f"`go install {package}` failed: {built.stderr.strip()[-300:]}")
    return binary


def test_a_job_server_makes_what_one_process_makes(
    pushed: Campaign,
    new_campaign: Callable[[], Campaign],
    worker_pool: tuple[str, Path],
    job_server: str,
) -> None:
    pool, pool_log = worker_pool
    before = pool_log.stat().st_size
    campaign = new_campaign()
    result = campaign.run(*on_workers(job_server, pool))
    assert result.returncode == 0, result.stdout
    # Both servers give each job, and so each node, a process of its own.
    assert pool_log.read_text()[before:].count("Starting worker") >= len(BEAM_NODES)
    assert_same_results(campaign, pushed)


def test_workers_count_the_rows_that_example_gen_has_not_counted(
    pushed: Campaign, worker_pool: tuple[str, Path], job_server: str, tmp_path: Path
) -> None:
    config = load_config(pushed.folder / "config.yaml", on_workers(job_server, worker_pool[0]))
    columns = config.data.columns
    schema = read_schema(str(pushed.first_record().output("schema", "schema")))
    names = [each.name for each in schema.feature if each.name != columns.label]
    examples = str(pushed.first_record().output("example_gen", "examples"))
    with beam.Pipeline(argv=beam_arguments(config)) as pipeline:
        split = f"{examples}/Split-{EVAL}"
        count_rows(pipeline, EVAL, split, schema, names, columns, str(tmp_path))
    found = read_counts(str(tmp_path), EVAL, names)
    expected = counted(examples, EVAL, schema, names, columns)
    assert expected is not None
    for name in names:
        order = [(VALUE, "ascending"), (LABEL, "ascending")]
        ours, theirs = (each[name].sort_by(order).to_pydict() for each in (found, expected))
        assert ours == theirs, name


def on_workers(job_server: str, pool: str) -> list[str]:
    """Returns the settings for workers of a pool that a job server asks."""
    return [
        "beam.runner=flink",
        f"beam.workers={WORKERS}",
        f"beam.job_endpoint={job_server}",
        f"beam.worker_pool={pool}",
        "deploy.image=registry.example/twotower:1",
    ]


def assert_same_results(campaign: Campaign, expected: Campaign) -> None:
    """Compares towers, metrics, verdict and notes of the first runs of two campaigns."""
    for tower in (USER_TOWER, ITEM_TOWER):
        weights, theirs = (tower_weights(each.serving, tower) for each in (campaign, expected))
        for name, weight in weights.items():
            np.testing.assert_allclose(weight, theirs[name], atol=1e-5, err_msg=name)
    ours, theirs = (numbers(measured(each)) for each in (campaign, expected))
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert judged(campaign) == judged(expected)
    assert campaign.first_record().notes() == expected.first_record().notes()


def measured(campaign: Campaign) -> Metrics:
    return read_metrics(str(campaign.first_record().output("evaluator", "evaluation")))


def numbers(metrics: Metrics) -> dict[str, float]:
    """Returns the numbers of a model's metrics, of all rows and of each slice, by their names."""
    parts = {"all": metrics.overall, **{str(each.where): each.metrics for each in metrics.slices}}
    return {
        f"{part} {name}": value
        for part, of_part in parts.items()
        for name in type(of_part).model_fields
        if isinstance(value := of_part.value(name), int | float)
    }


def judged(campaign: Campaign) -> list[tuple[str, str, bool | None]]:
    verdict = read_verdict(str(campaign.first_record().output("evaluator", "blessing")))
    return [(each.rule, each.slice, each.passed) for each in verdict.judgements]
