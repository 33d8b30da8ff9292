"""A search that is stopped, killed and gone on with comes to what it would have come to."""

import fcntl
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from comments import write_comments
from ray._private.utils import get_num_cpus

from bigmodel.storage import folder
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.trials import Trial

TRIALS = 6
RECIPE = f"""
name = "comments"
data.train = "评论.csv"
model.kind = "mlp"
model.mlp.dropout = 0.3
train.epochs = 12
train.rows_per_step = 4
[tune]
num_trials = {TRIALS}
grace_epochs = 1
cpus = {get_num_cpus()}  # one trial at a time: it is the same search again
[tune.space]
"train.learning_rate" = {{log = [1e-5, 1e-2]}}
"model.mlp.hidden_sizes" = {{choice = [[8], [16, 8]]}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return write_comments(tmp_path_factory.mktemp("search"), RECIPE)


def searches(place: Path) -> set[str]:
    return {path.parent.name for path in place.glob("storage/searches/*/search.json")}


def trials(place: Path, run_id: str) -> list[Trial]:
    return Ledger(folder(place / "storage" / "searches" / run_id)).trials


def ended(place: Path, run_id: str) -> int:
    return sum(bool(trial.end) for trial in trials(place, run_id))


def begins(place: Path, run_id: str) -> list[int]:
    """The numbers of the trials in the order in which they began, or began again."""
    events = sorted((place / "storage" / "searches" / run_id / "events").iterdir())
    told = [json.loads(event.read_text()) for event in events]
    return [one["trial"] for one in told if one["event"] == "begin"]


def scores(found: list[Trial]) -> list[Any]:
    """All that a seed decides."""
    return [
        (trial.values, trial.end, [(epoch["epoch"], epoch["score"]) for epoch in trial.epochs])
        for trial in found
    ]


@pytest.mark.chaos
def test_a_search_stopped_by_ctrl_c_and_then_killed_ends_as_one_that_was_left_alone(
    start, run, wait_for, place
):
    whole = run("tune", "recipe.toml", "--json", cwd=place, ray=True).json
    expected = trials(place, whole["run_id"])
    assert len(expected) == TRIALS and {"ended", "stopped"} <= {trial.end for trial in expected}

    first = start("tune", "recipe.toml", cwd=place, ray=True)
    (run_id,) = wait_for(lambda: searches(place) - {whole["run_id"]}, within_s=300)
    wait_for(lambda: ended(place, run_id) >= 1, within_s=300)
    os.killpg(first.process.pid, signal.SIGINT)  # as a terminal does
    wait_for(lambda: not any("ImplicitFunc" in line for line in first.left()), within_s=15)
    assert first.code == 130
    assert first.err.endswith("bigmodel: interrupted\n") and "Traceback" not in first.err
    assert re.search(rf"stopped; the same command with --resume {run_id} goes on", first.err)
    wait_for(lambda: not first.left(), within_s=60)
    stopped_at = ended(place, run_id)
    assert 1 <= stopped_at < TRIALS

    second = start("tune", "recipe.toml", "--resume", run_id, cwd=place, ray=True)
    wait_for(lambda: ended(place, run_id) >= stopped_at + 1, within_s=300)
    second.process.kill()
    assert second.code == -signal.SIGKILL
    with (place / "storage" / "mlflow" / "running" / run_id).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the process of a search that is alive
        other = run("tune", "recipe.toml", "--resume", run_id, cwd=place)
    assert other.code == 2 and "the run is going on right now" in other.err
    before = trials(place, run_id)
    killed_at = sum(bool(trial.end) for trial in before)
    assert killed_at < TRIALS

    done = run("tune", "recipe.toml", "--resume", run_id, "--json", cwd=place, ray=True).json
    found = trials(place, run_id)
    assert scores(found) == scores(expected)
    assert [done[key] for key in ("best", "score")] == [whole[key] for key in ("best", "score")]
    assert found[:killed_at] == before[:killed_at]
    again = [number for number in range(TRIALS) if begins(place, run_id).count(number) > 1]
    assert set(again) <= {stopped_at, killed_at}
    wait_for(lambda: not second.left(), within_s=120)
    assert not list(place.glob("storage/searches/*/runs/*/ray"))
