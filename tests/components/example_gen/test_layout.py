import pytest

from components.errors import InputError
from components.example_gen.layout import WHOLE, find_layout


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_file_is_to_be_split_whatever_its_name_and_neighbours(tmp_path):
    touch(tmp_path, "clicks [1]*.csv", "clicks 1.csv")
    layout = find_layout(tmp_path / "clicks [1]*.csv")
    assert not layout.is_split
    assert layout.files() == {WHOLE: [str(tmp_path / "clicks [1]*.csv")]}


def test_a_folder_is_its_csv_files_in_order(tmp_path):
    touch(tmp_path, "b.csv", "a.csv", "notes.txt", "deeper/c.csv")
    layout = find_layout(tmp_path)
    assert not layout.is_split
    assert layout.files() == {WHOLE: [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]}


def test_files_are_read_by_the_end_of_their_name_in_upper_or_lower_case(tmp_path):
    names = ["1.CSV", "2.csv.gz", "3.Tsv", "4.tsv.GZ", "5.parquet", "6.csv"]
    touch(tmp_path, *names)
    assert find_layout(tmp_path).files() == {WHOLE: [str(tmp_path / name) for name in names]}


def test_what_is_not_read_is_known(tmp_path):
    touch(tmp_path, "a.csv", "b.xlsx", "old.csv/a.csv", "deeper/c.csv", "_SUCCESS", ".a.csv.crc")
    touch(tmp_path, "_b.csv")
    assert find_layout(tmp_path).ignored() == ["_b.csv", "b.xlsx", "deeper/", "old.csv/"]
    assert find_layout(tmp_path / "a.csv").ignored() == []
    touch(tmp_path, "train/a.csv", "train/notes.txt", "eval/a.csv", "eval/more/b.csv")
    assert find_layout(tmp_path).ignored() == [
        "_b.csv",
        "a.csv",
        "b.xlsx",
        "deeper/",
        "old.csv/",
        "train/notes.txt",
        "eval/more/",
    ]


def test_content_and_names_make_the_fingerprint(tmp_path):
    write = {"a.csv": "1", "b.csv": "2"}
    prints = []
    for change in ({}, {"b.csv": "3"}, {"a.csv": "2", "b.csv": "1"}, {"c.csv": ""}, {"n.txt": "4"}):
        folder = tmp_path / str(len(prints))
        folder.mkdir()
        for name, content in {**write, **change}.items():
            (folder / name).write_text(content)
        prints.append(find_layout(folder).fingerprint())
    assert len(set(prints)) == 4
    assert prints[0] == prints[4]


def test_a_folder_with_train_and_eval_is_split(tmp_path):
    touch(tmp_path, "train/a.csv", "train/b.csv", "eval/c.csv", "d.csv")
    layout = find_layout(tmp_path)
    assert layout.is_split
    assert layout.files() == {
        "train": [str(tmp_path / "train/a.csv"), str(tmp_path / "train/b.csv")],
        "eval": [str(tmp_path / "eval/c.csv")],
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a.csv"], "has train/ but no eval/"),
        (["eval/a.csv"], "has eval/ but no train/"),
        (["a.txt", "b/a.csv"], r"no file in it ends in .csv, .*; there are a.txt, b/"),
        (["_a.csv", ".b.csv"], "no file in it ends in .csv"),
        (["train/a.csv", "eval/a.txt"], "eval: no file in it ends in .csv"),
    ],
)
def test_folders_that_make_no_sense_are_refused(tmp_path, files, message):
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message):
        find_layout(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        find_layout(tmp_path / "nowhere")
