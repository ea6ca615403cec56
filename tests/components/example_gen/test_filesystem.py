"""The input's files on a disk, and in what stands in for S3 and for Cloud Storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer
from pyarrow import fs

from components.errors import InputError
from components.example_gen.filesystem import list_files, locate
from tests.ports import free_port

FILES = ["b.csv", "a.csv", "notes.txt", "train/c.csv", "train/deep/d.csv"]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        system, _ = fs.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")
        system.create_dir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(scope="module")
def gcs() -> Iterator[str]:
    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="bucket")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", f"http://127.0.0.1:{port}")
        yield "gs://anonymous@bucket"
    server.stop()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("a disk?"))


@pytest.fixture(scope="module", params=["disk", "s3", "gcs"])
def folder(request: pytest.FixtureRequest) -> str:
    """A folder with files, in each kind of store."""
    folder = f"{request.getfixturevalue(request.param)}/campaign"
    for name in FILES:
        system, path = locate(f"{folder}/{name}")
        system.create_dir(path.rpartition("/")[0])
        with system.open_output_stream(path) as out:
            out.write(name.encode())
    return folder


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("train/*.csv", ["train/c.csv"]),
        ("[b].csv", ["b.csv"]),
        ("train/*.tsv", []),
    ],
)
def test_files_are_found_in_order_and_can_be_read(
    folder: str, pattern: str, found: list[str]
) -> None:
    contents = []
    for file in list_files(folder, pattern):
        system, path = locate(file)
        with system.open_input_stream(path) as stream:
            contents.append(stream.read().decode())
    assert contents == found


def test_a_folder_that_is_not_there_is_a_line(folder: str) -> None:
    with pytest.raises(InputError, match=r"campaign.*: cannot be listed"):
        list_files(folder, "eval/*.csv")


def test_a_store_that_nobody_reads_is_a_line_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"minio://b/c: cannot be listed .*gs:// or s3://"):
        list_files("minio://b/c", "*.csv")


def test_a_bucket_that_is_not_there_is_a_line(s3: str) -> None:
    with pytest.raises(InputError, match=r"s3://other: cannot be listed"):
        list_files(s3.replace("bucket", "other"), "*.csv")
