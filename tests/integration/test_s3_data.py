"""Data files on an S3 server over HTTP: read as those on a disk, and what goes wrong there."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigmodel.config import DataConfig
from bigmodel.data.files import files_of
from bigmodel.data.read import read_rows
from bigmodel.data.sources import file_digest, sources_of
from bigmodel.errors import ClusterError, DataError
from bigmodel.storage import folder

HEADER = "text,label\n"
ROWS = [("很好", "正面"), ("太差", "负面")]


def filled(uri: str) -> str:
    """A folder there with a file of several formats, some hidden."""
    place = folder(uri)
    place.write("甲 1.csv", (HEADER + "很好,正面\n").encode())
    place.write("深/乙%20.csv.gz", gzip.compress((HEADER + "太差,负面\n").encode()))
    place.write("深/.藏/丙.csv", HEADER.encode())
    place.write("读我.md", b"1")
    return uri


def test_a_folder_there_is_its_files(s3):
    uri = filled(s3)
    sources = sources_of(DataConfig(train=uri))
    assert [one.path for one in sources] == [f"{uri}/深/乙%20.csv.gz", f"{uri}/甲 1.csv"]
    rows = [row for one in sources for table in read_rows(one) for row in table.to_pylist()]
    assert [(row["text"], row["label"]) for row in rows] == ROWS[::-1]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["甲 1.csv"]),
        ("甲 1.csv", ["甲 1.csv"]),
        ("**/*.csv*", ["深/乙%20.csv.gz", "甲 1.csv"]),
        ("深", ["深/乙%20.csv.gz"]),
        ("[深]/*", ["深/乙%20.csv.gz"]),
    ],
)
def test_a_glob_there_is_its_files(s3, pattern, names):
    uri = filled(s3)
    assert files_of(f"{uri}/{pattern}") == [f"{uri}/{name}" for name in names]


def test_the_endpoint_may_stand_in_the_uri(s3, s3_server, monkeypatch):
    uri = filled(s3)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    endpoint = s3_server["AWS_ENDPOINT_URL"].removeprefix("http://")
    options = f"?scheme=http&region=us-east-1&endpoint_override={endpoint}"
    (source,) = sources_of(DataConfig(train=f"{uri}/*.csv{options}"))
    assert source.path == f"{uri}/甲 1.csv{options}"
    assert [len(table) for table in read_rows(source)] == [1]


def test_a_large_file_and_its_digest_are_the_same_there_and_here(s3, tmp_path):
    texts = [f"第{number}本书很好" for number in range(200_000)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts, "label": ["正面"] * len(texts)}), path)
    for here in (path, written_csv(tmp_path, texts)):
        folder(s3).write(here.name, here.read_bytes())
        (local,) = sources_of(DataConfig(train=str(here)))
        (there,) = sources_of(DataConfig(train=f"{s3}/{here.name}"))
        assert file_digest(local) == file_digest(there)
        assert [text for table in read_rows(there) for text in table["text"].to_pylist()] == texts


def written_csv(tmp_path: Path, texts: list[str]) -> Path:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "".join(f"{text},正面\n" for text in texts), encoding="utf-8")
    return path


def test_a_file_there_that_ends_too_soon_is_named(s3):
    folder(s3).write("a.csv.gz", gzip.compress(HEADER.encode() + b"a,b\n" * 9999)[:-20])
    with pytest.raises(DataError, match=rf"^{s3}/a\.csv\.gz: the file ends in the middle"):
        [list(read_rows(one)) for one in sources_of(DataConfig(train=f"{s3}/a.csv.gz"))]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("没有.csv", r"can't read the data \(no such file\); check the path"),
        ("没有/*.csv", r"can't read the data \(no such file\); check the path"),
        ("没有*.csv", "no file fits this pattern"),
        ("读我.md", "unknown kind of file"),
    ],
)
def test_what_is_not_there_is_one_sentence(s3, name, said):
    with pytest.raises(DataError, match=said):
        sources_of(DataConfig(train=f"{filled(s3)}/{name}"))


def test_a_bucket_that_is_not_there_is_said(s3):
    with pytest.raises(DataError, match=r"can't read the data \(no such bucket\); make it"):
        sources_of(DataConfig(train="s3://not-there/a.csv"))


def test_refused_access_is_said(s3, monkeypatch):
    uri = filled(s3)
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(
        ClusterError, match=r"\(access is refused\); check the credentials \(AWS_ACC"
    ):
        sources_of(DataConfig(train=f"{uri}/甲 1.csv"))
