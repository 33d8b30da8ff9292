"""`bigmodel tune`: search for the best recipe, train it, and let it pass the gate."""

import time
from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import in_submitted_job, ray_session
from jobs.start import job
from jobs.terminal import table
from jobs.train import RESUME, check

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe
    from bigmodel.registry import Version
    from bigmodel.tuning.search import Search


def show(result: dict[str, Any]) -> "Table":
    return table(rows_of(result), title="Searched")


def rows_of(result: dict[str, Any]) -> dict[str, object]:
    """What people see of a search."""
    best = {key: str(value) for key, value in result["best"].items()}
    metrics = result["metrics"]
    return {
        "trials": f"{result['trials']}, {result['stopped_early']} stopped early, "
        f"{result['failed']} failed",
        "best valid score": result["score"],
        **(best or {"best settings": "the recipe as it was"}),
        "recipe": result["recipe"],
        "page": result["page"],
        "model": result["model"],
        f"accuracy on {metrics['rows']:,} test rows": metrics["accuracy"],
        "macro-F1": metrics["macro_f1"],
        "champion": result["gate"]["why"] if result["gate"] else "not asked",
        "seconds": f"{result['seconds']:.1f}",
    }


@job(show=show)
@RESUME
def main(recipe: "Recipe", *, resume: str | None) -> dict[str, Any]:
    """Search for the best recipe, train it, publish a version."""
    from bigmodel.registry import Registry
    from jobs.evaluate import evaluate, headline
    from jobs.gate import promote

    start = time.monotonic()
    check(recipe)
    check_search(recipe, resume=resume)
    with ray_session():
        found, result = tune(recipe, resume=resume)
        version = winner(found, result["run_id"])
        report = evaluate(version, storage=recipe.storage)
        registry = Registry(recipe.storage, recipe.tracking.uri)
        gate = promote(version, registry, storage=recipe.storage)[1] if version.version else None
    return result | {
        "model": str(version),
        "artifact": version.uri,
        "metrics": headline(report),
        "gate": gate,
        "report": report["report"],
        "seconds": time.monotonic() - start,
    }


def check_search(recipe: "Recipe", *, resume: str | None) -> None:
    """What there is nothing to search in, or can't go on: told before Ray starts."""
    from bigmodel import tracking
    from bigmodel.config import TuneConfig
    from bigmodel.tuning import searchers
    from bigmodel.tuning.space import Space
    from bigmodel.tuning.stored import StoredSearch

    if resume is not None:
        StoredSearch(recipe, resume).check()
        tracking.check_stopped(recipe.storage, resume)
    config = recipe.tune or TuneConfig()
    searchers.check(Space.of(recipe, config), config)


def tune(recipe: "Recipe", *, resume: str | None = None) -> "tuple[Search, dict[str, Any]]":
    """The search, its run and those of its trials tracked, and what scripts hear of it.

    `resume`: the run of one that was stopped.
    """
    from bigmodel import progress, tracking
    from bigmodel.pages.search_page import search_page
    from bigmodel.tuning.figures import figures_of
    from bigmodel.tuning.search import search
    from bigmodel.tuning.stored import StoredSearch
    from bigmodel.tuning.tracked import tell_trials

    with tracking.run(recipe, recipe.storage, verb="tune", resume=resume) as run:
        stored = StoredSearch(recipe, run.run_id)
        if resume is None:
            stored.begin()
        try:
            found = search(recipe, stored.place, coming=_workers_to_come(recipe))
        except Exception:
            tell_trials(recipe, stored.place)
            raise
        tell_trials(recipe, stored.place)
        for trial in found.trials:
            if trial.score is not None:
                run.log({"score": trial.score, "epochs": trial.last_epoch}, step=trial.number)
        with progress.stage("search page") as stage:
            figures = figures_of(found.space, found.trials)
            page, best = stored.keep_page(search_page(figures)), stored.keep_best(found.recipe)
            stage.say(f"{page}, and the best recipe in {best}")  # also where the gate refuses it
    return found, {
        "best": found.best.values,
        "score": found.best.score,
        "trials": len(found.trials),
        "stopped_early": found.stopped_early,
        "failed": sum(trial.end == "failed" for trial in found.trials),
        "epochs": figures["epochs"],
        "epochs_saved": figures["saved"],
        "recipe": best,
        "page": page,
        "run_id": run.run_id,
    }


def _workers_to_come(recipe: "Recipe") -> float:
    """How many workers of a trial the cluster may come to; 0 where nothing adds machines."""
    from bigmodel.cluster.room import cluster_room
    from bigmodel.config import TuneConfig

    if not in_submitted_job():
        return 0
    config = recipe.tune or TuneConfig()
    room = cluster_room()
    return room.holds({"CPU": config.cpus, "GPU": config.gpus}) if room.grows else 0


def winner(found: "Search", run_id: str, *, verb: str = "tune") -> "Version":
    """A version of the best recipe: trained anew, or with the weights that its trial left."""
    from jobs.train import train

    return train(found.recipe, verb=verb, search=run_id, weights=found.weights)


if __name__ == "__main__":
    main()
