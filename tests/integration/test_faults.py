"""Training by real Ray Train workers that get killed: it ends with the bytes it would have had."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ray.util.state import list_actors

from bigmodel import progress
from bigmodel.artifact import Artifact
from bigmodel.config import Recipe
from bigmodel.errors import ClusterError, ModelError, RecipeError
from bigmodel.outbox import Entry
from bigmodel.recipe import with_values
from bigmodel.tracking import _living
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.runs import StoredRun
from bigmodel.training.team import Team
from bigmodel.training.trainer import Fitted, fit

LOST = re.compile(r"^(worker \d died|a worker lost the others) while training")


def weights_of(fitted: Fitted) -> str:
    return hashlib.sha256(Path(fitted.uri, "weights.safetensors").read_bytes()).hexdigest()


def workers() -> list[int]:
    """The process ids of the living ones."""
    alive = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
    return sorted(actor.pid for actor in list_actors(filters=alive))


class Killer:
    """Kills a worker by its process id when a share of the steps is done, once an attempt. What
    is done is heard of two times a second, so the share lies well before the end."""

    def __init__(self, share: float, *, times: int = 1, which: int = 0) -> None:
        self._share, self._times, self._which = share, times, which
        self.killed: list[int] = []
        self.said: list[str] = []

    def __call__(self, event: progress.Event) -> None:
        if event.said:
            self.said.append(event.said)
        if event.stage != "train" or not event.done or len(self.killed) >= self._times:
            return
        new = [pid for pid in workers() if pid not in self.killed]
        if event.done >= self._share * event.total and len(new) == 2:
            self.killed.append(new[self._which])
            os.kill(self.killed[-1], signal.SIGKILL)


@pytest.fixture(scope="module")
def long(small) -> Callable[..., Recipe]:
    """Many steps of few rows, dropout on, a checkpoint as often as may be."""

    def recipe(**train: object) -> Recipe:
        plain = {"epochs": 4, "rows_per_step": 2, "early_stop": 0, "checkpoint_s": 0}
        return small("mlp", model={"kind": "mlp", "mlp": {"dropout": 0.3}},
                     train=plain | {"num_workers": 2} | train)  # fmt: skip

    return recipe


@pytest.fixture(scope="module")
def undisturbed(long, prepared) -> str:
    return weights_of(fit(prepared("mlp"), long(), run_id="undisturbed"))


def check_killed(seed: int, long, prepared, undisturbed: str) -> None:
    chance = random.Random(seed)
    killer = Killer(chance.uniform(0.1, 0.5), which=chance.randrange(2))
    with progress.listening(killer):
        done = fit(prepared("mlp"), long(max_failures=1), run_id=f"killed-{seed}")
    assert len(killer.killed) == 1
    assert any("; going on from step " in said for said in killer.said), killer.said
    assert weights_of(done) == undisturbed
    assert Artifact.load(done.uri, digest=done.artifact.digest)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(11))
def test_whichever_worker_dies_and_whenever_the_bytes_are_the_same(
    seed, long, prepared, undisturbed
):
    check_killed(seed, long, prepared, undisturbed)


@pytest.mark.chaos
def test_as_many_lost_workers_as_allowed_are_survived_and_no_more(long, prepared, undisturbed):
    with progress.listening(killer := Killer(0.4, times=2)):
        done = fit(prepared("mlp"), long(max_failures=2), run_id="twice")
    assert len(killer.killed) == 2 and weights_of(done) == undisturbed
    with progress.listening(killer := Killer(0.4, times=9)), pytest.raises(ClusterError):
        fit(prepared("mlp"), long(max_failures=1), run_id="twice-of-one")
    assert len(killer.killed) == 2


def test_of_two_that_go_on_with_a_run_at_once_one_is_refused(mlflow_storage):
    entry = Entry("一个", "small")
    with _living(mlflow_storage, None, entry):
        with pytest.raises(RecipeError, match="the run is going on right now"):
            with _living(mlflow_storage, None, entry):
                pass
    with _living(mlflow_storage, None, entry):
        pass


def test_after_workers_lost_too_often_a_run_goes_on_from_its_last_good_checkpoint_and_loses_another(
    long, prepared, undisturbed
):
    """Two stops of one run, the second of which it survives by itself: the same bytes."""
    recipe, killer = long(max_failures=0), Killer(0.2)
    with progress.listening(killer), pytest.raises(ClusterError) as caught:
        fit(prepared("mlp"), recipe, run_id="lost")
    run = StoredRun(recipe, "lost")
    place, steps = run.place.local / "checkpoints", run.checkpoints.steps()
    assert LOST.search(str(caught.value))
    way_out = f"; the same command with --resume lost goes on from step {steps[-1]}"
    assert str(caught.value).endswith(way_out)
    assert not Path(recipe.storage, "models", recipe.name, "lost").exists()
    newest = place / f"{steps[-1]:010d}"
    (newest / "state.json").write_bytes(b"{}")
    with progress.listening(killer := Killer(0.5, which=1)):
        done = fit(prepared("mlp"), long(max_failures=1), run_id="lost", resume=True)
    assert any(f"{newest}: state.json is damaged" in said for said in killer.said)
    assert len(killer.killed) == 1
    assert any("; going on from step " in said for said in killer.said), killer.said
    assert weights_of(done) == undisturbed
    assert Artifact.load(done.uri, digest=done.artifact.digest)


@pytest.mark.chaos
def test_with_no_whole_checkpoint_a_run_does_not_begin_anew(long, prepared):
    recipe = long(max_failures=0)
    with progress.listening(Killer(0.3)), pytest.raises(ClusterError):
        fit(prepared("mlp"), recipe, run_id="damaged")
    for one in Path(recipe.storage, "runs", "damaged", "checkpoints").glob("[0-9]*"):
        (one / "state.json").write_bytes(b"{}")
    for _ in range(2):
        with pytest.raises(ModelError, match="no checkpoint of this run is whole") as caught:
            fit(prepared("mlp"), recipe, run_id="damaged", resume=True)
        assert str(caught.value).endswith("; train anew without --resume")


@pytest.mark.chaos
def test_a_run_that_kept_nothing_leaves_nothing(long, prepared):
    recipe = long(max_failures=0, checkpoint_s=1000)
    with progress.listening(Killer(0.01)), pytest.raises(ClusterError) as caught:
        fit(prepared("mlp"), recipe, run_id="kept-nothing")
    assert LOST.search(str(caught.value))
    assert str(caught.value).endswith("; raise train.max_failures")
    assert not list(Path(recipe.storage, "runs").glob("kept-nothing*"))


@pytest.mark.chaos
def test_as_many_workers_as_find_room_have_the_losses_of_one(long, prepared):
    recipe = long(num_workers=[1, 9], rows_per_step=16)
    recipe = with_values(recipe, {"model.mlp.dropout": 0})
    counted: set[int] = set()

    def count(event: progress.Event) -> None:
        if event.stage == "train" and event.done:
            counted.add(len(workers()))

    with progress.listening(count):
        done = fit(prepared("mlp"), recipe, run_id="room-for-four")
    assert max(counted) == 4
    alone = fit_weights(recipe, training_data(prepared("mlp"), recipe), Team())
    losses = [epoch.loss for epoch in alone.history]
    assert [epoch["loss"] for epoch in done.epochs] == pytest.approx(losses, rel=1e-4)


@pytest.mark.chaos
@pytest.mark.parametrize("end", ["killed", "noticed"])
def test_a_machine_that_goes_away_leaves_the_training_to_the_other(end, small, tmp_path):
    """By `two_machines.py`, in a process and a cluster of its own."""
    (source,) = small("mlp").data.train
    program = Path(__file__).with_name("two_machines.py")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, program, tmp_path / "storage", source.path, end],
        env=kept,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["lost"]
    assert found["losses"] == pytest.approx(found["alone"], rel=1e-4)
