"""On real heads: what a submitted job would fail of is said in its first seconds, by a sentence."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from comments import write_comments
from heads import Head, living_head, run
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

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
        "bigmodel: train.num_workers with train.use_gpu is 64, and the cluster has room for 0 "
        "workers of 1 GPU; ask for fewer, or take a larger cluster"
    )
    assert "submit: travels: bigmodel " in done.stderr
    assert not left(place)


@pytest.mark.chaos
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


@pytest.mark.chaos
def test_a_full_disk_of_the_head_is_one_sentence_and_leaves_no_job_running(place):
    disk = tempfile.mkdtemp(prefix="bm-")  # sockets have short names
    program = [sys.executable, str(Path(__file__).with_name("full_disk.py"))]
    mount = 'mount -t tmpfs -o size=600m tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, disk, *program, disk, place / "recipe.toml"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    Path(disk).rmdir()
    assert done.returncode == 0, done.stderr
    nearly, quite = json.loads(done.stdout)
    assert nearly[0] == quite[0] == 5
    assert "bigmodel: on the node " in nearly[1] and "has 0.0 GB left of 0.6" in nearly[1]
    assert nearly[2] == ["FAILED"]
    assert quite[1].startswith("bigmodel: ") and "RUNNING" not in quite[2]


TYPES = """
provider: {type: fake_multinode, head_node_id: HEAD, disable_node_updaters: true,
           use_node_id_as_ip: true, disable_launch_config_check: true}
cluster_name: pretended
max_workers: 3
idle_timeout_minutes: 1
head_node_type: ray.head.default
available_node_types:
  ray.head.default: {resources: {CPU: 1}, node_config: {}, max_workers: 0}
  cpu: {resources: {CPU: 4}, node_config: {}, min_workers: 0, max_workers: 3}
  gpu: {resources: {CPU: 4, GPU: 8}, node_config: {}, min_workers: 0, max_workers: 2}
cluster_synced_files: []
file_mounts: {}
file_mounts_sync_continuously: false
rsync_exclude: []
rsync_filter: []
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: []
worker_start_ray_commands: []
docker: {}
auth: {ssh_user: x}
"""
"""Of a cluster that grows to 16 GPUs."""


@pytest.mark.chaos
def test_what_an_autoscaler_may_bring_counts_and_more_is_refused(place, tmp_path):
    file = tmp_path / "types.yaml"
    file.write_text(TYPES.replace("HEAD", FAKE_HEAD_NODE_ID))
    options = (f"--autoscaling-config={file}",)
    with living_head(num_cpus=1, options=options, variables={"RAY_FAKE_CLUSTER": "1"}) as head:
        gpus = ["--set", "train.use_gpu=true", "--set", "train.num_workers=64"]
        said = refused(submit(head, place, *gpus), 2)
        assert "has room for 16 workers of 1 GPU" in said
        said = refused(submit(head, place, "--set", "train.num_workers=13"), 2)
        assert "has room for 12 workers of 1 CPU" in said
