"""`bigmodel tune`: search for the best recipe, and write it as a file that `train` takes."""

import time
from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import ray_session
from jobs.start import job
from jobs.terminal import table
from jobs.train import check

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe
    from bigmodel.tuning import Search


def show(result: dict[str, Any]) -> "Table":
    best = {key: str(value) for key, value in result["best"].items()}
    return table(
        {
            "trials": f"{result['trials']}, {result['stopped_early']} stopped early, "
            f"{result['failed']} failed",
            "best valid score": result["score"],
            **(best or {"best settings": "the recipe as it was"}),
            "recipe": result["recipe"],
            "seconds": f"{result['seconds']:.1f}",
        },
        title="Searched",
    )


@job(show=show)
def main(recipe: "Recipe") -> dict[str, Any]:
    """Search for the best recipe."""
    start = time.monotonic()
    check(recipe)
    with ray_session():
        found, path = tune(recipe)
    return {
        "best": found.best.values,
        "score": found.best.score,
        "trials": len(found.trials),
        "stopped_early": sum(trial.stopped_early for trial in found.trials),
        "failed": sum(trial.score is None for trial in found.trials),
        "seconds": time.monotonic() - start,
        "recipe": path,
    }


def tune(recipe: "Recipe") -> "tuple[Search, str]":
    """The search, its run tracked, and the path or URI of the best recipe."""
    from bigmodel import tracking
    from bigmodel.recipe import to_toml
    from bigmodel.storage import folder
    from bigmodel.tuning import search

    with tracking.run(recipe, recipe.storage, verb="tune") as run:
        found = search(recipe)
        for number, trial in enumerate(found.trials):
            if trial.score is not None:
                run.log({"score": trial.score, "epochs": trial.epochs}, step=number)
        place = folder(recipe.storage).child(f"searches/{run.run_id}")
        place.write("best.toml", to_toml(found.recipe).encode())
        return found, f"{place.uri}/best.toml"


if __name__ == "__main__":
    main()
