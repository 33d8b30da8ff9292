"""What the workers' news come to for who watches a training."""

import re
from collections.abc import Callable
from typing import Any

from bigmodel import progress

GO_ON = "the same command with --resume {} goes on"
"""What a stage says of a run, once there is something to go on with."""

RUN = re.compile(re.escape(GO_ON).replace(r"\{\}", r"([\w-]+)"))
"""Finds the run in it."""


class Told:
    """Hears the news of one run, and tells them to a stage; `on_epoch` of those epochs that it
    hears of: of quick ones not all. `way_on`: how to go on with it, "" where nothing does."""

    def __init__(
        self,
        stage: progress.Stage,
        epochs: int,
        num_rows: int,
        way_on: str,
        on_epoch: Callable[[dict[str, float]], None],
    ) -> None:
        self._stage, self._epochs, self._num_rows, self._way_on = stage, epochs, num_rows, way_on
        self._on_epoch, self._epoch = on_epoch, 0
        self._wrong: set[str] = set()
        self._kept = False

    def hear(self, value: dict[str, Any]) -> None:
        for sentence in value.get("wrong", ()):
            if sentence not in self._wrong:
                self._wrong.add(sentence)
                self._stage.say(sentence)
        if value.get("kept") and self._way_on and not self._kept:
            self._kept = True
            self._stage.say(f"a checkpoint is kept; if stopped, {self._way_on}")
        epoch = value.get("epoch")
        ended = int(epoch["epoch"]) if epoch else 0
        if epoch and ended > self._epoch:
            self._epoch = ended
            self._on_epoch(epoch)
        note = value.get("note") or f"epoch {min(ended + 1, self._epochs)} of {self._epochs}"
        if epoch:
            note += f", loss {epoch['loss']:.3f}, valid macro-F1 {epoch['macro_f1']:.3f}"
        done = min(ended + value.get("share", 0.0), self._epochs)
        self._stage.update(done=int(done * self._num_rows), note=note)
