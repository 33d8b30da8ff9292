"""A run's own folder under the storage: what it was started with, its checkpoints, its weights."""

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData
from bigmodel.errors import ModelError, RecipeError
from bigmodel.storage import Folder, folder
from bigmodel.training.checkpoints import Checkpoint, Checkpoints
from bigmodel.training.resuming import check_settings
from bigmodel.training.told import GO_ON

log = logging.getLogger(__name__)

OF_MACHINES = ("num_workers", "use_gpu", "max_failures", "checkpoint_s")
_MAY_CHANGE = {
    f"train.{name}" for name in (*OF_MACHINES, "early_stop", "learning_rate", "clip_norm")
}
"""Keys with which a stopped run may go on otherwise; all others of these sections make another."""
_SECTIONS = ("text.", "model.", "train.")
_ABOUT = "run.json"


@dataclass(frozen=True)
class StoredRun:
    """The folder `runs/<run_id>`, from the start of training until its version is published."""

    recipe: Recipe
    run_id: str
    resumed_as: str | None = None
    """What the command's `--resume` takes: the run unless told; "" where it takes nothing."""

    @property
    def way_on(self) -> str:
        """How a user who stops it goes on, as a clause; "" where nothing does."""
        run_id = self.run_id if self.resumed_as is None else self.resumed_as
        return GO_ON.format(run_id) if run_id else ""

    @property
    def place(self) -> Folder:
        return _runs(self.recipe).child(self.run_id)

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.place.child("checkpoints"))

    @property
    def scratch(self) -> Folder:
        """What Ray Train writes for itself; nothing is ever read from it."""
        return self.place.child("ray")

    def begin(self, rows: PreparedData) -> None:
        """Note what the run is made of."""
        about = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "recipe": self.recipe.model_dump(mode="json", by_alias=True),
            "rows": _ids_of(rows),
        }
        self.place.write(_ABOUT, json.dumps(about, ensure_ascii=False, indent=1).encode())

    def check_recipe(self) -> None:
        """RecipeError where there is no such run, or it was started with another recipe."""
        check_settings(
            self.as_started(),
            self.recipe,
            sections=_SECTIONS,
            may_change=_MAY_CHANGE,
            run_id=self.run_id,
            what="run",
            anew="train anew",
        )

    def check_rows(self, rows: PreparedData) -> None:
        """RecipeError where its rows were others, or other ids stood for them."""
        before, now = self.about()["rows"], _ids_of(rows)
        for key, said in _ROWS.items():
            if before[key] != now[key]:
                raise RecipeError(
                    f"--resume {self.run_id}: that run was started with {said} ({key} was "
                    f"{before[key]}, and now it is {now[key]}); bring them back, or train anew "
                    "without --resume"
                )

    def keep_weights(self, checkpoint: Checkpoint) -> None:
        """The end of training: the weights to seal."""
        self._ended.save(checkpoint)

    def weights(self) -> Checkpoint | None:
        """What training ended with; None before that, and where it is damaged but checkpoints are
        there to go on from."""
        try:
            found, wrong = self._ended.newest()
        except ModelError as error:
            if not self.checkpoints.steps():
                raise
            found, wrong = None, [str(error)]
        for sentence in wrong:
            log.warning("%s", sentence)
        return found

    def can_go_on(self) -> bool:
        """Is there anything to go on from?"""
        return bool(self.checkpoints.steps() or self._ended.steps())

    def remove(self) -> None:
        self.place.remove()

    def remove_if_empty(self) -> None:
        """Of a run that has kept nothing nothing stays."""
        if self.place.names() == [_ABOUT]:
            self.remove()

    @property
    def _ended(self) -> Checkpoints:
        return Checkpoints(self.place.child("ended"))

    def about(self) -> dict[str, Any]:
        """What `begin` noted; RecipeError where there is no such run."""
        try:
            if not re.fullmatch(r"[\w-]+", self.run_id):  # nothing outside of the folder of runs
                raise FileNotFoundError
            found: dict[str, Any] = json.loads(self.place.read(_ABOUT))
            if not {"started", "recipe", "rows"} <= set(found):
                raise ValueError
            return found
        except FileNotFoundError:
            raise RecipeError(
                f"--resume {self.run_id}: {_runs(self.recipe).uri} has no such run "
                f"(found: {', '.join(unfinished(self.recipe)) or 'none'}); a run that has ended "
                "well is a version, see: bigmodel models list"
            ) from None
        except (ValueError, TypeError):
            raise ModelError(
                f"{self.place.uri}: {_ABOUT} is damaged; train anew without --resume"
            ) from None

    def as_searched(self) -> Recipe:
        """The recipe as it is given, with the model, texts and training that a search had found
        when the run was started; how many train it, and how often they may fail, is as given."""
        before = self.as_started()
        kept = {name: getattr(self.recipe.train, name) for name in OF_MACHINES}
        train = before.train.model_copy(update=kept)
        update = {"model": before.model, "text": before.text, "train": train, "tune": None}
        return self.recipe.model_copy(update=update)

    def as_started(self) -> Recipe:
        """The recipe that the run was started with."""
        try:
            return Recipe.model_validate(self.about()["recipe"])
        except ValueError:
            raise RecipeError(
                f"--resume {self.run_id}: another release started that run, and this one doesn't "
                "know its recipe; go on with that release, or train anew without --resume"
            ) from None


def unfinished(recipe: Recipe) -> list[str]:
    """Runs of the recipe's model that have something to go on from, oldest first."""
    return [run.run_id for run in runs_of(recipe) if run.can_go_on()]


def runs_of(recipe: Recipe) -> list[StoredRun]:
    """All runs of the recipe's model, oldest first."""
    found = []
    for name in _runs(recipe).names():
        run_id, _, file = name.partition("/")
        if file == _ABOUT:
            run = StoredRun(recipe, run_id)
            try:
                about = run.about()
            except ModelError:
                continue
            if about["recipe"]["name"] == recipe.name:
                found.append((about["started"], run_id))
    return [StoredRun(recipe, run_id) for _, run_id in sorted(found)]


def _runs(recipe: Recipe) -> Folder:
    return folder(recipe.storage).child("runs")


_ROWS = {
    "data_id": "other rows",
    "split_id": "the rows in other splits",
    "encoded rows": "rows encoded otherwise",
}


def _ids_of(rows: PreparedData) -> dict[str, str]:
    return {
        "data_id": rows.lineage["data_id"],
        "split_id": rows.lineage["split_id"],
        "encoded rows": rows.encodings.place.name,
    }
