"""When the first worker of a run keeps a checkpoint, and what it tells of it."""

import threading
from typing import Any

import pytest
import torch

from bigmodel.storage import folder
from bigmodel.training import keeper, news
from bigmodel.training.checkpoints import Checkpoint, Checkpoints
from bigmodel.training.keeper import Keeper, Teller

LONG_S = 1e6
GONE = "9f3a"


class Cluster:
    """Stands for what Ray knows: machines that leave, the requests, the news."""

    def __init__(self) -> None:
        self.leaving: set[str] = set()
        self.asked = False
        self.told: dict[str, Any] = {}
        self._looks, self._looked = 0, threading.Condition()

    def heard(self, topic: str) -> dict[str, Any]:
        self.note_look()
        return {"asked": True} if self.asked and topic == "甲/stop" else {}

    def tell(self, topic: str, value: dict[str, Any]) -> None:
        self.told = dict(value)

    def look(self) -> None:
        """Until the watching thread has looked, and drawn its conclusion."""
        with self._looked:
            enough = self._looks + 3
            assert self._looked.wait_for(lambda: self._looks >= enough, timeout=20)

    def note_look(self) -> None:
        with self._looked:
            self._looks += 1
            self._looked.notify_all()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()
    monkeypatch.setattr(keeper, "_LOOK_S", 0.001)
    monkeypatch.setattr(news, "machines_that_leave", lambda: set(cluster.leaving))
    monkeypatch.setattr(news, "heard", cluster.heard)
    monkeypatch.setattr(news, "tell", cluster.tell)
    return cluster


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    return Checkpoints(folder(tmp_path))


def keeping(checkpoints: Checkpoints, *, every_s: float) -> Keeper:
    return Keeper(None, checkpoints, Teller("甲"), every_s=every_s)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.ones(1)})


@pytest.mark.parametrize("cause", ["a machine leaves", "the driver asks"])
def test_a_reason_to_stop_makes_one_checkpoint_due_at_once(cause, cluster, checkpoints):
    kept = keeping(checkpoints, every_s=LONG_S)
    with kept.looking_around("甲"):
        cluster.look()
        assert not kept.due()
        cluster.leaving, cluster.asked = ({GONE}, False) if "machine" in cause else (set(), True)
        cluster.look()
        assert kept.due()
        kept.save(checkpoint(7))
        cluster.look()
        assert not kept.due()
    assert cluster.told["kept"] == 7 and checkpoints.steps() == [7]


def test_each_machine_that_leaves_is_a_reason_of_its_own(cluster, checkpoints):
    kept = keeping(checkpoints, every_s=LONG_S)
    cluster.leaving = {GONE}
    with kept.looking_around("甲"):
        cluster.look()
        kept.save(checkpoint(1))
        cluster.leaving = {GONE, "77aa"}
        cluster.look()
        assert kept.due()


def test_a_look_that_fails_is_not_the_last_one(cluster, checkpoints, monkeypatch):
    from ray.exceptions import RaySystemError

    def away() -> set[str]:
        cluster.note_look()
        raise RaySystemError("GCS is away")

    kept = keeping(checkpoints, every_s=LONG_S)
    with kept.looking_around("甲"):
        with monkeypatch.context() as patch:
            patch.setattr(news, "machines_that_leave", away)
            cluster.look()
        cluster.leaving = {GONE}
        cluster.look()
        assert kept.due()


def test_checkpoints_take_a_twentieth_of_the_time_at_most(cluster, checkpoints, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(keeper.time, "monotonic", lambda: now[0])
    kept = keeping(checkpoints, every_s=0)
    assert kept.due()
    monkeypatch.setattr(checkpoints, "save", lambda checkpoint: now.__setitem__(0, now[0] + 2))
    kept.save(checkpoint(1))
    now[0] += 39
    assert not kept.due()
    now[0] += 1
    assert kept.due()


def test_quick_checkpoints_come_as_often_as_the_recipe_says(cluster, checkpoints, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(keeper.time, "monotonic", lambda: now[0])
    kept = keeping(checkpoints, every_s=30)
    now[0] += 29
    assert not kept.due()
    now[0] += 1
    assert kept.due()
