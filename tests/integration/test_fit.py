"""fit by real Ray Train workers: the same weights for any number of them."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bigmodel.artifact import Artifact
from bigmodel.errors import ClusterError
from bigmodel.training.calibration import calibrated
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.team import Team
from bigmodel.training.trainer import fit


def weights_of(uri: str) -> str:
    return hashlib.sha256(Path(uri, "weights.safetensors").read_bytes()).hexdigest()


def test_linear_gets_the_same_bytes_from_one_process_and_from_two_workers(small, prepared, fitted):
    recipe, rows = small("linear"), prepared("linear")
    data = training_data(rows, recipe)
    alone = fit_weights(recipe, data, Team()).state
    two = load_file(Path(fitted("linear").uri, "weights.safetensors"))
    assert alone.keys() == two.keys()
    assert all(torch.equal(tensor, two[name]) for name, tensor in alone.items())
    one = calibrated(recipe, rows, alone, data)
    assert one.temperature == fitted("linear").artifact.temperature


@pytest.mark.chaos
def test_linear_gets_the_same_bytes_from_one_worker_and_from_two(small, prepared, fitted):
    alone = small("linear", train={"epochs": 3, "num_workers": 1})
    one = fit(prepared("linear"), alone, run_id="one-linear")
    assert weights_of(one.uri) == weights_of(fitted("linear").uri)
    assert one.artifact.temperature == fitted("linear").artifact.temperature


def losses_alone(recipe, prepared) -> list[float]:
    """Of each epoch, by one process without Ray."""
    done = fit_weights(recipe, training_data(prepared, recipe), Team())
    return [epoch.loss for epoch in done.history]


def test_bag_has_the_losses_of_one_worker_with_two(small, prepared, fitted):
    losses = [epoch["loss"] for epoch in fitted("bag").epochs]
    assert len(losses) == 3
    assert losses == pytest.approx(losses_alone(small("bag"), prepared("bag")), rel=1e-4)


def test_the_artefact_is_sealed_and_its_run_stays_until_it_is_published(prepared, fitted):
    done = fitted("linear")
    assert Artifact.load(done.uri, digest=done.artifact.digest).metrics == done.artifact.metrics
    assert done.artifact.metrics["rows"] == len(prepared("linear").rows("valid")[0])
    assert done.artifact.metrics["accuracy"] > 0.9
    assert done.run.place.child("ended").names() and not done.run.scratch.names()
    done.run.remove()
    assert done.run.place.names() == []


def test_more_workers_than_cpus_are_refused_at_once(small, prepared):
    with pytest.raises(ClusterError, match="num_workers is 9, but Ray has 4 CPUs"):
        fit(prepared("linear"), small("linear", train={"num_workers": 9}), run_id="nine")
