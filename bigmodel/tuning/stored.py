"""A search's own folder under the storage: how it was started, its ledger, its best recipe."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bigmodel.config import Recipe
from bigmodel.data.prepare import prepared_key
from bigmodel.errors import ModelError, RecipeError
from bigmodel.recipe import to_toml
from bigmodel.storage import Folder, folder
from bigmodel.training.resuming import check_settings

_ABOUT = "search.json"
_MAY_CHANGE = ("tune.num_trials", "tune.time_budget_s", "tune.keep", "tune.refit", "tune.cpus")
_SECTIONS = ("data.", "text.", "model.", "train.", "tune.")


@dataclass(frozen=True)
class StoredSearch:
    """The folder `searches/<run_id>`; it stays, as what its best recipe came from."""

    recipe: Recipe
    run_id: str

    @property
    def place(self) -> Folder:
        return folder(self.recipe.storage).child(f"searches/{self.run_id}")

    def exists(self) -> bool:
        return bool(re.fullmatch(r"[\w-]+", self.run_id)) and self.place.exists(_ABOUT)

    def begin(self) -> None:
        """Note what is searched."""
        about = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "recipe": self.recipe.model_dump(mode="json", by_alias=True),
            "rows": prepared_key(self.recipe),
        }
        self.place.write(_ABOUT, json.dumps(about, ensure_ascii=False, indent=1).encode())

    def check(self) -> None:
        """RecipeError where there is no such search, or it was another one; it may go on with more
        trials and more time."""
        about = self._about()
        try:
            started = Recipe.model_validate(about["recipe"])
        except ValueError:
            raise RecipeError(
                f"--resume {self.run_id}: another release started that search, and this one "
                "doesn't know its recipe; search anew without --resume"
            ) from None
        check_settings(
            started,
            self.recipe,
            sections=_SECTIONS,
            may_change=_MAY_CHANGE,
            run_id=self.run_id,
            what="search",
            anew="search anew",
        )
        if about["rows"] != prepared_key(self.recipe):
            raise RecipeError(
                f"--resume {self.run_id}: that search was started with other rows; bring them "
                "back, or search anew without --resume"
            )

    def keep_best(self, best: Recipe) -> str:
        """Write the best recipe, for `train`; its path or URI."""
        self.place.write("best.toml", to_toml(best).encode())
        return f"{self.place.uri}/best.toml"

    def keep_page(self, page: bytes) -> str:
        """Write the page of the search; its path or URI."""
        self.place.write("search.html", page)
        return f"{self.place.uri}/search.html"

    def _about(self) -> dict[str, Any]:
        if not self.exists():
            raise RecipeError(
                f"--resume {self.run_id}: {self.place.parent.uri} has no such search; take the id "
                "that the search said at its start"
            )
        try:
            about: dict[str, Any] = json.loads(self.place.read(_ABOUT))
            if not {"recipe", "rows"} <= set(about):
                raise ValueError
            return about
        except (ValueError, TypeError):
            raise ModelError(
                f"{self.place.uri}/{_ABOUT}: is damaged; search anew without --resume"
            ) from None
