"""`bigmodel evaluate`: an artefact's scores on its own test rows, or on a file."""

import hashlib
from typing import TYPE_CHECKING, Any

import click

from bigmodel.cluster.session import ray_session
from jobs.start import job

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.config import Recipe
    from bigmodel.registry import Version


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    table = Table("label", "precision", "recall", "F1", "rows", title=f"{result['model']}")
    for label, scores in result["per_class"].items():
        figures = (f"{scores[name]:.3f}" for name in ("precision", "recall", "f1"))
        table.add_row(label, *figures, f"{scores['rows']:,}")
    lines = [
        f"{name} {_with_interval(result, key)}"
        for key, name in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    ]
    for name, one in result.get("baselines", {}).items():
        lines.append(f"  {name}: {_with_interval(one, 'accuracy')}")
    if promise := result["promise"]:
        lines.append(_kept(promise))
    return Group(table, f"{result['rows']:,} rows", *lines, f"report {result['report']}")


def _with_interval(scores: dict[str, Any], name: str) -> str:
    low, high = scores["interval"][name]
    return f"{scores[name]:.4f} (95 % interval {low:.3f} to {high:.3f})"


def _kept(promise: dict[str, Any]) -> str:
    if promise["threshold"] is None:
        return f"precision {promise['precision']} can't be promised, every answer abstains"
    test = promise["test"]
    return (
        f"promised precision {promise['precision']}: {_with_interval(test, 'precision')} "
        f"of the {test['coverage']:.1%} that are answered"
    )


@job(takes="MODEL", show=show)
@click.option("--data", type=click.Path(), metavar="FILE", help="Instead of its own test rows.")
def main(model: str, *, storage: str, data: str | None) -> dict[str, Any]:
    """Score a model on its test rows, or on a file."""
    from bigmodel.registry import Registry

    return evaluate(Registry(storage).resolve(model), storage=storage, data=data)


def evaluate(version: "Version", *, storage: str, data: str | None = None) -> dict[str, Any]:
    """The report on a version, by the path that serves: raw texts through the predictor."""
    from bigmodel.answering import MANY, answer_everywhere
    from bigmodel.artifact import Artifact
    from bigmodel.data.prepared import find_rows
    from bigmodel.evaluation.answers import Answers
    from bigmodel.evaluation.beside import OWN, Beside
    from bigmodel.evaluation.labelled import own_test_rows, rows_of_file
    from bigmodel.evaluation.report import report
    from bigmodel.predictor import Predictor

    artifact = Artifact.load(version.uri, digest=version.digest)
    beside = Beside.of(storage, version.digest)
    rows = rows_of_file(data, artifact) if data else own_test_rows(artifact)
    answers = None
    if len(rows) >= MANY:
        with ray_session():
            probabilities = answer_everywhere(version.uri, version.digest, rows.texts)
        truth = artifact.labels.ids(rows.labels, where=data or "test")
        answers = Answers(artifact.labels.names, truth, probabilities, rows.unit)
    found, answers = report(
        Predictor(artifact), rows, model=str(version), split=data or "test", answers=answers
    )
    found |= beside.run()
    # a file's report is named by its texts, so that another file's doesn't take its place
    name = _digest(rows.texts) if data else OWN
    beside.keep_answers(name, rows, answers)
    if not data and (prepared := find_rows(artifact.lineage)):
        beside.keep_known(prepared)
    place = beside.save(name, found)
    if not data and version.run_id:
        _track(artifact.recipe, storage, version.run_id, found)
    return found | {"report": place}


def _track(recipe: "Recipe", storage: str, run_id: str, found: dict[str, Any]) -> None:
    """The report on a version's own test rows stands with the run that made it, too."""
    from bigmodel import tracking
    from bigmodel.pages.model_page import model_page

    scores = {f"test_{name}": found[name] for name in ("accuracy", "macro_f1")}
    page = model_page(found).decode()
    tracking.attach(recipe, storage, run_id, files={"report.html": page}, **scores)


def _digest(texts: Any) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


if __name__ == "__main__":
    main()
