"""Folders of files: written whole, read back, and gone when what fills them fails."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from bigmodel.errors import RecipeError
from bigmodel.remote import NO_BUCKET, REFUSED, SILENT, fault
from bigmodel.storage import Folder, folder


def test_a_file_comes_back_by_its_name(tmp_path):
    here = folder(tmp_path).child("模型")
    here.write("encoder/词.json", b"1")
    here.write("a.bin", b"old")
    here.write("a.bin", b"new")
    assert (here.read("a.bin"), here.read("encoder/词.json")) == (b"new", b"1")
    assert here.names() == ["a.bin", "encoder/词.json"]
    assert here.exists("a.bin") and not here.exists("b.bin") and not here.exists("encoder")
    assert here.local == tmp_path / "模型"


def test_what_is_not_there(tmp_path):
    nowhere = folder(tmp_path / "没有")
    assert nowhere.names() == [] and not nowhere.exists("a")
    with pytest.raises(FileNotFoundError):
        nowhere.read("a")


@pytest.mark.parametrize(
    ("written", "uri"),
    [
        ("/tmp/a/", "/tmp/a"),
        ("/tmp/b/../a", "/tmp/a"),
        ("file:///tmp/a", "/tmp/a"),
        ("s3://bucket/models/", "s3://bucket/models"),
        ("s3://bucket/模型 1/?region=eu", "s3://bucket/模型 1?region=eu"),
    ],
)
def test_a_folder_has_one_way_to_be_written(written, uri):
    assert folder(written) == Folder(uri)


def test_a_relative_folder_starts_here_and_a_tilde_at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/读者")
    assert folder("storage").uri == f"{tmp_path}/storage"
    assert folder("~/storage").uri == "/home/读者/storage"


def test_a_remote_folder_is_not_on_this_machine():
    assert folder("s3://bucket/models").local is None


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("ftp9://x/y", "expected a path, s3://bucket/… or gs://bucket/…"),
        ("s3:///y", "expected a path, s3://bucket/… or gs://bucket/…"),
        ("s3://x/y?endpoint=1.2.3.4", "unknown option endpoint; known: endpoint_override, region"),
    ],
)
def test_a_uri_of_another_kind_is_refused(uri, sentence):
    with pytest.raises(RecipeError) as caught:
        folder(uri).read("a")
    assert str(caught.value).startswith(f"{uri}: can't read there ({sentence}")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("When reading a: AWS Error NETWORK_CONNECTION during HeadObject operation: …", SILENT),
        ("When reading a: AWS Error ACCESS_DENIED during HeadObject operation: …", REFUSED),
        ("When listing a: AWS Error INVALID_ACCESS_KEY_ID during ListObjectsV2 …", REFUSED),
        ("When writing a: AWS Error NO_SUCH_BUCKET during CreateMultipartUpload …", NO_BUCKET),
        ("google::cloud::Status(UNAVAILABLE: … Could not connect to server", SILENT),
        ("google::cloud::Status(UNAVAILABLE: … Could not create a OAuth2 access token", REFUSED),
        ("google::cloud::Status(PERMISSION_DENIED: …", REFUSED),
        ("When reading ACCESS_DENIED.csv: AWS Error UNKNOWN during …", None),
        ("No space left on device", None),
    ],
)
def test_what_an_object_store_says_is_understood(said, kind):
    assert fault(OSError(said)) is kind


def test_a_child_and_a_parent_keep_the_options_of_a_uri():
    here = folder("s3://bucket/a?region=eu")
    assert here.child("b/c").uri == "s3://bucket/a/b/c?region=eu"
    assert here.child("b").parent == here


def test_a_fresh_folder_appears_whole_in_the_place_of_the_old_one(tmp_path):
    here = folder(tmp_path / "模型")
    here.write("old.bin", b"old")
    with here.fresh() as target:
        target.write("new.bin", b"new")
        assert here.names() == ["old.bin"]
    assert here.names() == ["new.bin"]
    assert [path.name for path in tmp_path.iterdir()] == ["模型"]


@pytest.mark.parametrize("before", [{}, {"old.bin": b"old"}])
def test_an_error_inside_leaves_what_was_there(tmp_path, before):
    here = folder(tmp_path / "模型")
    for name, data in before.items():
        here.write(name, data)
    with pytest.raises(KeyboardInterrupt), here.fresh() as target:
        target.write("new.bin", b"new")
        raise KeyboardInterrupt
    assert {name: here.read(name) for name in here.names()} == before
    assert [path.name for path in tmp_path.iterdir()] == (["模型"] if before else [])


KILLED = """
import os, signal, sys
from bigmodel.storage import folder
with folder(sys.argv[1]).fresh() as target:
    target.write("half.bin", b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_gone_with_the_next_and_a_living_ones_folder_stays(tmp_path):
    here = folder(tmp_path / "模型")
    killed = subprocess.run([sys.executable, "-c", KILLED, here.uri], check=False)
    assert killed.returncode == -signal.SIGKILL and not here.names()
    assert len(list(tmp_path.iterdir())) == 2  # the folder aside and its lock
    with folder(tmp_path / "另一个").fresh() as living, here.fresh() as target:
        target.write("a.bin", b"whole")
        living.write("b.bin", b"whole too")
    assert here.names() == ["a.bin"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["另一个", "模型"]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    here = folder(tmp_path)
    here.write("a.bin", b"old")
    with pytest.raises(TypeError):
        here.write("a.bin", "not bytes")
    assert here.read("a.bin") == b"old" and here.names() == ["a.bin"]


def test_of_two_that_write_the_same_folder_at_once_the_first_wins_and_readers_always_find_it(
    tmp_path,
):
    here = folder(tmp_path / "模型")

    def write_once(_: int) -> bytes:
        with here.fresh() as target:
            target.write("weights.bin", b"the same" * 1000)
            target.write("manifest.json", b"{}")
        return here.read("weights.bin")  # there, whoever has won

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(write_once, range(200)))
    assert found == {b"the same" * 1000}
    assert [path.name for path in tmp_path.iterdir()] == ["模型"]


def test_one_at_a_time_is_in_a_locked_block(tmp_path):
    here, counter = folder(tmp_path), tmp_path / "counter"
    counter.write_text("0")

    def count(_: int) -> None:
        with here.locked():
            counter.write_text(str(int(counter.read_text()) + 1))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(200)))
    assert counter.read_text() == "200" and here.names() == ["counter"]
