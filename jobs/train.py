"""`bigmodel train`: prepare, fit, publish a new version; no alias moves."""

import logging
import time
from typing import TYPE_CHECKING, Any

import click

from bigmodel.cluster.session import in_submitted_job, ray_session
from bigmodel.errors import RecipeError
from jobs.prepare import check_files
from jobs.start import job
from jobs.terminal import table
from jobs.versions import beside

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe
    from bigmodel.data.prepared import PreparedRows
    from bigmodel.registry import Version
    from bigmodel.training.checkpoints import Checkpoint

log = logging.getLogger(__name__)


def show(result: dict[str, Any]) -> "Table":
    return table(rows_of(result), title="Trained")


def rows_of(result: dict[str, Any]) -> dict[str, object]:
    """What people see of a new version."""
    metrics = result["metrics"]
    return {
        "model": result["model"],
        f"{metrics['split']} rows": f"{metrics['rows']:,}",
        "accuracy": metrics["accuracy"],
        "macro-F1": metrics["macro_f1"],
        "artefact": result["artifact"],
        "seconds": f"{result['seconds']:.1f}",
    }


RESUME = click.option(
    "--resume", metavar="RUN", help="Go on with a run that was stopped, from its last checkpoint."
)


@job(show=show)
@RESUME
def main(recipe: "Recipe", *, resume: str | None) -> dict[str, Any]:
    """Prepare, fit, publish a version."""
    start = time.monotonic()
    check(recipe, resume=resume)
    with ray_session():
        version = train(recipe, resume=resume)
    return {
        "model": str(version),
        "artifact": version.uri,
        "metrics": version.metrics,
        "run_id": version.run_id,
        "seconds": time.monotonic() - start,
    }


def check(recipe: "Recipe", *, resume: str | None = None) -> None:
    """What is wrong with the files, has no place to go, or can't go on: told before Ray starts."""
    from bigmodel import tracking
    from bigmodel.training.runs import StoredRun

    tracking.check_place(recipe)
    if resume is not None:
        StoredRun(recipe, resume).check_recipe()
        tracking.check_stopped(recipe.storage, resume)
    check_files(recipe)


def train(
    recipe: "Recipe",
    *,
    verb: str = "train",
    resume: str | None = None,
    search: str = "",
    weights: "Checkpoint | None" = None,
) -> "Version":
    """A new version of the recipe's model, its run tracked; the metrics are the valid split's.

    `resume`: the run of one that was stopped on the way, which now goes on. `search`: the run that
    found the recipe. `weights`: what it trained already, to be sealed as they are.
    """
    from bigmodel import tracking
    from bigmodel.data.prepare import prepare
    from bigmodel.registry import Registry
    from bigmodel.training.crossval import check_folds, cross_validate
    from bigmodel.training.trainer import check_resources, fit

    check_resources(recipe, grows=in_submitted_job())
    if resume is None:
        _name_unfinished(recipe)
    with tracking.run(recipe, recipe.storage, verb=verb, resume=resume) as run:
        prepared = prepare(recipe)
        found_by = {"search": search} if search else {}
        run.tag(data_id=prepared.summary["data_id"], **found_by)
        check_folds(prepared, recipe)
        _check_gate(prepared, recipe)
        fitted = fit(
            prepared,
            recipe,
            run_id=run.run_id,
            resumed_as=search if verb == "tune" else None,  # `run` goes on with either
            grows=in_submitted_job(),
            resume=resume is not None,
            weights=weights,
        )
        for epoch in fitted.epochs:
            run.log(epoch, step=int(epoch["epoch"]))
        registry = Registry(recipe.storage, recipe.tracking.uri)
        made = {"digest": fitted.artifact.digest, "run_id": run.run_id}
        version = registry.published(recipe.name, **made) if resume else None
        if version is None:
            metrics = fitted.artifact.metrics
            version = registry.publish(recipe.name, fitted.uri, metrics=metrics, **made)
        fitted.run.remove()
        own = beside(version, recipe.storage)
        own.keep_known(prepared)
        about = {"curves": _curves(fitted.epochs), "run": _facts(recipe, run.run_id) | found_by}
        own.keep_run(about)
        if recipe.evaluate.folds:
            answered = cross_validate(prepared, recipe)
            own.keep_folds(answered.table())
            own.keep_run(about | {"folds": answered.figures()})
        return version


def _name_unfinished(recipe: "Recipe") -> None:
    """No run is gone on with by accident, and none is forgotten; what a killed one left that had
    nothing yet is removed, where a lock can tell that it isn't going on."""
    from bigmodel.storage import folder
    from bigmodel.tracking import is_living
    from bigmodel.training.runs import runs_of

    stopped = []
    for run in runs_of(recipe):
        if is_living(recipe.storage, run.run_id):
            continue
        if run.can_go_on():
            stopped.append(run.run_id)
        elif folder(recipe.storage).local:
            run.remove()
    if stopped:
        log.warning(
            "this is a new run; %s of %s was stopped before its end, and --resume %s goes on with "
            "it",
            stopped[-1],
            recipe.name,
            stopped[-1],
        )


def _check_gate(prepared: "PreparedRows", recipe: "Recipe") -> None:
    """RecipeError for a slice of the gate that could never open it: told before training."""
    from bigmodel.evaluation.gate import small_slices
    from bigmodel.evaluation.labelled import Labelled
    from bigmodel.evaluation.slices import FEWEST

    if recipe.evaluate.gate.slices:
        test = Labelled.of(prepared.of_splits("test"))
        for name, rows in small_slices(test, recipe.evaluate).items():
            raise RecipeError(
                f"evaluate.gate.slices: {name} has {rows} test rows, and fewer than {FEWEST} tell "
                "nothing; correct it, or take it out"
            )


def _curves(epochs: list[dict[str, float]]) -> list[dict[str, float]]:
    names = {"loss": "train_loss", "accuracy": "valid_accuracy", "macro_f1": "valid_macro_f1"}
    return [
        {"epoch": epoch["epoch"]} | {name: epoch[key] for key, name in names.items()}
        for epoch in epochs
    ]


def _facts(recipe: "Recipe", run_id: str) -> dict[str, Any]:
    """Of a run, for its report."""
    from datetime import UTC, datetime

    from bigmodel.tracking import facts

    known = facts(recipe)
    found: dict[str, Any] = {name: known[name] for name in ("bigmodel", "ray", "torch", "seed")}
    if commit := known.get("mlflow.source.git.commit"):
        found |= {"git_commit": commit, "dirty": known["git.dirty"] == "true"}
    return found | {"created": datetime.now(UTC).isoformat(timespec="seconds"), "run_id": run_id}


if __name__ == "__main__":
    main()
