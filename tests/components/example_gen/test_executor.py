import csv
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.components.example_gen.csv_example_gen import executor as stock
from tfx.types import artifact_utils, standard_artifacts

from components.errors import InputError
from components.example_gen import examples, parts
from components.example_gen.component import csv_example_gen
from components.example_gen.counts_file import read_counts
from components.example_gen.executor import ColumnarCsvExecutor
from components.example_gen.input_files import read_blocks
from components.example_gen.layout import find_layout
from components.example_gen.settings import ReadingSettings

IN_MEMORY = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]
HEADER = ["att_a", "att_age", "att_agent", "att_none", "text", "message_id", "clicked", "extra"]

SPLITS = ("train", "eval")
SMALL_BLOCKS = partial(read_blocks, block_bytes=700)


def rows(count):
    ages = ["25-34", "35-44", "", 'the "old", wise']
    return [
        [
            ages[n % 4],
            n % 30 or "",
            n / 8 if n % 5 else "",
            "",
            TEXTS[n % 3],
            f"ad-{n % 9}",
            int(n % 7 == 0),
            n,
        ]
        for n in range(count)
    ]


TEXTS = ["Buy now", "Läuft, wirklich\n– „gut“ 😀", '"Quoted"']


def write(path, rows, header=HEADER):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return path


def run(which, path, out, **settings):
    """Runs an executor on the input at `path`; returns the Examples artifact."""
    component = csv_example_gen(find_layout(path), ReadingSettings(**settings))
    artifact = standard_artifacts.Examples()
    artifact.uri = str(out)
    which.Do({}, {"examples": [artifact]}, dict(component.exec_properties))
    return artifact


def ours(path, out, **settings):
    return run(ColumnarCsvExecutor(), path, out, **settings)


def files(artifact, split):
    return sorted(tf.io.gfile.glob(f"{artifact.uri}/Split-{split}/*"))


def read(artifact, split):
    """The split's Examples, serialized in one way, with how often each is there."""
    records = tf.data.TFRecordDataset(files(artifact, split), "GZIP").as_numpy_iterator()
    examples = [tf.train.Example.FromString(record) for record in records]
    return Counter(example.SerializeToString(deterministic=True) for example in examples)


@pytest.mark.parametrize("is_split", [False, True])
def test_examples_are_those_of_csv_example_gen(tmp_path, is_split):
    given = rows(300)
    if is_split:
        write(tmp_path / "in/train/a.csv", given[:100])
        write(tmp_path / "in/train/b.csv", given[100:200])
        write(tmp_path / "in/eval/c.csv", given[200:])
    else:
        write(tmp_path / "in/a.csv", given)
    artifact = ours(tmp_path / "in", tmp_path / "ours")
    context = stock.Executor.Context(beam_pipeline_args=IN_MEMORY, tmp_dir=str(tmp_path))
    expected = run(stock.Executor(context), tmp_path / "in", tmp_path / "stock")
    assert artifact.split_names == expected.split_names
    mine, theirs = ([read(each, split) for split in SPLITS] for each in (artifact, expected))
    assert min(map(len, mine)) > 30
    assert sum(mine, Counter()) == sum(theirs, Counter())
    if is_split:
        assert mine == theirs


def test_the_artifact_says_what_is_in_it(tmp_path):
    artifact = ours(write(tmp_path / "in.csv", rows(50)), tmp_path / "out")
    assert artifact_utils.decode_split_names(artifact.split_names) == ["train", "eval"]
    assert artifact.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"


@pytest.mark.parametrize("share", [0.05, 0.2, 1 / 3, 0.5])
def test_the_eval_share_is_what_was_asked_for(tmp_path, share):
    artifact = ours(write(tmp_path / "in.csv", rows(4000)), tmp_path / "out", eval_share=share)
    part = read(artifact, "eval").total() / 4000
    assert part == pytest.approx(share, abs=3.5 * (share * (1 - share) / 4000) ** 0.5)


