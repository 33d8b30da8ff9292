"""Folders, artefacts, data and whole jobs on an S3 server over HTTP, and what goes wrong there."""

import socket
import time

import pytest

from bigmodel import remote
from bigmodel.artifact import Artifact
from bigmodel.errors import ClusterError, ModelError, RecipeError
from bigmodel.storage import folder

TEXT = "房间干净，服务热情"


def test_a_folder_there_is_as_one_here(s3):
    here = folder(s3).child("模型 1/甲")
    assert here.names() == [] and not here.exists("a.bin")
    here.write("a.bin", b"old")
    here.write("a.bin", b"new")
    here.write("encoder/词 典.json", b"1" * 100)
    assert (here.read("a.bin"), here.read("encoder/词 典.json")) == (b"new", b"1" * 100)
    assert here.sizes() == {"a.bin": 3, "encoder/词 典.json": 100}
    assert here.names() == folder(s3).child("模型 1").child("甲").names()
    assert here.exists("a.bin") and not here.exists("b.bin") and not here.exists("encoder")
    assert folder(s3).names() == ["模型 1/甲/a.bin", "模型 1/甲/encoder/词 典.json"]
    with pytest.raises(FileNotFoundError):
        here.read("b.bin")
    here.remove()
    here.remove()
    assert here.names() == [] and folder(s3).names() == []


def test_a_fresh_folder_holds_nothing_of_the_old_one(s3):
    here = folder(s3)
    here.write("old.bin", b"old")
    with here.fresh() as target:
        target.write("new.bin", b"new")
    assert here.names() == ["new.bin"]


def test_the_endpoint_may_stand_in_the_uri(s3, s3_server, monkeypatch):
    endpoint = s3_server["AWS_ENDPOINT_URL"].removeprefix("http://")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    here = folder(f"{s3}/?scheme=http&region=us-east-1&endpoint_override={endpoint}")
    here.child("评论").write("a.bin", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server["AWS_ENDPOINT_URL"])
    assert folder(s3).names() == ["评论/a.bin"]


def test_a_large_file_comes_back_whole(s3):
    data = bytes(range(256)) * (80 << 10)  # 20 MB: more than one part
    folder(s3).write("large.bin", data)
    assert folder(s3).read("large.bin") == data


def test_an_artefact_there_answers_as_the_one_it_was_saved_from(s3, tiny):
    digest = tiny.save(f"{s3}/tiny")
    loaded = Artifact.load(f"{s3}/tiny", digest=digest)
    assert loaded.score([TEXT]).scores.tolist() == tiny.score([TEXT]).scores.tolist()


@pytest.mark.parametrize("name", ["weights.safetensors", "labels.json", "manifest.json"])
def test_a_flipped_byte_there_is_found(name, s3, tiny):
    place = folder(s3).child("tiny")
    tiny.save(place.uri)
    data = bytearray(place.read(name))
    data[len(data) // 2] ^= 1
    place.write(name, bytes(data))
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        Artifact.load(place.uri)


def test_an_artefact_that_was_never_finished_is_none(s3, tiny):
    with pytest.raises(ModelError, match="no such artefact"):
        Artifact.load(f"{s3}/tiny")
    folder(s3).child("tiny").write("weights.safetensors", b"1")
    with pytest.raises(ModelError, match="half-written"):
        Artifact.load(f"{s3}/tiny")


@pytest.fixture
def silent():
    """An address that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed():
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


DEEDS = {
    "read": lambda here: here.read("a.bin"),
    "write": lambda here: here.write("a.bin", b"1"),
    "look": lambda here: here.names(),
    "delete": lambda here: here.remove(),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_bucket_that_is_not_there_is_named(deed, s3):
    with pytest.raises(RecipeError) as caught:
        DEEDS[deed](folder("s3://没有/a").child("b"))
    said = "no such bucket); make it, or name another one"
    assert str(caught.value) == f"s3://没有/a/b: can't {deed} there ({said}"


@pytest.mark.parametrize("deed", DEEDS)
def test_refused_access_is_said(deed, s3, monkeypatch):
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    with pytest.raises(ClusterError, match=r"\(access is refused\); check the credentials"):
        DEEDS[deed](folder(s3))


@pytest.mark.parametrize("deed", DEEDS)
def test_an_endpoint_where_nobody_is_is_known_at_once(deed, s3, closed):
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"\(nobody answers\); check the endpoint"):
        DEEDS[deed](folder(f"{s3}?scheme=http&endpoint_override={closed}"))
    assert time.monotonic() - began < 10


def test_an_endpoint_that_says_nothing_is_left(s3, silent, monkeypatch):
    monkeypatch.setattr(remote, "SILENCE_TIMEOUT_S", 1)
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"\(nobody answers\); check the endpoint"):
        folder(f"{s3}?scheme=http&endpoint_override={silent}").read("a.bin")
    assert time.monotonic() - began < 20
