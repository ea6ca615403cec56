import csv
import io

import pyarrow as pa
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.example_gen.csv_reader import check_files
from components.example_gen.csv_types import INTEGER, MISSING, NUMBER, TEXT
from components.example_gen.examples import serialize
from components.example_gen.input_files import read_blocks
from components.example_gen.parts import find_parts
from components.example_gen.settings import ReadingSettings

NAMES = ("att_b", "text", "att_a")


def example(values):
    """A tf.Example as CsvExampleGen builds it."""
    features = {}
    for name, (kind, value) in values.items():
        given = [] if value is None else [value]
        features[name] = {
            INTEGER: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
            NUMBER: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v)),
            TEXT: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
            MISSING: lambda v: tf.train.Feature(),
        }[kind](given)
    message = tf.train.Example(features=tf.train.Features(feature=features))
    return message.SerializeToString(deterministic=True)


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.none(),
        )
    )
)
def test_bytes_are_those_of_csv_example_gen(rows):
    types = {"b": INTEGER, "a": NUMBER, "a long name": TEXT, "é": MISSING}
    columns = zip(*rows, strict=True) if rows else [[]] * 4
    table = pa.table(
        {
            name: pa.array([None if v is None else str(v).encode() for v in values], pa.binary())
            for name, values in zip(types, columns, strict=True)
        }
    )
    expected = []
    for b, a, text, none in rows:
        values = (b, a, None if text is None else text.encode(), none)
        pairs = zip(types.values(), values, strict=True)
        expected.append(example(dict(zip(types, pairs, strict=True))))
    assert serialize(table, types) == expected


def test_texts_of_any_length_get_a_right_header():
    texts = [b"x" * length for length in (1, 100, 127, 128, 16_383, 16_384, 3_000_000)]
    rows = pa.table({"text": pa.array(texts, pa.binary())})
    assert serialize(rows, {"text": TEXT}) == [example({"text": (TEXT, text)}) for text in texts]


@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["", "a", 'say "a", b', "é\n😀", "1"]),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map("x{}".format),
            st.sampled_from(["", "7", "-8"]),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_what_was_written_as_csv_stands_in_the_examples(tmp_path, rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows([NAMES, *rows])
    path = tmp_path / "in.csv"
    path.write_bytes(out.getvalue().encode())

    types = check_files(find_parts({"whole": [str(path)]}), "", ReadingSettings(), ["text"]).types
    blocks = read_blocks(str(path), ReadingSettings(), ["text"], block_bytes=50)
    examples = [e for block in blocks for e in serialize(block.good, types)]
    assert [values(e) for e in examples] == [
        tuple(text.encode() for text in row if text) for row in rows
    ]


def values(example):
    """The features' values as text, in the order of the CSV; nothing for a missing value."""
    features = tf.train.Example.FromString(example).features.feature
    lists = [getattr(features[n], features[n].WhichOneof("kind") or "bytes_list") for n in NAMES]
    found = [value for values in lists for value in values.value]
    return tuple(v if isinstance(v, bytes) else str(v).encode() for v in found)
