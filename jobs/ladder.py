"""`bigmodel ladder`: all kinds of model on the same split, and the smallest that is good enough."""

import time
from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import in_submitted_job, ray_session
from jobs.start import job
from jobs.train import check

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.config import Recipe
    from bigmodel.evaluation.ladder import Rung


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    grid = Table("kind", "accuracy", "95 % interval", "macro-F1", "p99, ms", "train, s", "MB")
    for rung in result["rungs"]:
        low, high = rung["interval"]["accuracy"]
        grid.add_row(
            rung["kind"],
            f"{rung['accuracy']:.4f}",
            f"{low:.3f} to {high:.3f}",
            f"{rung['macro_f1']:.4f}",
            f"{rung['p99_ms']:.2f}",
            f"{rung['train_s']:.1f}",
            f"{rung['bytes'] / 1e6:.1f}",
        )
    return Group(grid, result["sentence"], f"report {result['report']}")


@job(show=show)
def main(recipe: "Recipe") -> dict[str, Any]:
    """Train every kind of model, and say which is small and good enough."""
    start = time.monotonic()
    check(recipe)
    with ray_session():
        found = ladder(recipe)
    return {**found, "seconds": time.monotonic() - start}


def ladder(recipe: "Recipe") -> dict[str, Any]:
    """The kinds compared on the valid rows, the chosen one's test scores, and the page.

    No version is published, and no artefact stays.
    """
    import json

    from bigmodel import tracking
    from bigmodel.data.prepare import prepare
    from bigmodel.evaluation.labelled import Labelled
    from bigmodel.evaluation.ladder import answers_of, climb
    from bigmodel.evaluation.scores import interval_of
    from bigmodel.pages.ladder_page import ladder_page, sentence
    from bigmodel.storage import folder

    with tracking.run(recipe, recipe.storage, verb="ladder") as run:
        prepared = prepare(recipe)
        run.tag(data_id=prepared.summary["data_id"])
        rungs = train_all(recipe, run_id=run.run_id)
        margin, seed = recipe.evaluate.gate.margin, recipe.seed
        valid, test = (Labelled.of(prepared.of_splits(split)) for split in ("valid", "test"))
        found = climb(rungs, valid, margin=margin, seed=seed)
        chosen = rungs[found["chosen"]].predictor
        found["test"] = interval_of(answers_of(chosen, test), seed=seed) if len(test) else None
        found |= {"data_id": prepared.summary["data_id"], "sentence": sentence(found).en}
        place = folder(recipe.storage).child(f"reports/ladder/{recipe.name}")
        found["report"] = place.child("ladder.html").uri
        place.write("ladder.html", ladder_page(recipe.name, found))
        place.write("ladder.json", json.dumps(found, ensure_ascii=False, indent=1).encode())
        for rung in found["rungs"]:
            names = ("accuracy", "macro_f1", "p99_ms", "train_s", "bytes")
            run.log({f"{rung['kind']}.{name}": rung[name] for name in names})
    return found


def train_all(recipe: "Recipe", *, run_id: str) -> "dict[str, Rung]":
    """Each kind on the same rows, one after the other; their artefacts are only weighed."""
    from bigmodel.data.prepare import prepare
    from bigmodel.evaluation.ladder import Rung, of_kind
    from bigmodel.models import MODELS
    from bigmodel.predictor import Predictor
    from bigmodel.storage import folder
    from bigmodel.training.trainer import fit

    rungs = {}
    for kind in MODELS:
        one = of_kind(recipe, kind)
        prepared = prepare(one)
        fitted = fit(
            prepared, one, run_id=f"{run_id}-{kind}", resumed_as="", grows=in_submitted_job()
        )
        place = folder(fitted.uri)
        rungs[kind] = Rung(Predictor(fitted.artifact), sum(place.sizes().values()), fitted.seconds)
        place.remove()
        fitted.run.remove()
    return rungs


if __name__ == "__main__":
    main()
