"""Files that go to the storage before a job: once, whole, and as they were."""

import pytest

from bigmodel import progress
from bigmodel.cluster import uploads
from bigmodel.errors import ClusterError, DataError
from bigmodel.storage import Folder


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
