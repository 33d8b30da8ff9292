"""A model's scores computed elsewhere than by torch on a CPU: the same answers, or a refusal."""

import copy

import pytest
import torch
from test_explanation import KINDS, TEXTS, made_once

from bigmodel.artifact import Artifact
from bigmodel.config import ServeConfig
from bigmodel.data.batches import pad
from bigmodel.engines import OnDevice, check, network_for
from bigmodel.errors import ModelError, RecipeError
from bigmodel.predictor import Predictor
from serve.app import build
from serve.loading import Loader, load
from serve.models import Models
from serve.wanted import Pinned, ServeArgs, first_wish

CPU, NOWHERE = torch.device("cpu"), torch.device("meta")


def a_gpu(monkeypatch: pytest.MonkeyPatch, network: torch.nn.Module | None = None) -> None:
    """Make believe that there is one: what is moved there stays, or is exchanged for `network`."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    moved = "bigmodel.engines.OnDevice"
    monkeypatch.setattr(moved, lambda given, _: OnDevice(network or given, CPU))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_on_a_device_answers_as_the_network_itself(kind: str) -> None:
    artifact = made_once(kind)
    elsewhere = Predictor(artifact, network=OnDevice(artifact.model, CPU))
    assert elsewhere.predict(TEXTS, top_k=3) == Predictor(artifact).predict(TEXTS, top_k=3)
    assert elsewhere.artifact is artifact, "explanations go on with the one on the CPU"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_computes_where_its_batch_is(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is computed, and operands from two places are an error."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # of a real GPU
    artifact = made_once(kind)
    there = OnDevice(artifact.model, NOWHERE)
    encoded = artifact.encoder.encode(TEXTS)
    batch = pad(encoded, torch.arange(len(TEXTS)).numpy())
    scores = there.network(batch.to(NOWHERE))
    assert (scores.device, scores.shape) == (NOWHERE, (len(TEXTS), 3))
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta"):
        there(batch)
    assert {weight.device for weight in artifact.model.parameters()} == {CPU}


def test_without_gpus_the_network_is_the_artefacts_own(tiny: Artifact) -> None:
    assert network_for(tiny, gpus=0) is None


@pytest.mark.parametrize("kind", ["linear", "bag"])
def test_kinds_of_ngrams_stay_with_torch(kind: str) -> None:
    assert network_for(made_once(kind), engine="onnx") is None


def test_packages_that_onnx_runtime_needs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigmodel.export.network.PACKAGES", ("torch", "onnx_that_is_not_there"))
    with pytest.raises(RecipeError, match=r"serve.engine = onnx needs onnx_that_is_not_there, wh"):
        network_for(made_once("cnn"), engine="onnx")


def test_onnx_runtime_and_a_gpu_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="engine is onnx, .* and replica_gpus is 0.5; leave one"):
        ServeConfig(engine="onnx", replica_gpus=0.5)


def test_a_gpu_that_torch_does_not_see_is_told(
    tiny: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"serve.replica_gpus is 0.25, and torch \S+ sees no GPU"):
        network_for(tiny, gpus=0.25)


def off_by(artifact: Artifact, gap: float) -> torch.nn.Module:
    network = copy.deepcopy(artifact.model)
    with torch.no_grad():
        network.bias += gap
    return network


def test_a_gpu_that_says_something_else_is_refused(tiny: Artifact) -> None:
    check(tiny, off_by(tiny, 1e-5), where="on the GPU")
    for wrong in (off_by(tiny, 0.01), off_by(tiny, float("nan"))):
        with pytest.raises(ModelError, match="golden texts score .* away on the GPU"):
            check(tiny, wrong, where="on the GPU")


@pytest.fixture
def version(tiny: Artifact, tiny_uri: str) -> Pinned:
    return Pinned(uri=tiny_uri, digest=tiny.digest, version="7")


def test_a_replica_with_a_gpu_computes_there_beside_its_loop(
    version: Pinned, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_gpu(monkeypatch)
    served = load("reviews", version, ServeConfig(replica_gpus=0.5))
    assert isinstance(served.predictor._score.__self__.model, OnDevice)
    assert served.batch._thread is not None
    assert load("reviews", version).batch._thread is None


def test_a_replica_whose_gpu_is_wrong_has_no_model_and_says_why(
    version: Pinned, tiny: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_gpu(monkeypatch, off_by(tiny, 1.0))
    loader = Loader(Models(), default="reviews", config=ServeConfig(replica_gpus=1))
    outcome = loader.begin(first_wish("reviews", version)).result()
    assert outcome and "away on the GPU" in outcome.refused and outcome.serving == {}


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_ray_sets_a_replicas_share_of_a_gpu_aside(share: float) -> None:
    config = ServeConfig(min_replicas=1, replica_gpus=share)
    deployment = build(ServeArgs(name="reviews", serve=config))._bound_deployment
    asked = deployment.ray_actor_options
    assert (asked["num_cpus"], asked["num_gpus"]) == (0.5, share)


@pytest.mark.parametrize("wrong", [-0.5, 1.5])
def test_one_replica_computes_on_at_most_one_gpu(wrong: float) -> None:
    with pytest.raises(ValueError, match="replica_gpus"):
        ServeConfig(replica_gpus=wrong)
