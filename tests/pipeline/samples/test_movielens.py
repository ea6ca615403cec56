import zipfile
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow.csv
import pytest

from components.errors import InputError
from components.example_gen.csv_reader import check_input
from components.example_gen.settings import ReadingSettings
from components.features import Columns
from pipeline.samples import movielens
from pipeline.samples.movielens import TABLES, write_movielens, write_ratings

RATINGS = """user_id:token\titem_id:token\trating:float\ttimestamp:float
7\t12\t4\t881250949
8\t12\t3\t881250950
9\t5\t5\t881250951
7\t5\t1\t881250952
"""
USERS = """user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token
7\t17\tM\tstudent\t85711
8\t18\tF\tnone\tV3N4P
9\t56\tF\twriter\t02139
"""
FILMS = """item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
5\tÀ propos de "Nice"\t1930\tDocumentary
12\tUsual Suspects, The\t1995\tCrime Thriller
"""


def make_wheel(path: Path, **tables: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in tables.items():
            archive.writestr(f"{TABLES}.{name}", text)
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "wheel.whl", inter=RATINGS, user=USERS, item=FILMS)


def test_ratings_become_impressions(wheel: Path, tmp_path: Path) -> None:
    facts = write_ratings(wheel, tmp_path / "out")
    assert facts.impressions == tmp_path / "out" / "impressions.csv"
    assert pyarrow.csv.read_csv(
        facts.impressions,
        convert_options=pyarrow.csv.ConvertOptions(column_types={"att_region": "string"}),
    ).to_pydict() == {
        "att_age": ["under 18", "18-24", "56+", "under 18"],
        "att_gender": ["M", "F", "F", "M"],
        "att_occupation": ["student", "none", "writer", "student"],
        "att_region": ["8", "V", "0", "8"],
        "user_id": [7, 8, 9, 7],
        "text": [
            "Usual Suspects, The (1995). Crime Thriller",
            "Usual Suspects, The (1995). Crime Thriller",
            'À propos de "Nice" (1930). Documentary',
            'À propos de "Nice" (1930). Documentary',
        ],
        "message_id": [12, 12, 5, 5],
        "rated_at": [881250949, 881250950, 881250951, 881250952],
        "clicked": [1, 0, 1, 0],
    }
    assert (facts.rows, facts.ads, facts.click_rate) == (4, 2, 0.5)
    assert facts.one_hot_columns == 3 + 2 + 3 + 3


def test_impressions_are_input_that_a_run_accepts(wheel: Path, tmp_path: Path) -> None:
    facts = write_ratings(wheel, tmp_path)
    settings = ReadingSettings(columns=Columns(user_id="user_id"), categorical=["att_region"])
    summary = check_input(facts.impressions, settings)
    assert (summary.rows, summary.clicks, summary.ads, summary.warnings) == (4, 2, 2, [])


def test_every_age_has_its_bracket(tmp_path: Path) -> None:
    ages = range(1, 100)
    head = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    users = head + "".join(f"{age}\t{age}\tM\tother\t1\n" for age in ages)
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    ratings = head + "".join(f"{age}\t5\t{1 + age % 5}\t1\n" for age in ages)
    wheel = make_wheel(tmp_path / "wheel.whl", inter=ratings, user=users, item=FILMS)
    rows = pyarrow.csv.read_csv(write_ratings(wheel, tmp_path).impressions).to_pylist()
    for row in rows:
        bracket = row["att_age"].replace("under 18", "1-17").replace("56+", "56-99")
        first, last = map(int, bracket.split("-"))
        # GroupLens' own names overlap nowhere, but leave no gap either: 50-55 is followed by 56+.
        assert first <= row["user_id"] <= last


def test_a_wheel_without_the_data_is_refused(tmp_path: Path) -> None:
    incomplete = make_wheel(tmp_path / "incomplete.whl", inter=RATINGS)
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"not a zip")
    for wheel in (incomplete, broken):
        with pytest.raises(InputError, match=r"whl is not recbole==1\.2\.1 as expected"):
            write_ratings(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_network_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **_: object) -> CompletedProcess[str]:
        assert "--require-hashes" in command
        return CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: no such host\n")

    monkeypatch.setattr(movielens.subprocess, "run", fail)
    with pytest.raises(InputError) as raised:
        write_movielens(tmp_path / "out")
    message = "MovieLens 100K could not be fetched; is there a network? pip: ERROR: no such host"
    assert str(raised.value) == message
