"""The endpoint on a local Ray: deployed, asked, scaled and stopped."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
import torch
from asking import Load
from ray import serve as ray_serve
from waiting import wait_for

from bigmodel.artifact import Artifact
from bigmodel.config import Recipe, ServeConfig
from bigmodel.data.schema import LabelSet
from bigmodel.errors import ClusterError, ModelError, RecipeError
from bigmodel.models import build_model
from bigmodel.predictor import Predictor
from bigmodel.text.encoder import EncoderRecipe
from serve.declared import APPLICATION, is_scaled_to_zero, living
from serve.running import ask, free_port, start, stop
from serve.wanted import DEPLOYMENT, Pinned, ServeArgs

TEXTS = ["手机电池不耐用", "书很好看，我喜欢", "物流太慢", "快递很快，五星好评", "ＡＢＣ　１２３"]
SCALING = ServeConfig(
    max_replicas=2, target_ongoing_requests=2, upscale_delay_s=1, downscale_delay_s=1
)


ARGS = ServeArgs(name="reviews", serve=SCALING)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Pinned:
    """A saved model with three labels and weights from a seed."""
    recipe = Recipe.model_validate(
        {
            "name": "reviews",
            "data": {"train": "reviews.csv"},
            "model": {"kind": "linear", "linear": {"min_count": 1}},
        }
    )
    fitted = EncoderRecipe.of(recipe)
    encoder = fitted.fit_on(TEXTS)
    labels = LabelSet(("中性", "正面", "负面"))
    model = build_model(recipe.model, num_ids=encoder.num_ids, num_labels=len(labels))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    uri = str(tmp_path_factory.mktemp("models") / "reviews")
    digest = Artifact(recipe, labels, encoder, model, metrics={}).save(uri)
    return Pinned(uri=uri, digest=digest, version="7")


def test_a_port_in_use_is_one_sentence_and_starts_nothing(ray_local: None, version: Pinned) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"127\.0\.0\.1:{port} \(Address already in use\)"):
            start(ARGS, version, port=port)
    assert not ray_serve.status().proxies


def test_a_damaged_artefact_starts_nothing(
    ray_local: None, version: Pinned, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no such artefact"):
        start(ARGS, version.model_copy(update={"uri": str(tmp_path)}), port=free_port())
    with pytest.raises(ModelError, match="exchanged"):
        start(ARGS, version.model_copy(update={"digest": "0" * 64}), port=free_port())
    assert not ray_serve.status().proxies


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "reviews.example.com"])
def test_without_keys_it_listens_on_loopback_alone(host: str, version: Pinned) -> None:
    with pytest.raises(RecipeError, match="bigmodel keys add"):
        start(ARGS, version, host=host)


TOO_LARGE = SCALING.model_copy(update={"replica_cpus": 64})
"""A replica that no node of the tests has room for."""


@pytest.mark.chaos
def test_an_endpoint_that_does_not_come_up_is_taken_away(ray_local: None, version: Pinned) -> None:
    try:
        with pytest.raises(ClusterError, match="isn't up yet"):
            large = ARGS.model_copy(update={"serve": TOO_LARGE})
            start(large, version, port=free_port(), timeout_s=2)
        assert APPLICATION not in ray_serve.status().applications
    finally:
        ray_serve.shutdown()


@pytest.mark.chaos
def test_a_quiet_endpoint_has_no_replica_and_the_next_request_waits_for_one(
    ray_local: None, version: Pinned
) -> None:
    none = SCALING.model_copy(update={"min_replicas": 0, "max_replicas": 1, "downscale_delay_s": 5})
    try:
        url = start(ARGS.model_copy(update={"serve": none}), version, port=free_port())
        wait_for(lambda: is_scaled_to_zero() and not any_replica(), within_s=60)
        assert ask(url, TEXTS[0])["version"] == "7"
        assert living()
    finally:
        stop()
        ray_serve.shutdown()


def any_replica() -> bool:
    """Also one that is about to end."""
    states = ray_serve.status().applications[APPLICATION].deployments[DEPLOYMENT].replica_states
    return bool(sum(states.values()))


@pytest.fixture(scope="module")
def url(ray_local: None, version: Pinned) -> Iterator[str]:
    yield start(ARGS, version, port=free_port())
    stop()
    ray_serve.shutdown()


def test_http_answers_what_the_predictor_answers(url: str, version: Pinned) -> None:
    predictor = Predictor(Artifact.load(version.uri, digest=version.digest))
    for text, expected in zip(TEXTS, predictor.predict(TEXTS), strict=True):
        answer = ask(url, text)
        found = answer["predictions"][0]["labels"]
        assert [entry["label"] for entry in found] == [label for label, _ in expected.labels]
        assert np.allclose(
            [entry["score"] for entry in found], [score for _, score in expected.labels], atol=1e-5
        )
        assert (answer["model"], answer["version"]) == ("reviews", "7")


def test_a_refusal_says_why(url: str) -> None:
    with pytest.raises(ClusterError, match="422, inputs is empty or blank"):
        ask(url, " ")


@pytest.mark.parametrize(("sent", "kept"), [("read-1", True), ("evil id {}<script>", False)])
def test_serves_own_request_id_is_the_checked_one(url: str, sent: str, kept: bool) -> None:
    request = urllib.request.Request(
        f"{url}/v2/health/live", headers={"X-Request-ID": sent, "X-Request-Timeout-Seconds": "1e-9"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        found = response.headers.get_all("X-Request-ID")
    assert len(found) == 1 and (found[0] == sent) is kept


def test_a_body_too_large_is_refused_before_it_is_sent(url: str) -> None:
    http = HTTPConnection(url.removeprefix("http://"), timeout=10)
    http.putrequest("POST", "/v1/classify")
    http.putheader("Content-Type", "application/json")
    http.putheader("Content-Length", str(64 * 2**20))
    http.endheaders()
    with http.getresponse() as response:
        assert (response.status, response.headers["Connection"]) == (413, "close")
        assert json.load(response)["type"] == "urn:bigmodel:error:body-too-large"


def test_another_port_beside_a_running_serve_is_refused(url: str, version: Pinned) -> None:
    with pytest.raises(ClusterError, match="Ray Serve runs on this cluster, but not on"):
        start(ARGS, version, port=free_port())


def running_replicas() -> int:
    deployment = ray_serve.status().applications[APPLICATION].deployments[DEPLOYMENT]
    return int(deployment.replica_states.get("RUNNING", 0))


def test_it_grows_under_load_and_shrinks_after_without_a_failed_request(url: str) -> None:
    assert running_replicas() == 1
    with Load(url, TEXTS, clients=1) as quiet:
        with Load(url, TEXTS, clients=6) as heavy:
            wait_for(lambda: running_replicas() == 2, within_s=40)
        wait_for(lambda: running_replicas() == 1, within_s=40)
    assert quiet.failed + heavy.failed == []
    assert min(quiet.answered.total(), heavy.answered.total()) > 10
