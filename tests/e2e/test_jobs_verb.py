"""What is left of jobs when their cluster is gone: how each ended, and its log to the last byte."""

import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from comments import write_comments
from heads import Head, living_head, run
from waiting import wait_for

from bigmodel.cluster import job_records, job_table
from bigmodel.cluster.dashboard import connect
from jobs.cli import main

WORDY = '''
"""A job of ours that says much, and ends in several ways."""
import os, signal
from jobs.start import job

@job(takes="MODEL", show=str)
def main(model, *, storage):
    """Says much."""
    for line in range(10_000):
        print(f"train: 第 {line} 行，共一万行", flush=line % 500 == 0)
    if model == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if model == "stopped":
        signal.pause()
    return {"model": "评论@3"}

main()
'''
RECIPE = """
name = "reviews"
[data]
train = "评论.csv"
label_column = "标签"
"""
WAYS = ("well", "killed", "stopped")


@dataclass(frozen=True)
class Left:
    """The storage after the cluster's end, and what the cluster had said of each job before."""

    storage: str
    ends: dict[str, Any]
    logs: dict[str, str]
    listed: list[dict[str, Any]]
    stopped: dict[str, Any]


def bigmodel(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["jobs", *arguments])


def said(*arguments: str) -> Any:
    done = bigmodel(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("submitted")
    with living_head() as head, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", head.token)
        return run_all(head, folder)


@pytest.fixture
def left(ended: Left, monkeypatch: pytest.MonkeyPatch) -> Left:
    """Five minutes later."""
    later = job_records.now() + timedelta(minutes=5)
    monkeypatch.setattr(job_table, "now", lambda: later)
    return ended


def run_all(head: Head, folder: Path) -> Left:
    client, storage = connect(head.address).client, str(folder / "存储")
    (folder / "评论.csv").write_text("text,label\n书很好看,好\n物流很慢,坏\n", "utf-8")
    (folder / "plain.toml").write_text(RECIPE, "utf-8")
    (folder / "wordy.py").write_text(WORDY, "utf-8")
    entries = {way: f"{sys.executable} {folder}/wordy.py {way} --storage {storage}" for way in WAYS}
    entries["plain"] = f"python -m jobs.check {folder}/plain.toml --storage {storage}"
    for job, entry in entries.items():
        ours = {} if job == "plain" else {"bigmodel": "0", "name": job, "who": "li@laptop"}
        client.submit_job(
            entrypoint=entry, submission_id=job, metadata=ours, entrypoint_num_cpus=0.1
        )
    there = ("--cluster", head.address, "--storage", storage)
    wait_for(lambda: "第 9999 行" in bigmodel("logs", "stopped", *there).stdout, within_s=180)
    stopped = said("stop", "stopped", *there)
    ends = wait_for(lambda: all_ended(client, list(entries)), within_s=180)
    logs = {job: client.get_job_logs(job) for job in entries}
    return Left(storage, ends, logs, said("list", *there), stopped)


def all_ended(client: Any, jobs: list[str]) -> dict[str, Any]:
    ends = {job: client.get_job_info(job) for job in jobs}
    return ends if all(end.status.is_terminal() for end in ends.values()) else {}


STATES = {
    "plain": "FAILED",
    "well": "SUCCEEDED",
    "killed": "LOST",
    "stopped": "STOPPED",
}


def test_a_living_cluster_told_how_each_ended(left):
    assert {row["id"]: row["state"] for row in left.listed} == STATES
    codes = {job: end.driver_exit_code for job, end in left.ends.items()}
    assert (codes["well"], codes["plain"]) == (0, 3)
    assert (left.stopped["state"], left.stopped["model"]) == ("STOPPED", None)
    (killed,) = [row for row in left.listed if row["id"] == "killed"]
    assert "SIGKILL" in killed["reason"]


def test_the_storage_tells_the_same_when_the_cluster_is_gone(left):
    rows = {row["id"]: row for row in said("list", "--storage", left.storage)}
    assert {job: row["state"] for job, row in rows.items()} == STATES
    assert (rows["well"]["model"], rows["well"]["who"]) == ("评论@3", "li@laptop")
    assert (rows["plain"]["verb"], rows["plain"]["recipe"]) == ("check", "reviews")
    assert "no column '标签'" in rows["plain"]["reason"]
    assert said("status", "stopped", "--storage", left.storage)["code"] == 130


@pytest.mark.parametrize("job", ["plain", "well", "stopped"])
def test_the_log_in_storage_is_the_whole_log(left, job):
    whole = left.logs[job]
    assert bigmodel("logs", job, "--storage", left.storage).stdout == whole
    assert job == "plain" or whole.count("行，共一万行\n") == 10_000


def test_of_a_killed_job_the_log_is_there_but_for_its_last_seconds(left):
    kept = bigmodel("logs", "killed", "--storage", left.storage).stdout
    assert kept and left.logs["killed"].startswith(kept)


TRAINING = """
name = "comments"
data.train = "评论.csv"
model.kind = "mlp"
[train]
epochs = 12
rows_per_step = 2
early_stop = 0
checkpoint_s = 0
"""


@pytest.mark.chaos
def test_a_training_is_stopped_and_gone_on_with_by_what_its_status_says(tmp_path):
    place = write_comments(tmp_path, TRAINING)
    storage = ("--storage", str(tmp_path / "存储"))
    with living_head() as head, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", head.token)
        there = ("--cluster", head.address, *storage)
        train = ["bigmodel", "train", "recipe.toml", *there, "--json"]
        began = run([*train, "--detach"], place, head.token)
        assert began.returncode == 0, began.stderr
        job = json.loads(began.stdout)["job"]
        wait_for(lambda: bigmodel("status", job, *storage).exit_code == 0, within_s=120)
        wait_for(lambda: said("status", job, *storage)["run"], within_s=240)
        going = said("status", job, *storage)
        assert (going["state"], going["stage"], going["verb"]) == ("RUNNING", "train", "train")
        assert "@" in going["who"] and going["model"] is None
        stopped = said("stop", job, *there)
        assert stopped["state"] == "STOPPED"
        assert stopped["go_on"] == f"the same command with --resume {going['run']} goes on"
        done = run([*train, "--resume", going["run"]], place, head.token)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["run_id"] == going["run"]
    after, before = said("list", *storage)
    assert (before["id"], before["state"], before["code"]) == (job, "STOPPED", 130)
    assert (after["state"], after["model"]) == ("SUCCEEDED", "comments@1")
    assert '"model": "comments@1"' in bigmodel("logs", after["id"], *storage).stdout
