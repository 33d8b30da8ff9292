"""What surrounds a run in a Ray Train worker: its start, its checkpoints, and what it tells."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bigmodel.training import news
from bigmodel.training.checkpoints import Checkpoint, Checkpoints
from bigmodel.training.team import Team
from bigmodel.training.watch import Epoch, Watch

_LOOK_S = 0.5
_MOST_OF_THE_TIME = 0.05  # that writing checkpoints may take


class Teller:
    """The news of a run as they stand; each change is told, steps at most a few times a second."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._value: dict[str, Any] = {}
        self._told_at = 0.0

    def tell(self, **changes: Any) -> None:
        self._value |= changes
        self._told_at = time.monotonic()
        news.tell(self._topic, self._value)

    def tell_sometimes(self, **changes: Any) -> None:
        if time.monotonic() - self._told_at > _LOOK_S:
            self.tell(**changes)


class Follower(Watch):
    """Of every worker but the first: it starts where all do."""

    def __init__(self, start: Checkpoint | None) -> None:
        self.start = start


class Keeper(Watch):
    """Of the first worker: it keeps checkpoints, now and then and before the run has to stop."""

    def __init__(
        self, start: Checkpoint | None, checkpoints: Checkpoints, teller: Teller, *, every_s: float
    ) -> None:
        self.start = start
        self._checkpoints, self._teller, self._every_s = checkpoints, teller, every_s
        self._next = time.monotonic() + every_s
        self._wanted = threading.Event()

    def on_epoch(self, epoch: Epoch) -> None:
        self._teller.tell(epoch=epoch.as_dict(), share=0.0)

    def on_step(self, share: float) -> None:
        self._teller.tell_sometimes(share=share)

    def on_note(self, note: str) -> None:
        self._teller.tell(note=note)

    def due(self) -> bool:
        return self._wanted.is_set() or time.monotonic() >= self._next

    def save(self, checkpoint: Checkpoint) -> None:
        wanted = self._wanted.is_set()
        began = time.monotonic()
        self._checkpoints.save(checkpoint)
        took = time.monotonic() - began
        self._next = time.monotonic() + max(self._every_s, took / _MOST_OF_THE_TIME)
        self._teller.tell(kept=checkpoint.step)
        if wanted:
            self._wanted.clear()

    @contextmanager
    def looking_around(self, run_id: str) -> Iterator[None]:
        """In the block a checkpoint is due as soon as the driver asks for one, or a machine of the
        cluster is about to leave."""
        reasons: set[str] = set()

        def look() -> None:
            if new := news.reasons_to_stop(run_id) - reasons:
                reasons.update(new)
                self._wanted.set()

        with news.looking(look, every_s=_LOOK_S):
            yield


def agreed_start(checkpoints: Checkpoints, team: Team, teller: Teller | None) -> Checkpoint | None:
    """The newest whole checkpoint, which the first worker chooses for all."""
    found = None
    if teller:
        found, wrong = checkpoints.newest()
        history = found.about["history"] if found else []
        teller.tell(wrong=wrong, kept=found.step if found else None, epoch=(history or [None])[-1])
    step = int(team.total(torch.tensor([found.step if found else 0])))
    return found or (checkpoints.load(step) if step else None)
