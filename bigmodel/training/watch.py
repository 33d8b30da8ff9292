"""The course of a run: its epochs, who hears of them, and where it starts."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from bigmodel.metrics import summary
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.loop import validate
from bigmodel.training.rows import Rows
from bigmodel.training.team import Team


@dataclass(frozen=True)
class Epoch:
    """What one epoch (for `linear` one outer step) came to; scores are on the valid split."""

    epoch: int
    loss: float
    accuracy: float
    macro_f1: float
    rows_per_s: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class Weights:
    """The weights of the best epoch (`linear`: of the last step) and the course of the run."""

    state: dict[str, Tensor]
    history: tuple[Epoch, ...]


class Watch:
    """What surrounds a run: where it starts, who hears of it, and who keeps its checkpoints.

    This one starts at the beginning, tells nobody and keeps nothing.
    """

    start: Checkpoint | None = None

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""

    def on_step(self, share: float) -> None:
        """Some step of the epoch has ended, at this share of it."""

    def on_note(self, note: str) -> None:
        """What is done before the first epoch; "" when that is done."""

    def due(self) -> bool:
        """Is it time for a checkpoint?"""
        return False

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep it."""


def with_history(history: Sequence[Epoch]) -> dict[str, Any]:
    return {"history": [epoch.as_dict() for epoch in history]}


def history_of(start: Checkpoint | None) -> list[Epoch]:
    return [Epoch(**epoch) for epoch in start.about["history"]] if start else []


class Clock:
    """Rows per second of each epoch, without the time spent on anything between two laps."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._start = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        rows_per_s = self._num_rows / (now - self._start)
        self._start = now
        return rows_per_s


def epoch_of(
    number: int,
    loss: float,
    model: nn.Module,
    valid: Rows,
    team: Team,
    clock: Clock,
    *,
    num_labels: int,
) -> Epoch:
    rows_per_s = clock.lap()
    found = summary(validate(model, valid, num_labels=num_labels, team=team))
    return Epoch(number, loss, found["accuracy"], found["macro_f1"], rows_per_s)
