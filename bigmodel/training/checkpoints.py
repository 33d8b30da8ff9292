"""Checkpoints of a run: sealed whole, verified before they are used, the last two kept."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from bigmodel.errors import ModelError
from bigmodel.manifest import seal, verified
from bigmodel.storage import Folder

_KEPT = 2
_ASIDE = "damaged-"
_REMEDY = "it isn't used"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs after `step` steps to go on as if it had never stopped.

    `about` is fit for JSON, `tensors` by name.
    """

    step: int
    tensors: dict[str, Tensor]
    about: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin so, without it."""
        return {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}


class Checkpoints:
    """Those of one run, a folder each, named by their step."""

    def __init__(self, place: Folder) -> None:
        self._place = place

    def save(self, checkpoint: Checkpoint) -> None:
        """Commit one; older ones go once it has been read back, but for the one before it."""
        files = {
            "state.safetensors": save({n: t.contiguous() for n, t in checkpoint.tensors.items()}),
            "state.json": json.dumps({"step": checkpoint.step, **checkpoint.about}).encode(),
        }
        place = self._folder(checkpoint.step)
        if not place.local:
            place.remove()  # of an attempt that ended within it
        with place.fresh() as target:
            seal(target, files)
        verified(place, what="checkpoint", remedy=_REMEDY)
        earlier = [step for step in self.steps() if step <= checkpoint.step]  # later ones are bad
        for step in earlier[:-_KEPT]:
            self._folder(step).remove()

    def steps(self) -> list[int]:
        """The steps of all that are there, whole or not, rising."""
        return sorted(int(name) for name in self._folders() if name.isdigit())

    def _folders(self) -> set[str]:
        """On a disk also those without a file, as who is killed while he removes one leaves it."""
        if place := self._place.local:
            return set(os.listdir(place)) if place.exists() else set()
        return {name.partition("/")[0] for name in self._place.names()}

    def load(self, step: int) -> Checkpoint:
        """ModelError where a byte of it isn't what was written."""
        place = self._folder(step)
        files, _ = verified(place, what="checkpoint", remedy=_REMEDY)
        about = json.loads(files["state.json"])
        if (found := about.pop("step")) != step:
            raise ModelError(f"{place.uri}: state.json is of step {found}; {_REMEDY}")
        return Checkpoint(step, load(files["state.safetensors"]), about)

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """(the newest whole one, what is wrong with those after it, which are set aside).

        None where none was ever written; ModelError where some are there and none is whole.
        """
        wrong: dict[int, str] = {}
        while left := [step for step in self.steps() if step not in wrong]:
            try:
                return self.load(left[-1]), list(wrong.values())
            except ModelError as error:
                wrong[left[-1]] = str(error)
                self._set_aside(left[-1])
        if wrong or self._damaged():
            raise ModelError(
                f"{self._place.uri}: no checkpoint of this run is whole "
                f"({next(iter(wrong.values()), 'all were set aside before')}); train anew without "
                "--resume"
            )
        return None, []

    def _damaged(self) -> bool:
        return any(name.startswith(_ASIDE) for name in self._place.names())

    def _set_aside(self, step: int) -> None:
        """Under another name, to be looked at; in an object store, which can't rename, it stays."""
        place = self._folder(step)
        if place.local:
            aside = self._place.child(f"{_ASIDE}{place.name}")
            aside.remove()
            with suppress(FileNotFoundError):  # somebody else set it aside, or it was of no use
                place.local.rename(aside.uri)

    def _folder(self, step: int) -> Folder:
        return self._place.child(f"{step:010d}")
