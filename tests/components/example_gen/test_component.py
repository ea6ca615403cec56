import json
import os

import pytest
from tfx import v1 as tfx
from tfx.orchestration import metadata
from tfx.types import standard_artifacts

from components.example_gen.component import csv_example_gen
from components.example_gen.executor import Packed, unpack
from components.example_gen.layout import find_layout
from components.example_gen.settings import ReadingSettings
from components.features import Columns

CSV = "att_a,text,message_id,clicked\n" + "young,Buy,1,0\nold,Sell,2,1\n" * 20


@pytest.mark.parametrize(
    ("share", "buckets"), [(0.2, (4, 1)), (1 / 3, (2, 1)), (0.5, (1, 1)), (0.0001, (9999, 1))]
)
def test_the_eval_share_is_made_of_hash_buckets(tmp_path, share, buckets):
    (tmp_path / "in.csv").write_text(CSV)
    node = csv_example_gen(find_layout(tmp_path), ReadingSettings(eval_share=share))
    config = json.loads(node.exec_properties["output_config"])
    splits = config["split_config"]["splits"]
    assert [(s["name"], s["hash_buckets"]) for s in splits] == [
        ("train", buckets[0]),
        ("eval", buckets[1]),
    ]


def test_every_property_can_be_written_into_a_specification(tmp_path):
    (tmp_path / "in.csv").write_text(CSV)
    settings = ReadingSettings(
        columns=Columns(user_id="user"), split={"by": ["user"]}, bad_rows="quarantine"
    )
    node = csv_example_gen(find_layout(tmp_path), settings, "abc")
    assert node.id == "example_gen"
    assert json.loads(json.dumps(node.exec_properties)) == node.exec_properties
    assert unpack(node.exec_properties) == Packed(settings=settings, fingerprint="abc")


@pytest.mark.e2e
def test_the_node_runs_and_its_output_is_reused(tmp_path):
    path = tmp_path / "in" / "our clicks (1) [new].csv"
    path.parent.mkdir()
    path.write_text(CSV)
    (path.parent / "not ours.csv").write_text("nothing")
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.db"))

    def run():
        layout = find_layout(path)
        node = csv_example_gen(layout, ReadingSettings(), layout.fingerprint())
        tfx.orchestration.LocalDagRunner().run(
            tfx.dsl.Pipeline(
                "pipeline",
                str(tmp_path / "root"),
                components=[node],
                enable_cache=True,
                metadata_connection_config=connection,
            )
        )
        with metadata.Metadata(connection) as store:
            return store.store.get_artifacts_by_type(standard_artifacts.Examples.TYPE_NAME)

    (artifact,) = run()
    assert json.loads(artifact.properties["split_names"].string_value) == ["train", "eval"]
    assert artifact.custom_properties["span"].int_value == 0
    assert artifact.custom_properties["payload_format"].string_value == "FORMAT_TF_EXAMPLE"
    assert [again.id for again in run()] == [artifact.id]
    path.touch()
    assert [again.id for again in run()] == [artifact.id]
    before = path.stat()
    path.write_text(CSV.replace("Sell", "Send"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert len(run()) == 2