@pytest.mark.parametrize("split", [{"by": ["ad"]}, {"time": "day"}])
def test_the_examples_are_split_as_the_settings_say(tmp_path, split):
    header = ["att_age", "text", "message_id", "clicked", "ad", "day"]
    given = [
        ["old", "Buy", "m", n % 2, f"ad-{n % 9}", f"2026-11-{1 + n // 40:02}"] for n in range(400)
    ]
    artifact = ours(write(tmp_path / "in.csv", given, header), tmp_path / "out", split=split)
    (column,) = [split.get("time") or split["by"][0]]
    train, evaluation = (values(read(artifact, part), column) for part in SPLITS)
    assert not train & evaluation
    if column == "day":
        assert max(train) < min(evaluation) == b"2026-11-09"
    else:
        assert len(train | evaluation) == 9


def values(examples, column):
    parsed = map(tf.train.Example.FromString, examples)
    return {example.features.feature[column].bytes_list.value[0] for example in parsed}


def test_blocks_do_not_show_in_the_files(tmp_path, monkeypatch):
    path = write(tmp_path / "in.csv", rows(300))
    large = ours(path, tmp_path / "1")
    monkeypatch.setattr(examples, "read_blocks", SMALL_BLOCKS)
    small = ours(path, tmp_path / "2")
    for one, other in zip(files(large, "train"), files(small, "train"), strict=True):
        a, b = (list(tf.data.TFRecordDataset(f, "GZIP").as_numpy_iterator()) for f in (one, other))
        assert a == b


def test_every_part_is_a_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "RANGE_BYTES", 4000)
    path = write(tmp_path / "in.csv", rows(250))
    artifact = ours(path, tmp_path / "out")
    count = len(parts.find_parts({"whole": [str(path)]})["whole"])
    assert count > 2
    for split in SPLITS:
        names = [file.rpartition("/")[2] for file in files(artifact, split)]
        assert names == [f"data_tfrecord-{n:05}-of-{count:05}.gz" for n in range(count)]
    assert sum(read(artifact, split).total() for split in SPLITS) == 250


def test_four_workers_write_the_bytes_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "RANGE_BYTES", 2000)
    write(tmp_path / "in/a.csv", [*rows(150), ["a", 1, 1, "", "", "ad", 1, 2]])
    write(tmp_path / "in/b.csv", rows(150))
    workers = ["--direct_running_mode=multi_threading", "--direct_num_workers=4"]
    context = ColumnarCsvExecutor.Context(["--runner=DirectRunner", *workers])
    four = run(ColumnarCsvExecutor(context), tmp_path / "in", tmp_path / "4", bad_rows="quarantine")
    one = ours(tmp_path / "in", tmp_path / "1", bad_rows="quarantine")
    assert len(contents(one)) > 10
    assert "quarantine.csv" in contents(one)
    assert contents(four) == contents(one)


def contents(artifact):
    """The bytes of every file of an artifact, by its name in there."""
    folder = Path(artifact.uri)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_bad_rows_are_set_aside_and_nothing_disappears(tmp_path):
    train = write(tmp_path / "in/train/a.csv", rows(40))
    bad = {
        43: b'a,1,1,,text,"id ""x"", y",maybe,2',
        44: b"a,1,1,,text\xff,ad,1,2",
        45: b"too,few",
        46: b'"two\r\nlines",1,1,,text,ad,1,2,3',
        48: b"a,1,1,,,,1,2",
    }
    lines = train.read_bytes().count(b"\n")
    with train.open("ab") as out:
        out.write(b"\r\n" * (42 - lines) + b"\r\n".join(bad.values()) + b"\r\n")
    write(tmp_path / "in/eval/b.csv", [*rows(30), ["a", 1, 1, "", "text", "ad", 2, 2]])

    with pytest.raises(InputError, match="'maybe' on line"):
        ours(tmp_path / "in", tmp_path / "refused")
    artifact = ours(tmp_path / "in", tmp_path / "out", bad_rows="quarantine")
    assert read(artifact, "train").total() == 40
    assert read(artifact, "eval").total() == 30

    raw = (tmp_path / "out/quarantine.csv").read_bytes()
    for row in bad.values():
        assert b"," + row + b"\n" in raw
    text = raw.decode(errors="replace").splitlines(keepends=True)
    header, *found = csv.reader(text)
    assert header == ["file", "line", "reason", *HEADER]
    assert [(row[0], row[2]) for row in found] == [
        (str(tmp_path / "in/train/a.csv"), reason)
        for reason in (
            "column clicked: expected 0 or 1, got 'maybe'",
            "column text: expected text in UTF-8, got byte 0xff",
            "expected 8 fields, as in the header, got 2",
            "expected 8 fields, as in the header, got 9",
            "column text: expected a text that is not empty, got ''; "
            "column message_id: expected a text that is not empty, got ''",
        )
    ] + [(str(tmp_path / "in/eval/b.csv"), "column clicked: expected 0 or 1, got '2'")]
    source = train.read_bytes().split(b"\n")
    for row, content in zip(found, bad.values(), strict=False):
        assert source[int(row[1]) - 1].startswith(content.split(b"\r\n")[0])


