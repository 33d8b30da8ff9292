"""Whether what was begun with one recipe may be gone on with by another."""

from collections.abc import Collection

from bigmodel.config import Recipe
from bigmodel.errors import RecipeError
from bigmodel.recipe import settings_of


def check_settings(
    started: Recipe,
    now: Recipe,
    *,
    sections: tuple[str, ...],
    may_change: Collection[str],
    run_id: str,
    what: str,
    anew: str,
) -> None:
    """RecipeError at the first setting of `sections` that isn't what it was, but for those that
    `may_change`; the model's name and the seed stay too. `what` was begun, to be done `anew`."""
    before, after = (_made_of(each, sections, may_change) for each in (started, now))
    for key in dict.fromkeys([*after, *before]):
        if before.get(key) != after.get(key):
            raise RecipeError(
                f"--resume {run_id}: that {what} was started with {key} = "
                f"{before.get(key, 'not set')}, and now it is {after.get(key, 'not set')}; set it "
                f"back, or {anew} without --resume"
            )


def _made_of(
    recipe: Recipe, sections: tuple[str, ...], may_change: Collection[str]
) -> dict[str, str]:
    """The settings that have to stay, in the recipe's order."""
    return {
        key: value
        for key, value in settings_of(recipe).items()
        if key in ("name", "seed") or (key.startswith(sections) and key not in may_change)
    }
