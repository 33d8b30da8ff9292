"""fit by real Ray Train workers: the same weights for any number, and what a lost worker costs."""

import hashlib
import os
import signal
from pathlib import Path

import pytest
from ray.util.state import list_actors

from bigmodel import progress
from bigmodel.artifact import Artifact
from bigmodel.config import Recipe
from bigmodel.errors import ClusterError
from bigmodel.training.fitting import fit_weights
from bigmodel.training.team import Team
from bigmodel.training.trainer import fit, training_data


def weights_of(uri: str) -> str:
    return hashlib.sha256(Path(uri, "weights.safetensors").read_bytes()).hexdigest()


def left_of_runs(storage: str) -> list[Path]:
    return list(Path(storage, "runs").rglob("*"))


def test_linear_gets_the_same_bytes_from_one_worker_and_from_two(small, prepared, fitted):
    alone = small("linear", train={"epochs": 3, "num_workers": 1})
    one = fit(prepared("linear"), alone, run_id="one-linear")
    assert weights_of(one.uri) == weights_of(fitted("linear").uri)
    assert one.artifact.temperature == fitted("linear").artifact.temperature


def losses_alone(recipe, prepared) -> list[float]:
    """Of each epoch, by one process without Ray."""
    done = fit_weights(recipe, training_data(prepared), Team(), lambda epoch: None)
    return [epoch.loss for epoch in done.history]


def test_bag_has_the_losses_of_one_worker_with_two(small, prepared, fitted):
    losses = [epoch["loss"] for epoch in fitted("bag").epochs]
    assert len(losses) == 3
    assert losses == pytest.approx(losses_alone(small("bag"), prepared("bag")), rel=1e-4)


def test_the_artefact_is_sealed_and_nothing_else_is_left(small, prepared, fitted):
    done = fitted("linear")
    assert Artifact.load(done.uri, digest=done.artifact.digest).metrics == done.artifact.metrics
    assert done.artifact.metrics["rows"] == len(prepared("linear").rows("valid")[0])
    assert done.artifact.metrics["accuracy"] > 0.9
    assert left_of_runs(small("linear").storage) == []


def test_more_workers_than_cpus_are_refused_at_once(small, prepared):
    with pytest.raises(ClusterError, match="num_workers is 9, but Ray has 4 CPUs"):
        fit(prepared("linear"), small("linear", train={"num_workers": 9}), run_id="nine")


class Killer:
    """Kills one worker, the first time that an epoch is told."""

    killed = 0

    def __call__(self, event: progress.Event) -> None:
        if event.stage != "train" or not event.note or self.killed:
            return
        alive = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
        self.killed = list_actors(filters=alive)[0].pid
        os.kill(self.killed, signal.SIGKILL)


def slow_recipe(small, *, max_failures: int) -> Recipe:
    """Steps of four rows, so that the kill falls into the training."""
    train = {"epochs": 6, "rows_per_step": 4, "early_stop": 0, "optimizer": "sgd"}
    return small("mlp", train={**train, "num_workers": 2, "max_failures": max_failures})


@pytest.mark.chaos
def test_mlp_with_two_workers_one_of_them_lost_has_the_losses_of_one(small, prepared):
    recipe = slow_recipe(small, max_failures=1)
    with progress.listening(killer := Killer()):
        done = fit(prepared("mlp"), recipe, run_id="lost-and-begun-anew")
    assert killer.killed
    losses = [epoch["loss"] for epoch in done.epochs]
    assert len(losses) == 6
    assert losses == pytest.approx(losses_alone(recipe, prepared("mlp")), rel=1e-4)
    assert Artifact.load(done.uri, digest=done.artifact.digest)


@pytest.mark.chaos
def test_without_retries_a_lost_worker_is_one_sentence_and_leaves_nothing(small, prepared):
    recipe = slow_recipe(small, max_failures=0)
    with progress.listening(killer := Killer()):
        with pytest.raises(ClusterError, match="died while training .* raise train.max_failures"):
            fit(prepared("mlp"), recipe, run_id="lost")
    assert killer.killed
    assert not Path(recipe.storage, "models", recipe.name, "lost").exists()
    assert left_of_runs(recipe.storage) == []
