"""Folders, artefacts, data and whole jobs on an S3 server over HTTP, and what goes wrong there."""

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_reviews import labelled

from bigmodel import remote, storage
from bigmodel.artifact import Artifact
from bigmodel.config import DataConfig
from bigmodel.data.read import read_rows
from bigmodel.data.sources import sources_of
from bigmodel.errors import ClusterError, ModelError, RecipeError
from bigmodel.storage import folder
from jobs.cli import main

TEXT = "房间干净，服务热情"
BIGMODEL = Path(sys.executable).with_name("bigmodel")


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


def test_what_was_abandoned_there_is_gone_with_the_next_and_what_is_whole_or_new_stays(
    s3, monkeypatch
):
    here = folder(s3).child("prepared/rows")
    here.write("killed/rows-00000.parquet", b"half")
    here.write("whole/manifest.json", b"{}")
    with here.child("mine").fresh() as target:
        target.write("manifest.json", b"{}")
    assert "killed/rows-00000.parquet" in here.names()  # somebody may be writing it
    monkeypatch.setattr(storage, "ABANDONED_S", -60)
    with here.child("other").fresh() as target:
        target.write("manifest.json", b"{}")
    assert here.names() == [f"{name}/manifest.json" for name in ("mine", "other", "whole")]


def test_a_compressed_file_is_kept_as_it_is(s3):
    folder(s3).write("a.csv.gz", gzip.compress(b"text,label"))
    assert folder(s3).sizes() == {"a.csv.gz": len(gzip.compress(b"text,label"))}
    assert gzip.decompress(folder(s3).read("a.csv.gz")) == b"text,label"


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


CSV = "text,label\n" + "".join(f"{text},{label}\n" for text, label in labelled())
FILES = {
    "评论/1 月.csv": CSV.encode(),
    "评论/2 月.csv.gz": gzip.compress(CSV.encode()),
    "评论/旧/0.csv": b"text,label\n\xba\xc3\xca\xe9,\xba\xc3\n" * 9,  # 好书,好 in GB18030
    "评论/说明.md": b"read me",
}
FOUND = {
    "评论/1 月.csv": ["1 月.csv"],
    "评论/2 月.csv.gz": ["2 月.csv.gz"],
    "评论": ["1 月.csv", "2 月.csv.gz", "旧/0.csv"],
    "评论/": ["1 月.csv", "2 月.csv.gz", "旧/0.csv"],
    "评论/*.csv": ["1 月.csv"],
    "评论/**/*.csv": ["1 月.csv", "旧/0.csv"],
    "*/2*": ["2 月.csv.gz"],
}


@pytest.fixture
def data(s3) -> str:
    """A folder there with the files above."""
    for name, content in FILES.items():
        folder(s3).write(name, content)
    return s3


@pytest.mark.parametrize("written", FOUND)
@pytest.mark.parametrize("options", ["", "?region=us-east-1"])
def test_data_is_found_there(written, options, data):
    found = sources_of(DataConfig(train=f"{data}/{written}{options}"))
    assert [source.path for source in found] == [
        f"{data}/评论/{name}{options}" for name in FOUND[written]
    ]


def test_data_is_read_there(data):
    one, two, old = sources_of(DataConfig(train=f"{data}/评论"))
    for source in (one, two):
        rows = [row for table in read_rows(source) for row in table.to_pylist()]
        assert [(row["text"], row["label"]) for row in rows] == labelled()
    assert (two.compression, old.encoding) == ("gzip", "gb18030")
    assert next(read_rows(old)).to_pylist()[0]["text"] == "好书"


def write_recipe(place: Path, **keys: str) -> Path:
    """A recipe with dotted keys, as `data_train`."""
    tree = {"name": "there", "train_num_workers": 1} | keys
    lines = [f"{key.replace('_', '.', 1)} = {json.dumps(value)}" for key, value in tree.items()]
    recipe = place / "recipe.toml"
    recipe.write_text("\n".join(lines), encoding="utf-8")
    return recipe


