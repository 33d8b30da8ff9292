"""Files that go to the storage before a job: once, whole, and as they were."""

import json
from hashlib import sha256

import click
import pytest
from click.testing import CliRunner

from bigmodel import progress
from bigmodel.cluster import uploads
from bigmodel.cluster.packing import Luggage
from bigmodel.errors import ClusterError, DataError, RecipeError
from bigmodel.storage import Folder
from jobs.submit import _with_uploads, own_arguments


@pytest.fixture
def reviews(tmp_path):
    file = tmp_path / "评论.csv"
    file.write_text("text,label\n好看,正面\n", encoding="utf-8")
    return file


@pytest.fixture
def store(tmp_path) -> str:
    return str(tmp_path / "store")


def sent(store: str, *files) -> list[str]:
    """What is said of sending them."""
    said: list[str] = []
    with progress.listening(lambda event: said.append(event.said)):
        with progress.stage("submit") as stage:
            uploads.send(uploads.plan(store, files)[1], stage)
    return [sentence for sentence in said if sentence]


def test_a_file_is_sent_once(store, reviews, monkeypatch):
    (first,) = sent(store, reviews)
    assert first.startswith(f"评论.csv, 0.0 MB, goes to {store}/uploads/")
    monkeypatch.setattr(Folder, "write_parts", lambda *_: pytest.fail("sent again"))
    assert sent(store, reviews) == ["评论.csv, 0.0 MB, is in the storage already"]


def test_a_file_with_other_content_is_another_one(store, reviews):
    before, _ = uploads.plan(store, [reviews])
    reviews.write_text("text,label\n难看,负面\n", encoding="utf-8")
    assert uploads.plan(store, [reviews])[0] != before


def test_a_file_that_came_only_in_part_is_sent_again(store, reviews):
    uri, (upload,) = uploads.plan(store, [reviews])
    upload.place.write(upload.name, b"text,la")
    assert "goes to" in sent(store, reviews)[0]
    assert upload.place.read(upload.name) == reviews.read_bytes()
    assert upload.place.child(upload.name).uri == uri


def test_a_file_that_changes_while_it_is_sent_is_refused_and_does_not_stay(store, reviews):
    _, planned = uploads.plan(store, [reviews])
    reviews.write_text("text,label\n难看,负面\n", encoding="utf-8")
    with progress.stage("submit") as stage:
        with pytest.raises(DataError, match="changed while it was sent"):
            uploads.send(planned, stage)
    assert not planned[0].place.names()


def test_a_storage_that_kept_less_is_told(store, reviews, monkeypatch):
    monkeypatch.setattr(Folder, "write_parts", lambda place, name, parts: list(parts))
    with progress.stage("submit") as stage:
        with pytest.raises(ClusterError, match="0 bytes are there and 25 were sent"):
            uploads.send(uploads.plan(store, [reviews])[1], stage)


def test_a_file_that_cannot_be_read_is_one_sentence(store, tmp_path):
    with pytest.raises(DataError, match="can't read the data"):
        uploads.plan(store, [tmp_path / "没有.csv"])


@click.command()
@click.argument("target")
@click.option("--storage")
@click.option("--data", type=click.Path())
@click.option("--out", type=click.Path())
@click.pass_context
def command(context: click.Context, **given: object) -> None:
    luggage, uploaded = _with_uploads(Luggage("reviews", (), {}), context)
    sent = [[upload.name, upload.digest] for upload in luggage.uploads]
    click.echo(json.dumps([sent, own_arguments(context, uploaded)]))


def test_a_file_that_an_option_names_is_uploaded_and_named_so_there(store, reviews):
    given = ["reviews@3", "--storage", store, "--data", str(reviews), "--out", "s3://bucket/out"]
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    ((name, digest),), there = json.loads(done.output)
    assert (name, digest) == ("评论.csv", sha256(reviews.read_bytes()).hexdigest())
    assert there == [
        "--data", f"{store}/uploads/{digest}/评论.csv", "--out", "s3://bucket/out",
    ]  # fmt: skip


def test_a_file_to_be_written_is_not_uploaded(store, reviews):
    given = ["reviews@3", "--storage", store, "--out", str(reviews)]
    with pytest.raises(RecipeError, match=r"--out \S+ is a file of this machine, .*; give a URI"):
        CliRunner().invoke(command, given, catch_exceptions=False)