def test_bad_rows_of_files_with_other_columns_are_set_aside_apart(tmp_path):
    write(tmp_path / "in/1.csv", [*rows(40), ["a", 1, 1, "", "", "ad", 1, 2]])
    names = [name for name in HEADER if name != "extra"][::-1]
    good = "".join(f"{n % 2};m;t;;1;1;a\n" for n in range(40))
    write(tmp_path / "in/2.csv", []).write_text(";".join(names) + f"\n{good}5;m;t;;1;1;a\n")
    ours(tmp_path / "in", tmp_path / "out", bad_rows="quarantine", absent_columns="missing")
    for name, separator, line in (("", ",", "55"), ("-2", ";", "42")):
        with (tmp_path / f"out/quarantine{name}.csv").open(newline="") as file:
            header, row = csv.reader(file, delimiter=separator)
        assert (len(header), row[1]) == (len(row), line)
    assert header == ["file", "line", "reason", *names]


def test_good_input_makes_no_quarantine_file(tmp_path):
    ours(write(tmp_path / "in.csv", rows(50)), tmp_path / "out", bad_rows="quarantine")
    assert not (tmp_path / "out/quarantine.csv").exists()


def test_ids_and_text_are_strings_and_the_label_an_integer(tmp_path):
    header = ["att_a", "text", "message_id", "clicked"]
    for split in SPLITS:
        write(tmp_path / "in" / split / "a.csv", [[1, 2, 3, 0], [4, 5, 6, 1]], header)
    artifact = ours(tmp_path / "in", tmp_path / "out")
    examples = [*read(artifact, "train"), *read(artifact, "eval")]
    assert len(examples) == 4
    for example in examples:
        features = tf.train.Example.FromString(example).features.feature
        kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
        assert kinds == {
            "att_a": "int64_list",
            "text": "bytes_list",
            "message_id": "bytes_list",
            "clicked": "int64_list",
        }


def test_what_is_counted_is_what_the_examples_hold(tmp_path):
    artifact = ours(write(tmp_path / "in.csv", rows(300)), tmp_path / "out")
    kinds = {"att_age": "int64_list", "att_agent": "float_list", "text": "bytes_list"}
    for split in SPLITS:
        counts = read_counts(artifact.uri, split)
        examples = [tf.train.Example.FromString(each) for each in read(artifact, split).elements()]
        assert counts.rows == len(examples)
        for name, kind in kinds.items():
            values = [list(getattr(e.features.feature[name], kind).value) for e in examples]
            labels = [e.features.feature["clicked"].int64_list.value[0] for e in examples]
            rows_of, clicks = Counter(), Counter()
            for value, label in zip(values, labels, strict=True):
                rows_of[value[0] if value else None] += 1
                clicks[value[0] if value else None] += label
            table = counts.columns[name].to_pydict()
            assert dict(zip(table["value"], table["rows"], strict=True)) == rows_of
            assert dict(zip(table["value"], table["clicks"], strict=True)) == clicks


def test_columns_of_too_many_values_are_not_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "_MOST_COUNTED", 100)
    path = write(tmp_path / "in.csv", rows(300))
    assert read_counts(ours(path, tmp_path / "out").uri, "train") is None  # att_agent, a number
    few = write(tmp_path / "few.csv", rows(100))
    assert read_counts(ours(few, tmp_path / "few").uri, "train") is not None