def bigmodel(*arguments: object, cwd: Path) -> object:
    """What the real command prints as JSON, in a process with a Ray of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "BIGMODEL_"))}
    command = [BIGMODEL, *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def here(*arguments: object) -> object:
    """The same of a verb that needs no Ray, in this process."""
    done = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_trained_with_data_and_storage_there(data, tmp_path):
    recipe = write_recipe(
        tmp_path,
        data_train=f"{data}/评论/1 月.csv",
        storage=f"{data}/模型 1",
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )
    trained = bigmodel("train", recipe, cwd=tmp_path)
    assert trained["artifact"].startswith(f"{data}/模型 1/models/there/")
    assert trained["metrics"]["accuracy"] > 0.9
    prepared = here("prepare", recipe)
    assert prepared["reused"] and prepared["rows_read"] == 720
    assert folder(f"{data}/模型 1/runs").names() == []
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.toml", "mlflow.db"}
    (answer,) = here("predict", trained["artifact"], "酒店的早餐很好")
    assert answer["labels"][0]["label"] == "正面"


@pytest.mark.chaos
def test_a_search_keeps_its_ledger_and_page_there_and_no_finished_trial_is_repeated(data, tmp_path):
    recipe = write_recipe(
        tmp_path,
        data_train=f"{data}/评论/1 月.csv",
        storage=f"{data}/模型 1",
        model_kind="bag",
        tune_num_trials=3,
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
    )
    found = bigmodel("tune", recipe, cwd=tmp_path)
    assert found["trials"] == 3 and found["failed"] == 0
    here = folder(f"{data}/模型 1/searches/{found['run_id']}")
    assert {"best.toml", "search.html", "events/000000.json"} <= set(here.names())
    events = len([name for name in here.names() if name.startswith("events/")])
    again = bigmodel("tune", recipe, "--resume", found["run_id"], cwd=tmp_path)
    assert (again["best"], again["score"]) == (found["best"], found["score"])
    assert len([name for name in here.names() if name.startswith("events/")]) == events


FAULTS = {
    "no such bucket of data": ("data_train", "s3://没有/a.csv", 3, "no such bucket"),
    "no such file": ("data_train", "S3/没有.csv", 3, "no such file"),
    "nothing fits": ("data_train", "S3/评论/*.tsv", 3, "no file fits this pattern"),
    "nobody at the data": ("data_train", "S3/a.csv?AT", 5, "nobody answers"),
    "no such option": ("data_train", "S3/a.csv?speed=9", 3, "unknown option speed"),
    "no such bucket to write": ("storage", "s3://没有/a", 2, "no such bucket"),
    "nobody at the storage": ("storage", "S3/a?AT", 5, "nobody answers"),
    "no such kind of storage": ("storage", "ftp://a/b", 2, "expected a path, s3://bucket/…"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_wrong_there_is_one_sentence_and_an_exit_code(case, data, closed, tmp_path):
    key, written, code, sentence = FAULTS[case]
    place = written.replace("S3", data).replace("AT", f"scheme=http&endpoint_override={closed}")
    check_sentence({"data_train": f"{data}/评论", key: place}, tmp_path, code, sentence)


@pytest.mark.parametrize("key", ["data_train", "storage"])
def test_wrong_credentials_are_one_sentence_and_an_exit_code(key, s3, tmp_path, monkeypatch):
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    here = tmp_path / "评论.csv"
    here.write_text(CSV, encoding="utf-8")
    keys = {"data_train": str(here), key: f"{s3}/a.csv"}
    check_sentence(keys, tmp_path, 5, "access is refused); check the credentials")


def check_sentence(keys: dict[str, str], place: Path, code: int, sentence: str) -> None:
    recipe = write_recipe(place, **{"storage": str(place / "storage")} | keys)
    before = sorted(place.iterdir())
    done = CliRunner().invoke(main, ["prepare", str(recipe), "--json", "-q"])
    assert done.stderr.startswith("bigmodel: ") and done.stderr.count("\n") == 1, done.stderr
    assert sentence in done.stderr
    assert (done.exit_code, done.stdout) == (code, "")
    assert sorted(place.iterdir()) == before
