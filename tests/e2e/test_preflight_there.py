"""On real heads: what a submitted job would fail of is said in its first seconds, by a sentence."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from comments import write_comments
from heads import Head, living_head, run

RECIPE = """
name = "comments"
data.train = "评论.csv"
model.kind = "mlp"
"""


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with living_head() as head:
        yield head


@pytest.fixture
def place(tmp_path) -> Path:
    return write_comments(tmp_path, RECIPE)


def submit(head: Head, place: Path, *more: str, storage: str | None = None, verb: str = "train"):
    flags = ["--cluster", head.address, "--storage", storage or str(place / "store"), "--json"]
    return run(["bigmodel", verb, str(place / "recipe.toml"), *flags, *more], place, head.token)


def refused(done, code: int) -> str:
    """What a job that was refused said last."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


def left(place: Path) -> set[str]:
    """What stands in the storage, besides the records of jobs."""
    return {path.name for path in (place / "store").iterdir()} - {"jobs", "mlflow"}


def test_a_recipe_that_asks_for_64_gpus_is_refused_and_leaves_nothing(head, place):
    done = submit(head, place, "--set", "train.num_workers=64", "--set", "train.use_gpu=true")
    assert refused(done, 2) == (
        "bigmodel: train.num_workers with train.use_gpu is 64, and the cluster, with all nodes "
        "that its autoscaler may add, has room for 0 workers of 1 GPU; ask for fewer, or take a "
        "larger cluster"
    )
    assert "submit: travels: bigmodel " in done.stderr
    assert not left(place)


def test_what_is_too_large_to_travel_goes_to_the_storage_once(head, place):
    data = place / "评论.csv"
    size = data.write_bytes(data.read_bytes() + b"\n" * 10_000_000)
    said = refused(submit(head, place, verb="prepare"), 2)
    assert "at most 10; let it go to the storage with --upload-data" in said
    done = submit(head, place, "--upload-data", verb="prepare")
    assert done.returncode == 0, done.stderr
    assert f"submit: 评论.csv, {size / 1e6:.1f} MB, goes to {place}/store/uploads/" in done.stderr
    assert json.loads(done.stdout)["rows_read"] == 384
    assert "pre-flight: 1 of 1 nodes, " in done.stderr
    again = submit(head, place, "--upload-data", "--detach", verb="prepare")
    assert f"评论.csv, {size / 1e6:.1f} MB, is in the storage already" in again.stderr
    digest = sha256(data.read_bytes()).hexdigest()
    assert (place / "store" / "uploads" / digest / "评论.csv").stat().st_size == size
    assert left(place) == {"uploads", "prepared"}


def test_a_storage_that_the_cluster_cannot_write_is_one_sentence(head, place):
    said = refused(submit(head, place, storage="/proc/store", verb="prepare"), 2)
    assert said == (
        "bigmodel: storage is /proc/store, where the cluster can't write (No such file or "
        "directory); give an absolute path on a shared disk, or a URI such as s3://…"
    )
