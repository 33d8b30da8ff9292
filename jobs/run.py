"""`bigmodel run`: from a file of labelled texts to an endpoint that answered."""

import logging
import time
from typing import TYPE_CHECKING, Any, Literal

import click

from bigmodel.cluster.session import in_submitted_job, ray_session
from jobs.deploy import rows_of as endpoint_rows
from jobs.evaluate import kept
from jobs.prepare import show as show_prepared
from jobs.start import job
from jobs.terminal import table
from jobs.train import RESUME, rows_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.config import Recipe

log = logging.getLogger(__name__)

Until = Literal["prepare", "train", "promote", "deploy"]


def show(result: dict[str, Any]) -> "RenderableType":
    if "model" not in result:
        return show_prepared(result)
    rows = rows_of(result)
    if gate := result.get("gate"):
        rows["champion"] = gate["why"]
    if promise := result.get("promise"):
        rows["promise"] = kept(promise)
    if search := result.get("search"):
        rows["search"] = f"{search['trials']} trials, {search['page']}"
    if report := result.get("report"):
        rows["report"] = report
    if answer := result.get("answer"):
        best = answer["labels"][0]
        rows["the endpoint's answer"] = f"{answer['text']} -> {best['label']} {best['score']:.3f}"
    if url := result["url"]:
        rows |= endpoint_rows(url)
    return table(rows, title="From file to endpoint")


@job(show=show)
@click.option(
    "--until", type=click.Choice(["prepare", "train", "promote", "deploy"]), help="Stop after."
)
@click.option(
    "--keep", is_flag=True, help="Leave the endpoint up, in the foreground, until Ctrl-C."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, help="Of a kept endpoint.")
@RESUME
@click.option("--text", default="我喜欢读书", help="What the endpoint is asked.", show_default=True)
def main(
    recipe: "Recipe",
    *,
    until: Until | None,
    keep: bool,
    port: int,
    resume: str | None,
    text: str,
) -> dict[str, Any]:
    """From a file of labelled texts to an endpoint that answered."""
    from jobs.deploy import check_port
    from jobs.prepare import prepare, result_of
    from jobs.train import check
    from jobs.tune import check_search
    from serve import ingress

    if until == "prepare":
        return result_of(prepare(recipe))
    start = time.monotonic()
    searching = resume if resume and recipe.tune and is_search(recipe, resume) else None
    if searching:
        resume = None
    elif resume is not None and recipe.tune:
        recipe = searched(recipe, resume)
    check(recipe, resume=resume)
    if recipe.tune and resume is None:
        check_search(recipe, resume=searching)
    if keep and not in_submitted_job():
        check_port("127.0.0.1", port)
    with ingress.embedded() as variables, ray_session(variables=variables):
        result = run(
            recipe,
            until=until,
            keep=keep,
            port=port,
            text=text,
            resume=resume,
            searching=searching,
        )
    return result | {"seconds": time.monotonic() - start}


def run(
    recipe: "Recipe",
    *,
    until: Until | None,
    keep: bool,
    port: int,
    text: str,
    resume: str | None = None,
    searching: str | None = None,
) -> dict[str, Any]:
    """All stages in a row, in the Ray session that is open. `resume`: a training that was stopped;
    what was searched for it isn't again. `searching`: a search that was stopped."""
    from bigmodel.registry import Registry
    from jobs.deploy import endpoint, mark_deployed
    from jobs.evaluate import evaluate, headline
    from jobs.gate import promote
    from jobs.train import train
    from jobs.tune import tune, winner

    found_by: dict[str, Any] = {}
    if recipe.tune and resume is None:
        found, found_by["search"] = tune(recipe, resume=searching)
        version = winner(found, found_by["search"]["run_id"], verb="run")
    else:
        version = train(recipe, verb="run", resume=resume)
    report = evaluate(version, storage=recipe.storage)
    result: dict[str, Any] = {
        "model": str(version),
        "artifact": version.uri,
        "metrics": headline(report),
        "run_id": version.run_id,
        "report": report["report"],
        "promise": report["promise"],
        "url": None,
        **found_by,
    }
    if not version.version:
        log.warning("%s has no number before MLflow's server is back: promote it then", version)
        return result
    registry = Registry(recipe.storage, recipe.tracking.uri)
    if until != "train":
        result["gate"] = promote(version, registry, storage=recipe.storage)[1]
    if until in (None, "deploy"):
        result |= endpoint(
            version, recipe.serve, text=text, port=port, keep=keep, storage=recipe.storage
        )
        if in_submitted_job():
            mark_deployed(version, registry)
    return result


def is_search(recipe: "Recipe", run_id: str) -> bool:
    """Whether that run is a search, which has to go on as it was begun."""
    from bigmodel.tuning.stored import StoredSearch

    return StoredSearch(recipe, run_id).exists()


def searched(recipe: "Recipe", run_id: str) -> "Recipe":
    """The recipe with what the search had found when the run began."""
    from bigmodel.training.runs import StoredRun

    return StoredRun(recipe, run_id).as_searched()


if __name__ == "__main__":
    main()
