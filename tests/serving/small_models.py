"""Small real models, made as a run makes them, for the tests of what reads pushed models."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from typer.testing import CliRunner

from components.features import Columns
from components.pusher.publish import publish
from components.trainer.export import Exporter
from components.trainer.input_data import training_data, write_compact
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import train
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import TwoTower
from pipeline import cli
from tests.analysis import write_examples

CATALOGUE = {f"ad-{number}": f"Ad number {number} of many" for number in range(12)}
AGES = ["young", "old", "äldre"]
# Of the ads of the catalogue, in its order.
FORMATS = [None if number == 4 else ("image", "video")[number % 2] for number in range(12)]
PRICES = [None if number == 7 else number / 4 for number in range(12)]


def users(count: int) -> list[dict[str, Any]]:
    """Users with a string and a numeric attribute, some of them missing."""
    draw = np.random.default_rng(7)
    return [
        {
            "user_id": f"user-{number % 40}",
            "att_age": None if number % 9 == 4 else AGES[draw.integers(3)],
            "att_days": None if number % 7 == 3 else int(draw.integers(1000)),
        }
        for number in range(count)
    ]


@functools.cache
def exports(analyse: Callable[..., Path], ids: bool = False, ad_attributes: bool = False) -> Path:
    """The four models; with ids they take the user's and the ad's, too, and what ads have."""
    of_ads = [
        {"ad_format": each, "ad_price": price} if ad_attributes else {}
        for each, price in zip(FORMATS, PRICES, strict=True)
    ]
    rows = [
        {**user, "text": text, "message_id": ad, "clicked": number % 2, **of_ads[number % 12]}
        for number, (user, (ad, text)) in enumerate(
            zip(users(120), 10 * list(CATALOGUE.items()), strict=True)
        )
    ]
    columns = Columns(user_id="user_id" if ids else None)
    settings = {"columns": columns.model_dump(), "user_id": ids, "ad_id": ids}
    graph = analyse(rows, **settings)
    transform = TransformGraph(str(graph), columns)
    keras.utils.set_random_seed(3)
    model = TwoTower(
        transform.user_width,
        transform.ad_width,
        ad_attribute_width=transform.ad_attribute_width,
        user_ids=transform.user_ids,
        ad_ids=transform.ad_ids,
    )
    for weights in model.weights:  # also the biases, which begin as zeros
        weights.assign(weights + keras.random.normal(weights.shape, stddev=0.2, seed=1))
    model.click.set_weights([np.array([[3.0]]), np.array([-1.0])])
    folder = graph.parent / "exports"
    catalogue = {
        "message_id": [ad.encode() for ad in CATALOGUE],
        "text": [text.encode() for text in CATALOGUE.values()],
        "ad_format": [(each or "").encode() for each in FORMATS],
        "ad_price": [np.nan if price is None else price for price in PRICES],
    }
    Exporter(model, transform, columns).export(folder, catalogue)
    return folder


def trained(analyse: Callable[..., Path], rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Makes the four models of `exports` anew, as they are when trained on rows."""
    columns = Columns()
    transform = TransformGraph(str(exports(analyse).parent / "graph"), columns)
    with tempfile.TemporaryDirectory() as work:
        examples = Path(work, "examples.gz")
        write_examples(examples, rows)
        impressions, validation, ads = write_compact(
            [str(examples)], Path(work, "compact"), transform, columns, validation_share=0.1, seed=1
        )
        data = training_data(impressions, validation, ads, transform)
        keras.utils.set_random_seed(1)
        model = data.two_tower(ModelSettings())
        train(model, data, TrainerSettings())
    Exporter(model, transform, columns).export(folder, ads.catalogue())


def push(models: Path, root: Path) -> Path:
    """Pushes the models as a further version, and returns the serving root."""
    publish(models, root, keep_versions=3)
    return root


def write_csv(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes rows; None is an empty field."""
    rows = list(rows)
    lines = [",".join(rows[0]), *(",".join(_field(v) for v in row.values()) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def write_ads(file: Path, ads: Mapping[str, str]) -> Path:
    """Writes a catalogue."""
    return write_csv(file, [{"message_id": ad, "text": text} for ad, text in ads.items()])


def twotower(*arguments: object) -> str:
    """Runs the command in this process and returns what it prints.

    Raises:
        TwotowerError: as the command's code does, before it becomes one line.
    """
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def tensorflow_loaded_by(*arguments: object) -> str:
    """Runs the command in a process of its own; names what it loads of TensorFlow's Python."""
    code = (
        "import sys; from typer.testing import CliRunner; from pipeline.cli import app;"
        f"assert CliRunner().invoke(app, {[str(each) for each in arguments]}).exit_code == 0;"
        "print({'tensorflow.python', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _field(value: Any) -> str:
    return "" if value is None else '"{}"'.format(str(value).replace('"', '""'))
