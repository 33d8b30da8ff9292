"""`bigmodel train`: prepare, fit, publish a new version; no alias moves."""

import time
from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import in_submitted_job, ray_session
from jobs.prepare import check_files
from jobs.start import job
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe
    from bigmodel.registry import Version


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


@job(show=show)
def main(recipe: "Recipe") -> dict[str, Any]:
    """Prepare, fit, publish a version."""
    start = time.monotonic()
    check(recipe)
    with ray_session():
        version = train(recipe)
    return {
        "model": str(version),
        "artifact": version.uri,
        "metrics": version.metrics,
        "run_id": version.run_id,
        "seconds": time.monotonic() - start,
    }


def check(recipe: "Recipe") -> None:
    """What is wrong with the files, or has no place to go, is told before Ray starts."""
    from bigmodel import tracking

    tracking.check_place(recipe)
    check_files(recipe)


def train(recipe: "Recipe", *, verb: str = "train") -> "Version":
    """A new version of the recipe's model, its run tracked; the metrics are the valid split's."""
    from bigmodel import tracking
    from bigmodel.data.prepare import prepare
    from bigmodel.registry import Registry
    from bigmodel.training.trainer import fit

    with tracking.run(recipe, recipe.storage, verb=verb) as run:
        prepared = prepare(recipe)
        run.tag(data_id=prepared.summary["data_id"])
        fitted = fit(prepared, recipe, run_id=run.run_id, grows=in_submitted_job())
        for epoch in fitted.epochs:
            run.log(epoch, step=int(epoch["epoch"]))
        return Registry(recipe.storage, recipe.tracking.uri).publish(
            recipe.name,
            fitted.uri,
            digest=fitted.artifact.digest,
            metrics=fitted.artifact.metrics,
            run_id=run.run_id,
        )


if __name__ == "__main__":
    main()
