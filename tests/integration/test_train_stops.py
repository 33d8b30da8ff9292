"""`bigmodel train` beside the session's Ray: what ends it in a sentence, early or in its midst."""

import os
import re
import signal
from pathlib import Path
from shutil import copytree

import psutil
import pytest
import ray
from click.testing import CliRunner, Result
from small_reviews import labelled, write_csv
from waiting import wait_for

from bigmodel import progress
from jobs.cli import main

RECIPE = """
name = "comments"
storage = "storage"
data.train = "评论.csv"
model.kind = "mlp"
model.mlp.dropout = 0.3
[train]
rows_per_step = 2
early_stop = 0
checkpoint_s = 0
"""


@pytest.fixture
def place(ray_local, new_storage: Path, tmp_path: Path) -> Path:
    """A folder with a recipe of many small steps."""
    copytree(new_storage, tmp_path / "storage")
    write_csv(tmp_path / "评论.csv", labelled()[:400])
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return tmp_path


def train(place: Path, *settings: str) -> Result:
    changes = [word for setting in settings for word in ("--set", setting)]
    return CliRunner().invoke(main, ["train", str(place / "recipe.toml"), *changes])


def sentence(done: Result) -> str:
    """What a command that failed said last, without the lines of its progress."""
    assert done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    said: str = done.stderr.splitlines()[-1]
    return said


def test_a_loss_that_is_no_number_stops_the_run_and_its_last_good_checkpoint_is_named(place):
    done = train(place, "train.learning_rate=1e12", "train.optimizer=sgd", "train.clip_norm=0")
    assert done.exit_code == 4
    said = sentence(done)
    assert re.search(r"the loss became (nan|inf) in step \d+ of \d+, with 评论.csv row ", said)
    way_out = re.search(r"; the same command with --resume (\w+) goes on from step (\d+)$", said)
    run_id, step = way_out.groups()
    whole = place.glob(f"storage/runs/{run_id}/checkpoints/[0-9]*/manifest.json")
    assert int(step) == max(int(manifest.parent.name) for manifest in whole)


def test_more_workers_than_cpus_are_told_before_anything_is_prepared(place):
    done = train(place, "train.num_workers=999")
    assert done.exit_code == 5 and "train.num_workers is 999, but Ray has " in sentence(done)
    assert not list(place.rglob("prepared")) and "rows" not in done.stderr


def test_a_run_goes_on_when_the_process_that_leads_its_workers_is_killed(place):
    leaders = set()

    def kill(event: progress.Event) -> None:
        kept = list(place.glob("storage/runs/*/checkpoints/[0-9]*/manifest.json"))
        if event.stage == "train" and kept and not leaders:
            every = psutil.Process().children(recursive=True)
            leaders.update(one.pid for one in every if "TrainController" in one.name())
            for pid in leaders:
                os.kill(pid, signal.SIGKILL)

    before = ray.available_resources()["CPU"]
    with progress.listening(kill):
        done = train(place)
    wait_for(lambda: ray.available_resources()["CPU"] == before, within_s=30)
    assert done.exit_code == 0 and len(leaders) == 1, done.stderr
    lost = "train: the process that leads the workers was lost while training; going on from step "
    assert lost in done.stderr and f"{lost}0\n" not in done.stderr
