"""Another version for a living endpoint: exchanged in place under load, or refused."""

import copy
import json
import os
import shutil
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from asking import Load
from ray import serve as ray_serve
from ray.serve.context import _get_global_client
from waiting import wait_for

from bigmodel.artifact import Artifact
from bigmodel.config import LimitsConfig, ServeConfig
from bigmodel.data.schema import LabelSet
from bigmodel.errors import ModelError
from bigmodel.predictor import Predictor
from serve import outcomes, rollout, running
from serve.declared import living, pids
from serve.keyfile import add_key
from serve.wanted import Pinned, ServeArgs

TEXTS = ["书很好看", "手机电池不耐用", "物流太慢"]
SETTINGS = ServeConfig(min_replicas=2, max_replicas=2, replica_cpus=0.25)
ARGS = ServeArgs(name="reviews", serve=SETTINGS, code="of this test")


class Versions:
    """The tiny model under many numbers, each with scores of its own."""

    def __init__(self, tiny: Artifact, folder: Path) -> None:
        self._tiny, self._folder = tiny, folder
        self._parts = {"recipe": tiny.recipe, "labels": tiny.labels, "encoder": tiny.encoder}
        self.scores: dict[str, list[float]] = {}

    def saved(self, version: int, **fields: Any) -> Pinned:
        """In a folder of its own; `fields` differ from the tiny model's."""
        parts = {**self._parts, "model": self._tiny.model, "temperature": 1 + version / 10}
        artifact = Artifact(**(parts | fields))
        uri = str(self._folder / f"{version}-{len(list(self._folder.iterdir()))}")
        digest = artifact.save(uri)
        answers = Predictor(artifact).predict(TEXTS)
        self.scores[str(version)] = [answer.labels[0][1] for answer in answers]
        return Pinned(uri=uri, digest=digest, version=str(version))

    def damaged(self) -> Pinned:
        version = self.saved(90)
        weights = Path(version.uri, "weights.safetensors")
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        return version

    def other_labels(self) -> Pinned:
        return self.saved(91, labels=LabelSet(("好评", "差评")))

    def nan_weights(self) -> Pinned:
        model = copy.deepcopy(self._tiny.model)
        with torch.no_grad():
            for weights in model.parameters():
                weights.fill_(float("nan"))
        return self.saved(92, model=model)

    def wrong_golden(self, monkeypatch: pytest.MonkeyPatch) -> Pinned:
        """Whole, but sealed with answers that no machine gives."""
        from bigmodel import artifact

        with monkeypatch.context() as patch:
            real = artifact._golden
            patch.setattr(artifact, "_golden", lambda one: _shifted(real(one)))
            return self.saved(93)


def _shifted(golden: dict[str, Any]) -> dict[str, Any]:
    return {**golden, "scores": [[one + 1 for one in row] for row in golden["scores"]]}


