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
        (["a.tsv"], "no file in it ends in .csv"),
        (["train/a.csv", "eval/a.tsv"], "eval: no file in it ends in .csv"),
    ],
)
def test_folders_that_make_no_sense_are_refused(tmp_path, files, message):
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message):
        find_layout(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        find_layout(tmp_path / "nowhere")
