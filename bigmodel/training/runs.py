"""A run's own folder under the storage: what it was started with, its checkpoints, its weights."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData
from bigmodel.errors import RecipeError
from bigmodel.recipe import settings_of
from bigmodel.storage import Folder, folder
from bigmodel.training.checkpoints import Checkpoint, Checkpoints

_MAY_CHANGE = (
    "train.num_workers", "train.use_gpu", "train.max_failures", "train.checkpoint_s",
    "train.early_stop", "train.learning_rate", "train.clip_norm",
)  # fmt: skip
"""Keys with which a stopped run may go on otherwise; all others of these sections make another."""
_SECTIONS = ("seed", "text.", "model.", "train.")
_ABOUT = "run.json"


@dataclass(frozen=True)
class StoredRun:
    """The folder `runs/<run_id>`, from the start of training until its version is published."""

    recipe: Recipe
    run_id: str

    @property
    def place(self) -> Folder:
        return folder(self.recipe.storage).child(f"runs/{self.run_id}")

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
            "name": self.recipe.name,
            "started": _now(),
            "made_of": _made_of(self.recipe, rows),
        }
        self.place.write(_ABOUT, json.dumps(about, ensure_ascii=False, indent=1).encode())

    def check_goes_on(self, rows: PreparedData) -> None:
        """RecipeError where the recipe or its rows are others than the run was started with."""
        before, now = self.about()["made_of"], _made_of(self.recipe, rows)
        for key in sorted(set(before) | set(now)):
            if before.get(key) != now.get(key):
                raise RecipeError(
                    f"run {self.run_id} was started with {key} = {before.get(key)}, now it is "
                    f"{now.get(key)}; set it back, or train anew without --resume"
                )

    def keep_weights(self, checkpoint: Checkpoint) -> None:
        """The end of training: the weights to seal."""
        self._ended.save(checkpoint)

    def weights(self) -> Checkpoint | None:
        """What training ended with; None before that."""
        return self._ended.newest()[0]

    def remove(self) -> None:
        self.place.remove()

    @property
    def _ended(self) -> Checkpoints:
        return Checkpoints(self.place.child("ended"))

    def about(self) -> dict[str, Any]:
        """What `begin` noted; RecipeError where there is no such run."""
        try:
            found: dict[str, Any] = json.loads(self.place.read(_ABOUT))
            return found
        except FileNotFoundError:
            raise RecipeError(
                f"--resume {self.run_id}: {self.place.parent.uri} has no such run "
                f"(found: {', '.join(unfinished(self.recipe)) or 'none'}); a run that has ended "
                "well is a version, see: bigmodel models list"
            ) from None

    def as_started(self) -> Recipe:
        """The recipe that the run was started with."""
        return Recipe.model_validate(self.about()["recipe"])


def unfinished(recipe: Recipe) -> list[str]:
    """Runs of the recipe's model that have something to go on from, oldest first."""
    place = folder(recipe.storage).child("runs")
    found = []
    for name in place.names():
        run_id, _, file = name.partition("/")
        if file == _ABOUT:
            run = StoredRun(recipe, run_id)
            about = run.about()
            if about["recipe"]["name"] == recipe.name and run.checkpoints.steps():
                found.append((about["started"], run_id))
    return [run_id for _, run_id in sorted(found)]


def _made_of(recipe: Recipe, rows: PreparedData) -> dict[str, str]:
    settings = {
        key: value
        for key, value in settings_of(recipe).items()
        if key.startswith(_SECTIONS) and key not in _MAY_CHANGE
    }
    ids = {name: rows.lineage[name] for name in ("data_id", "split_id")}
    return settings | ids | {"encoded rows": rows.encodings.place.name}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