@pytest.fixture(scope="module")
def versions(tiny: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(tiny, tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def started(ray_local: None, versions: Versions) -> Iterator[str]:
    """The URL of two replicas."""
    yield rollout.deploy(versions.saved(1), ARGS, port=running.free_port())
    running.stop()
    ray_serve.shutdown()


@pytest.fixture
def url(started: str, versions: Versions) -> str:
    """They answer with version 1 of `reviews` alone, whatever a test before this one left."""
    rollout.deploy(versions.saved(1), ARGS)
    wait_for(lambda: len(living()) == 2, within_s=60)
    return started


def serving() -> list[str]:
    """The version of each living replica, as it told."""
    told = outcomes.told()
    return [told[one].serving["reviews"] for one in living() if one in told]


def test_a_version_is_exchanged_under_load_without_a_failed_request(
    url: str, versions: Versions
) -> None:
    processes = pids()
    two, three = versions.saved(2), versions.saved(3)
    with Load(url, TEXTS, clients=8, expected=versions.scores) as load:
        load.wait_for_more(20)
        for version in (two, three):
            assert rollout.deploy(version, ARGS) == url
            done = load.answered.copy()
            load.wait_for_more(20)
        only_new = load.answered - done
    assert load.failed == []
    assert set(only_new) <= {"2", "3"} and load.answered.keys() == {"1", "2", "3"}
    assert serving() == ["3", "3"] and pids() == processes


def test_a_rollback_puts_the_version_before_back(url: str, versions: Versions) -> None:
    rollout.deploy(versions.saved(2), ARGS)
    assert rollout.rollback("reviews").version == "1"
    assert serving() == ["1", "1"] and running.ask(url, TEXTS[0])["version"] == "1"
    assert rollout.rollback("reviews").version == "2"
    assert serving() == ["2", "2"] and running.ask(url, TEXTS[0])["version"] == "2"


BAD = {
    "damaged": "weights.safetensors",
    "other_labels": "added: 好评, 差评; gone: 正面, 负面",
    "nan_weights": "nan",
    "wrong_golden": "golden texts score 1 away",
}


@pytest.mark.parametrize("looked_at", ["first by the job", "only by replicas"])
def test_bad_versions_are_refused_and_the_one_before_answers_on(
    looked_at: str, url: str, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {kind: getattr(versions, kind) for kind in BAD}
    made = {k: v(monkeypatch) if k == "wrong_golden" else v() for k, v in bad.items()}
    if looked_at == "only by replicas":
        monkeypatch.setattr(rollout, "load", lambda *_: None)
    processes = pids()
    with Load(url, TEXTS, clients=2, expected=versions.scores) as load:
        for kind, version in made.items():
            with pytest.raises(ModelError, match=BAD[kind]) as error:
                rollout.deploy(version, ARGS)
            assert error.value.exit_code == 4
            assert (serving(), pids()) == (["1", "1"], processes)
        load.wait_for_more(10)
    assert load.failed == [] and load.answered.keys() == {"1"}


def test_of_two_deploys_at_once_one_wins_and_the_other_is_told(
    url: str, versions: Versions
) -> None:
    compete(url, [versions.saved(2), versions.saved(3)])


def compete(url: str, rivals: list[Pinned]) -> None:
    """Deploy them at the same moment; exactly one of them answers from all replicas after."""
    together = threading.Barrier(len(rivals))

    def deploy(version: Pinned) -> str:
        together.wait()
        try:
            rollout.deploy(version, ARGS)
        except ModelError as error:
            return str(error)
        return version.version

    with ThreadPoolExecutor(len(rivals)) as pool:
        ended = list(pool.map(deploy, rivals))
    winners = [one for one in ended if one.isdecimal()]
    assert len(winners) == 1, ended
    (lost,) = set(ended) - set(winners)
    assert f"another deploy came first (reviews@{winners[0]}, by " in lost
    assert serving() == winners * 2 and running.ask(url, TEXTS[0])["version"] == winners[0]


def test_another_name_is_one_model_more_and_the_default_stays(url: str, versions: Versions) -> None:
    rollout.deploy(versions.saved(4), ARGS.model_copy(update={"name": "topics"}))
    assert [one.serving for id, one in outcomes.told().items() if id in living()] == [
        {"reviews": "1", "topics": "4"}
    ] * 2
    assert running.ask(url, TEXTS[0])["model"] == "reviews"


def killed(pid: int) -> None:
    """SIGKILL one replica, and wait until another is in its place and answers."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid not in pids().values(), within_s=60)
    wait_for(lambda: len(serving()) == 2, within_s=120)


def test_after_a_refusal_a_killed_replica_comes_back_with_the_version_that_answers(
    url: str, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "load", lambda *_: None)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        rollout.deploy(versions.damaged(), ARGS)
    killed(min(pids().values()))
    assert serving() == ["1", "1"] and running.ask(url, TEXTS[0])["version"] == "1"


def test_one_replica_that_refuses_puts_the_version_before_back_everywhere(
    url: str, versions: Versions
) -> None:
    """The one that refuses has come back while version 5's files were away, with the one before,
    whose labels aren't those of version 6."""
    rollout.deploy(versions.other_labels(), ARGS, other_labels=True)
    five = versions.saved(5)
    rollout.deploy(five, ARGS, other_labels=True)
    shutil.move(five.uri, away := five.uri + "-away")
    killed(min(pids().values()))
    shutil.move(away, five.uri)
    assert sorted(serving()) == ["5", "91"]

    with pytest.raises(ModelError, match="other labels than reviews@91.*answers on"):
        rollout.deploy(versions.saved(6), ARGS)
    assert serving() == ["5", "5"] and running.ask(url, TEXTS[0])["version"] == "5"


@pytest.mark.chaos
def test_other_settings_mean_new_processes_and_no_failed_request(
    url: str, versions: Versions
) -> None:
    processes = pids()
    limits = SETTINGS.model_copy(update={"limits": LimitsConfig(items=5)})
    with Load(url, TEXTS, clients=2, expected=versions.scores) as load:
        rollout.deploy(versions.saved(2), ARGS.model_copy(update={"serve": limits}))
        load.wait_for_more(5)
    assert load.failed == []
    assert serving() == ["2", "2"] and not processes.items() & pids().items()


@pytest.fixture
def storage_with_key(url: str, versions: Versions, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A storage, and a key of it; after the test an endpoint without keys is there again."""
    key = add_key(str(tmp_path), "tests", scopes=["predict"])
    yield str(tmp_path), key.written
    running.stop()
    rollout.deploy(versions.saved(1), ARGS, port=int(url.rpartition(":")[2]))


@pytest.mark.chaos
def test_keys_are_asked_for_by_every_replica_and_never_lost_by_a_deploy(
    url: str, versions: Versions, storage_with_key: tuple[str, str]
) -> None:
    storage, key = storage_with_key
    keyed = ARGS.model_copy(update={"keys": storage})
    for version, args in ((versions.saved(2), keyed), (versions.saved(3), ARGS)):
        rollout.deploy(version, args)
        for _ in range(10):
            assert asked(url, {}) == 401
            assert asked(url, {"Authorization": f"Bearer {key}"}) == 200
    assert serving() == ["3", "3"]


def asked(url: str, headers: dict[str, str]) -> int:
    """The status of a request of its own connection."""
    body = json.dumps({"inputs": TEXTS}).encode()
    request = urllib.request.Request(
        f"{url}/v1/classify", body, {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.chaos
def test_after_serves_controller_was_killed_a_deploy_works(url: str, versions: Versions) -> None:
    processes = pids()
    with Load(url, TEXTS, clients=2, expected=versions.scores) as load:
        os.kill(controller_pid(), signal.SIGKILL)
        load.wait_for_more(10)
        rollout.deploy(versions.saved(2), ARGS)
        load.wait_for_more(10)
    assert load.failed == []
    assert serving() == ["2", "2"] and pids() == processes


def controller_pid() -> int:
    return int(ray.get(_get_global_client()._controller.get_pid.remote()))


@pytest.mark.chaos
def test_two_thousand_requests_and_ten_rollouts(url: str, versions: Versions) -> None:
    wanted = [versions.saved(2 + turn % 5) for turn in range(10)]
    with Load(url, TEXTS, clients=8, expected=versions.scores) as load:
        for version in wanted:
            load.wait_for_more(200)
            rollout.deploy(version, ARGS)
    assert load.failed == [] and load.answered.total() >= 2000


@pytest.mark.chaos
def test_twenty_rounds_of_two_deploys(url: str, versions: Versions) -> None:
    rivals = [versions.saved(2), versions.saved(3)]
    for _ in range(20):
        compete(url, rivals)


@pytest.mark.chaos
def test_twenty_kills_in_a_row_fail_no_more_than_was_in_flight(
    url: str, versions: Versions
) -> None:
    kills, clients = 20, 4
    rollout.deploy(versions.saved(2), ARGS)
    with Load(url, TEXTS, clients=clients, expected=versions.scores) as load:
        for _ in range(kills):
            load.wait_for_more(20)
            killed(min(pids().values()))
            assert serving() == ["2", "2"]
    assert len(load.failed) <= kills * clients, load.failed
    assert load.answered.keys() == {"2"}
